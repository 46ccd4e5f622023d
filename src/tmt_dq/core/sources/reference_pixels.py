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
    pixels = np.full(exposure.window.shape, _BIT)
    pixels[overlap(exposure.frame.without(exposure.border), exposure.window)] = 0
    remarks: tuple[str, ...] = ()
    if exposure.mask is not None and (given := exposure.mask & _BIT).any():
        more = int(np.count_nonzero(given & ~pixels))
        less = int(np.count_nonzero(pixels & ~given))
        if more or less:
            remark = (
                f"the mask's reference pixels differ from the border of "
                f"{exposure.border.describe()}: {more:,} are not in the border, {less:,} of the "
                "border are not in the mask"
            )
            remarks = (remark,)
        pixels[:] = 0
    yield FlagSource(
        "reference pixels",
        origin="instrument",
        parameters={"border": exposure.border.widths},
        pixels=pixels,
        remarks=remarks,
    )


def lacks_border(recipe: Recipe, exposure: Exposure) -> tuple[str, ...]:
    """Return a remark on a mask that has none of an exposure's reference pixels."""
    if recipe.reference_pixels or exposure.mask is None:
        return ()
    frame, border = exposure.frame, exposure.border
    active = frame.without(border)
    edges = (
        Window(0, 0, border.bottom, frame.nx),
        Window(frame.ny - border.top, 0, border.top, frame.nx),
        Window(active.y, 0, active.ny, border.left),
        Window(active.y, frame.nx - border.right, active.ny, border.right),
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
