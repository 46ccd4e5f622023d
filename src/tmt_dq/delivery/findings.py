"""Findings about a mask, and those about its pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import FlagCount
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window

__all__ = ["Finding", "active_part", "check_border", "check_flags", "error", "warning"]

Severity = Literal["error", "warning", "info"]

_STRANGERS = {
    "RESERVED": "is reserved and has no meaning",
    # JWST documentation, "Data Quality Flags".
    **dict.fromkeys(
        (
            "SATURATED",
            "JUMP_DET",
            "DROPOUT",
            "OUTLIER",
            "PERSISTENCE",
            "AD_FLOOR",
            "CHARGELOSS",
            "FLUX_ESTIMATED",
        ),
        "says what happened in an exposure, not what a pixel is",
    ),
    # NIRSpec's micro-shutters.
    "MSA_FAILED_OPEN": "is for hardware that other instruments have",
}
"""Flags that do not belong in a mask, and why."""

_BORDER_REMEDY = (
    "Start from the mask in force, which has the border: tmt-dq combine THAT_MASK NEW_MASK -o "
    "MASK. For a detector without reference pixels: --no-border (border=False)."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an examination found.

    Parameters
    ----------
    severity : {"error", "warning", "info"}
        An error forbids delivery.
    where : str
        The keyword, extension or tool concerned.
    what : str
        What was found, and what was expected.
    remedy : str or None
        What to do about it.
    """

    severity: Severity
    where: str
    what: str
    remedy: str | None = None


error = partial(Finding, "error")
warning = partial(Finding, "warning")


def active_part(window: Window, frame: tuple[int, int], border: int) -> tuple[slice, slice]:
    """Return the index of a window's pixels that are not in the border of reference pixels."""
    rows, columns = (
        slice(min(max(border - start, 0), size), max(min(length - border - start, size), 0))
        for start, size, length in (
            (window.y, window.ny, frame[0]),
            (window.x, window.nx, frame[1]),
        )
    )
    return rows, columns


def check_border(
    dq: npt.NDArray[np.uint32], active: tuple[slice, slice], width: int, *, required: bool
) -> Iterator[Finding]:
    """Compare REFERENCE_PIXEL with where the border of reference pixels is."""
    reference = np.uint32(PIXEL["REFERENCE_PIXEL"])
    inside = dq[active]
    wrong = int(np.count_nonzero(inside & reference))
    border = dq.size - inside.size
    missing = border - (int(np.count_nonzero(dq & reference)) - wrong)
    place = f"the border of reference pixels ({width} wide)"
    what = f"{missing:,} of the {border:,} pixels in {place} lack REFERENCE_PIXEL"
    if missing and required:
        reason = "exposures would take them for pixels that see light"
        yield error("DQ", f"{what}: {reason}", _BORDER_REMEDY)
    elif missing:
        yield warning("DQ", f"{what}; accepted (--no-border)")
    if wrong:
        what = f"{wrong:,} pixels outside {place} have REFERENCE_PIXEL"
        yield warning("DQ", what, "Clear the flag there.")


def check_flags(counts: tuple[FlagCount, ...]) -> Iterator[Finding]:
    """Yield how flags and DO_NOT_USE go together, and which flags do not belong in a mask."""
    bad = [count for count in counts if count.name not in {"DO_NOT_USE", "REFERENCE_PIXEL"}]
    if bad and not any(count.name == "DO_NOT_USE" for count in counts):
        what = "no pixel has DO_NOT_USE, so every flagged pixel will be used"
        remedy = "Set DO_NOT_USE where a flag means that the pixel is not to be used."
        yield warning("DQ", what, remedy)
    for count in bad:
        what = (
            f"{count.name}: {count.pixels:,} pixels, {count.with_do_not_use:,} with DO_NOT_USE and "
            f"{count.without_do_not_use:,} without"
        )
        yield Finding("info", "DQ", what)
    for count in bad:
        if count.name in _STRANGERS:
            what = f"{count.name} {_STRANGERS[count.name]}; {count.pixels:,} pixels have it"
            yield warning("DQ", what, "Clear it, or set the flag that is meant.")
