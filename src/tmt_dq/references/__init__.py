"""Reference files and the rules that select them: the only part of tmt-dq that imports crds."""

from tmt_dq.references.adapter import register
from tmt_dq.references.rule_matches import RuleCheck
from tmt_dq.references.selection import Selection, select_mask, select_reference

__all__ = ["RuleCheck", "Selection", "register", "select_mask", "select_reference"]
