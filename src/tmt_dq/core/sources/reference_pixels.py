"""Reference pixels: the border of the detector, where the mask does not give it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource

__all__ = ["reference_pixels", "sources"]


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.reference_pixels:
        yield reference_pixels(
            exposure.window, exposure.frame, exposure.reference_border, exposure.mask
        )


def reference_pixels(
    window: Window, frame: Window, border: int, mask: npt.NDArray[np.uint32] | None
) -> FlagSource:
    """Flag the border of reference pixels, if the mask has none.

    Nothing is flagged if the mask has any REFERENCE_PIXEL: the mask wins, and a remark gives the
    number of pixels in which it differs from the border.
    """
    bit = np.uint32(PIXEL["REFERENCE_PIXEL"])
    y = np.arange(window.y, window.y + window.ny)[:, None]
    x = np.arange(window.x, window.x + window.nx)[None, :]
    inside = (y >= border) & (y < frame.ny - border) & (x >= border) & (x < frame.nx - border)
    expected = np.where(inside, np.uint32(0), bit)
    remarks: tuple[str, ...] = ()
    if mask is not None:
        given = mask & bit
        if given.any():
            more = int(np.count_nonzero(given & ~expected))
            less = int(np.count_nonzero(expected & ~given))
            if more or less:
                remark = (
                    f"the mask's reference pixels differ from the border of {border}: {more} are "
                    f"not in the border, {less} of the border are not in the mask"
                )
                remarks = (remark,)
            expected = np.zeros_like(expected)
    return FlagSource(
        "reference pixels",
        origin="instrument",
        parameters={"border": border},
        pixel_bits=int(bit),
        pixels=expected,
        remarks=remarks,
    )
