"""Reference pixels: the border of the detector, where the mask does not give it.

Nothing is flagged if the mask has any REFERENCE_PIXEL: the mask wins, and a remark gives the number
of pixels in which it differs from the border.
"""

from collections.abc import Iterator

import numpy as np

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import overlap
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource

__all__ = ["sources"]


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if not recipe.reference_pixels:
        return
    bit, border = np.uint32(PIXEL["REFERENCE_PIXEL"]), exposure.reference_border
    pixels = np.full(exposure.window.shape, bit)
    pixels[overlap(exposure.frame, exposure.window, -border)] = 0
    remarks: tuple[str, ...] = ()
    if exposure.mask is not None and (given := exposure.mask & bit).any():
        more = int(np.count_nonzero(given & ~pixels))
        less = int(np.count_nonzero(pixels & ~given))
        if more or less:
            remark = (
                f"the mask's reference pixels differ from the border of {border}: {more:,} are "
                f"not in the border, {less:,} of the border are not in the mask"
            )
            remarks = (remark,)
        pixels[:] = 0
    yield FlagSource(
        "reference pixels",
        origin="instrument",
        parameters={"border": border},
        pixels=pixels,
        remarks=remarks,
    )
