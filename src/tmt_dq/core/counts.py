"""Pixels per flag, with and without DO_NOT_USE."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL

__all__ = ["FlagCount", "count_flags", "count_usable"]

_DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
_REFERENCE_PIXEL = np.uint32(PIXEL["REFERENCE_PIXEL"])


@dataclass(frozen=True, slots=True)
class FlagCount:
    """How often a flag is set.

    Attributes
    ----------
    name : str
        The flag.
    pixels : int
        Pixels with it.
    fraction : float
        Share of all pixels, 0 to 1.
    do_not_use : int
        Pixels with the flag that have DO_NOT_USE too.
    """

    name: str
    pixels: int
    fraction: float
    do_not_use: int

    @property
    def with_do_not_use(self) -> int:
        """Another name of `do_not_use`."""
        return self.do_not_use

    @property
    def without_do_not_use(self) -> int:
        """Pixels that have the flag and not DO_NOT_USE."""
        return self.pixels - self.do_not_use


def count_flags(dq: npt.NDArray[np.uint32]) -> tuple[FlagCount, ...]:
    """Count every flag that occurs, lowest bit first."""
    values = dq[dq != 0]
    together = PIXEL.count(values[(values & _DO_NOT_USE) != 0])
    return tuple(
        FlagCount(name, pixels, pixels / dq.size, together.get(name, 0))
        for name, pixels in PIXEL.count(values).items()
        if name != "GOOD"
    )


def count_usable(dq: npt.NDArray[np.uint32]) -> tuple[int, int]:
    """Count the flagged pixels without DO_NOT_USE, and all flagged ones; not reference pixels."""
    flagged = dq[(dq != 0) & ((dq & _REFERENCE_PIXEL) == 0)]
    return int(np.count_nonzero((flagged & _DO_NOT_USE) == 0)), flagged.size
