"""DQ initialization without an output: all checks and counts of a run, nothing written."""

from collections.abc import Sequence

from tmt_dq.apply.output import Written
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.initialize import Initialization, new_pixeldq
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.exposures.record import Record
from tmt_dq.fits.encoding import read_plane, read_rows

__all__ = ["rehearse"]

_PIECE_BYTES = 4 * 1024 * 1024


def rehearse(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    record: Record,  # noqa: ARG001 - called as what writes is
) -> Written:
    """Find out what would be written.

    Parameters
    ----------
    exposure : RampFile
        The exposure. Its counts are read where a source looks at them.
    sources, record
        As in `tmt_dq.apply.output.write_exposure`.

    Returns
    -------
    Written
        What would be written.
    """
    if not sources:
        return Written({}, ())
    work = Initialization(sources, image=exposure.ramp.is_image)
    if work.needs_counts or work.touches_groups:
        nints, ngroups = exposure.ramp.shape[:2]
        for number in range(nints * ngroups):
            counts = read_plane(exposure.file, exposure.sci, number) if work.needs_counts else None
            work.samples(*divmod(number, ngroups), counts)
    return Written(_count(exposure, work), work.reports())


def _count(exposure: RampFile, work: Initialization) -> dict[str, int]:
    """Count the flags of PIXELDQ in pieces of rows: those that occur, and GOOD."""
    ny, nx = exposure.ramp.window.shape
    total = dict.fromkeys(("GOOD", *(flag.name for flag in PIXEL.flags)), 0)
    step = max(1, _PIECE_BYTES // (4 * nx))
    for first in range(0, ny, step):
        count = min(step, ny - first)
        old = exposure.pixeldq
        flags = (
            new_pixeldq((count, nx)) if old is None else read_rows(exposure.file, old, first, count)
        )
        work.pixels(slice(first, first + count), flags)
        for name, found in PIXEL.count(flags).items():
            total[name] += found
    return {name: number for name, number in total.items() if number or name == "GOOD"}
