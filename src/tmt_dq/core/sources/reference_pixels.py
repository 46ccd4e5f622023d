"""Reference pixels: the border of the detector, where the mask does not give it."""

from collections.abc import Iterator

import numpy as np

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window, overlap
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource

_BIT = np.uint32(PIXEL["REFERENCE_PIXEL"])


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe; a mask with any reference pixel wins."""
    if not recipe.reference_pixels:
        return
    pixels = np.full(exposure.window.shape, _BIT)
    pixels[overlap(exposure.frame.without(exposure.border), exposure.window)] = 0
    remarks: tuple[str, ...] = ()
    if exposure.mask is not None and (given := exposure.mask & _BIT).any():
        different = int(np.count_nonzero(given ^ pixels))
        if different:
            remark = f"reference pixels of the mask differ from the border in {different:,} pixels"
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
