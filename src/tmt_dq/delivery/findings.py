"""What an examination of a mask finds, and the part of it that looks at pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import FlagCount
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window

__all__ = ["Finding", "active_part", "check_border", "check_flags"]

Severity = Literal["error", "warning", "info"]

_OF_EXPOSURES = (
    "SATURATED",
    "JUMP_DET",
    "DROPOUT",
    "OUTLIER",
    "PERSISTENCE",
    "AD_FLOOR",
    "CHARGELOSS",
    "FLUX_ESTIMATED",
)
"""Flags that say what happened to a pixel in one exposure (JWST documentation, "Data Quality
Flags"); a mask says what a pixel is."""

_OF_OTHERS = ("MSA_FAILED_OPEN",)
"""Flags of hardware that only other instruments have (NIRSpec's micro-shutters)."""


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
    if missing:
        what = (
            f"{missing:,} of the {border:,} pixels in the border of reference pixels "
            f"({width} wide) lack REFERENCE_PIXEL"
        )
        if required:
            yield Finding(
                "error",
                "DQ",
                f"{what}: exposures would take them for pixels that see light",
                _BORDER_REMEDY,
            )
        else:
            yield Finding("warning", "DQ", f"{what}; accepted (--no-border)")
    if wrong:
        yield Finding(
            "warning",
            "DQ",
            f"{wrong:,} pixels outside the border of reference pixels ({width} wide) have "
            "REFERENCE_PIXEL",
            "Clear the flag there.",
        )


def check_flags(counts: tuple[FlagCount, ...]) -> Iterator[Finding]:
    """Yield how flags and DO_NOT_USE go together, and which flags do not belong in a mask."""
    by_name = {count.name: count for count in counts}
    bad = [count for count in counts if count.name not in {"DO_NOT_USE", "REFERENCE_PIXEL"}]
    if bad and "DO_NOT_USE" not in by_name:
        yield Finding(
            "warning",
            "DQ",
            "no pixel has DO_NOT_USE, so every flagged pixel will be used",
            "Set DO_NOT_USE where a flag means that the pixel is not to be used.",
        )
    for count in bad:
        yield Finding(
            "info",
            "DQ",
            f"{count.name}: {count.pixels:,} pixels, {count.with_do_not_use:,} with DO_NOT_USE and "
            f"{count.without_do_not_use:,} without",
        )
    for names, what in (
        (("RESERVED",), "is reserved and has no meaning"),
        (_OF_EXPOSURES, "says what happened in an exposure, not what a pixel is"),
        (_OF_OTHERS, "is for hardware that other instruments have"),
    ):
        for name in names:
            if name in by_name:
                yield Finding(
                    "warning",
                    "DQ",
                    f"{name} {what}; {by_name[name].pixels} pixels have it",
                    "Clear it, or set the flag that is meant.",
                )
