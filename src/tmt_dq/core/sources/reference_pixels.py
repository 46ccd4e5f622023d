"""Reference pixels: the border of the detector, where the mask does not give it.

Nothing is flagged if the mask has any REFERENCE_PIXEL: the mask wins, and a remark gives the number
of pixels in which it differs from the border.
"""

from collections.abc import Iterator

import numpy as np

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window, overlap
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource

__all__ = ["lacks_border", "sources"]

_BIT = np.uint32(PIXEL["REFERENCE_PIXEL"])


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if not recipe.reference_pixels:
        return
    border = exposure.reference_border
    pixels = np.full(exposure.window.shape, _BIT)
    pixels[overlap(exposure.frame, exposure.window, -border)] = 0
    remarks: tuple[str, ...] = ()
    if exposure.mask is not None and (given := exposure.mask & _BIT).any():
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


def lacks_border(recipe: Recipe, exposure: Exposure) -> tuple[str, ...]:
    """Return a remark on a mask that has none of an exposure's reference pixels."""
    if recipe.reference_pixels or exposure.mask is None:
        return ()
    frame, border = exposure.frame, exposure.reference_border
    sides = frame.ny - 2 * border
    edges = (
        Window(0, 0, border, frame.nx),
        Window(frame.ny - border, 0, border, frame.nx),
        Window(border, 0, sides, border),
        Window(border, frame.nx - border, sides, border),
    )
    flags = [exposure.mask[overlap(edge, exposure.window)] & _BIT for edge in edges]
    size = sum(edge.size for edge in flags)
    if not size or any(edge.any() for edge in flags):
        return ()
    remark = (
        f"it lacks the border of reference pixels, {size:,} in this exposure: "
        "--reference-pixels (reference_pixels=True) flags them"
    )
    return (remark,)
