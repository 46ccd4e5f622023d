"""Pixels sorted into classes: which see light, which are defects."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL

__all__ = ["Planes", "sort_pixels"]

Plane = npt.NDArray[np.bool_]

_NOT_SKY = PIXEL.encode(("REFERENCE_PIXEL", "NON_SCIENCE"))
_DO_NOT_USE = PIXEL["DO_NOT_USE"]


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
    flagged = dq != 0
    sky = (dq & np.uint32(_NOT_SKY)) == 0
    defects = flagged if wanted == PIXEL.mask else (dq & np.uint32(wanted)) != 0
    do_not_use = (dq & np.uint32(_DO_NOT_USE)) != 0
    return Planes(flagged, sky, defects & sky, do_not_use & sky)
