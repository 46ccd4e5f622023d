"""Reports on flags: what a file holds, how two differ, why one pixel is flagged."""

from tmt_dq.report.difference import Difference, diff
from tmt_dq.report.explanation import Explanation, explain
from tmt_dq.report.summary import Summary, summarize

__all__ = ["Difference", "Explanation", "Summary", "diff", "explain", "summarize"]
