"""DQ initialization without an output: all checks and counts of a run, nothing written."""

from collections.abc import Sequence

from tmt_dq.apply.output import Written
from tmt_dq.core.initialize import Initialization
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.exposures.planes import FileReader
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.exposures.record import Record

__all__ = ["rehearse"]


def rehearse(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    record: Record,  # noqa: ARG001 - called as what writes is
) -> Written:
    """Find out what would be written; the counts are read where a source looks at them."""
    if not sources:
        return Written({}, ())
    work = Initialization(sources, image=exposure.ramp.is_image)
    for _ in work.rows(FileReader(exposure)):
        pass
    return Written(work.counts, work.reports())
