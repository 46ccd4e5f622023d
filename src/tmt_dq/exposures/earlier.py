"""Earlier initialization of an exposure: refused, kept, or left out."""

import dataclasses

from tmt_dq.errors import AlreadyInitializedError, UnexplainedFlagsError
from tmt_dq.exposures.dq_sources import BEFORE, EXTENSION, read_sources
from tmt_dq.exposures.ramp import RampFile

__all__ = ["already_initialized", "check_earlier", "without_earlier"]

_LEFT_OUT = frozenset({"PIXELDQ", "GROUPDQ", "DQ", "DQ_DEF", EXTENSION})
_RAW = "Process the raw ramp."


def already_initialized(where: object, mask: object) -> AlreadyInitializedError:
    """Return the error about an exposure that was initialized already."""
    return AlreadyInitializedError(
        f"already initialized, with mask {mask}",
        where=where,
        hint="Process the raw ramp. --again (again=True) keeps the flags and adds; --start-over "
        "(start_over=True) leaves them out where the exposure had none before.",
    )


def check_earlier(exposure: RampFile) -> None:
    """Raise `AlreadyInitializedError` if an exposure was initialized before."""
    if _status(exposure, "S_DQINIT") == "COMPLETE":
        mask = exposure.file.units[0].header.get("R_MASK", "unknown")
        raise already_initialized(exposure.file.path, mask)


def without_earlier(exposure: RampFile) -> RampFile:
    """Return an initialized exposure as its raw ramp, one that was not as it is.

    UnexplainedFlagsError if other steps have worked on it, or its record does not say that it had
    no flags before.
    """
    if _status(exposure, "S_DQINIT") != "COMPLETE":
        return exposure
    file = exposure.file
    later = [
        key
        for key in file.units[0].header
        if key.startswith("S_") and key != "S_DQINIT" and _status(exposure, key) == "COMPLETE"
    ]
    if later:
        raise UnexplainedFlagsError(
            f"other steps have worked on it: {', '.join(later)}", where=file.path, hint=_RAW
        )
    before = [row for row in read_sources(file) or () if row.kind == BEFORE]
    if not before or before[0].pixels or before[0].parameters.get("groups", True):
        raise UnexplainedFlagsError(
            "its record does not say that it had no flags before", where=file.path, hint=_RAW
        )
    units = tuple(unit for unit in file.units if unit.name not in _LEFT_OUT)
    file = dataclasses.replace(file, units=units)
    return dataclasses.replace(exposure, file=file, pixeldq=None, groupdq=None)


def _status(exposure: RampFile, keyword: str) -> str:
    return str(exposure.file.units[0].header.get(keyword, "")).strip().upper()
