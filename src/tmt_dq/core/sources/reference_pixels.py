"""Reference pixels: the border of the detector, where the mask does not give it."""

from collections.abc import Iterator

import numpy as np

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import overlap
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource

__all__ = ["sources"]

_BIT = np.uint32(PIXEL["REFERENCE_PIXEL"])


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe; a mask with any reference pixel wins."""
    if not recipe.reference_pixels:
        return
    pixels = np.full(exposure.window.shape, _BIT)
    pixels[overlap(exposure.frame.without(exposure.border), exposure.window)] = 0
    remarks: tuple[str, ...] = ()
    if exposure.mask is not None and (exposure.mask & _BIT).any():
        pixels[:] = 0
        remarks = ("the mask has reference pixels of its own",)
    yield FlagSource(
        "reference pixels",
        origin="instrument",
        parameters={"border": exposure.border.widths},
        pixels=pixels,
        remarks=remarks,
    )
