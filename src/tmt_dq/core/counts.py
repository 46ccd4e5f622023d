"""Pixels counted per flag, and sorted into classes: which see light, which are defects."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL

Plane = npt.NDArray[np.bool_]

_DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
_REFERENCE_PIXEL = np.uint32(PIXEL["REFERENCE_PIXEL"])
_NOT_SKY = np.uint32(PIXEL.encode("REFERENCE_PIXEL NON_SCIENCE"))


@dataclass(frozen=True, slots=True)
class FlagCount:
    """How often a flag is set."""

    name: str
    pixels: int
    fraction: float  # of all pixels, 0 to 1
    do_not_use: int  # pixels with the flag that have DO_NOT_USE too

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


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Classes of pixels, each a map as large as the image.

    `flagged` pixels have any flag; those of the `sky` can see light (neither REFERENCE_PIXEL nor
    NON_SCIENCE); `defects` and `do_not_use` are pixels of the sky with the flags that count as
    defects, and with DO_NOT_USE.
    """

    flagged: Plane
    sky: Plane
    defects: Plane
    do_not_use: Plane


def sort_pixels(dq: npt.NDArray[np.uint32], wanted: int = PIXEL.mask) -> Planes:
    """Sort the pixels of an image into classes; `wanted` are the flags that count as defects."""
    sky = (dq & _NOT_SKY) == 0
    defects = (dq & np.uint32(wanted)) != 0
    return Planes(dq != 0, sky, defects & sky, ((dq & _DO_NOT_USE) != 0) & sky)
