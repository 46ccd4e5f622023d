"""Earlier initialization of an exposure: refused, kept, or left out."""

import dataclasses

from tmt_dq.errors import AlreadyInitializedError, UnexplainedFlagsError
from tmt_dq.exposures.dq_sources import BEFORE, EXTENSION, read_sources
from tmt_dq.exposures.layouts import refuse_layout
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.fits.cards import Header

_LEFT_OUT = frozenset({"DQ_DEF", EXTENSION})


def already_initialized(where: object, mask: object) -> AlreadyInitializedError:
    """Return the error about an exposure that was initialized already."""
    return AlreadyInitializedError(
        f"already initialized, with mask {mask}",
        where=where,
        hint="Process the raw ramp. --again (again=True) keeps the flags and adds; --start-over "
        "(start_over=True) leaves them out where the exposure had none before.",
    )


def begin(exposure: RampFile, *, again: bool, start_over: bool) -> RampFile:
    """Return an exposure as it is to be initialized.

    One that was initialized before is an AlreadyInitializedError, or as it is (`again`), or its raw
    ramp (`start_over`): UnexplainedFlagsError if other steps have worked on it, or its record does
    not say that it had no flags before.
    """
    file = exposure.file
    header = file.units[0].header
    if again or not _is_complete(header, "S_DQINIT"):
        return exposure
    if not start_over:
        raise already_initialized(file.path, header.get("R_MASK", "unknown"))
    refuse_layout(
        exposure.ramp.layout, "--start-over", where=file.path, hint="Process the raw ramp."
    )
    steps = (keyword for keyword in header if keyword.startswith("S_") and keyword != "S_DQINIT")
    later = [step for step in steps if _is_complete(header, step)]
    before = [row for row in read_sources(file) or () if row.kind == BEFORE]
    problem = None
    if later:
        problem = f"other steps have worked on it: {', '.join(later)}"
    elif not before or before[0].pixels or before[0].parameters.get("groups", True):
        problem = "its record does not say that it had no flags before"
    if problem is not None:
        raise UnexplainedFlagsError(problem, where=file.path, hint="Process the raw ramp.")
    flags = [unit.index for unit in (exposure.pixeldq, exposure.groupdq) if unit is not None]
    units = tuple(
        unit for unit in file.units if unit.name not in _LEFT_OUT and unit.index not in flags
    )
    file = dataclasses.replace(file, units=units)
    return dataclasses.replace(exposure, file=file, pixeldq=None, groupdq=None)


def _is_complete(header: Header, step: str) -> bool:
    return str(header.get(step, "")).strip().upper() == "COMPLETE"
