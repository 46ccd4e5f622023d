"""Non-finite pixels: NaN or infinite values in any read."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource, Found

__all__ = ["non_finite", "sources"]


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.non_finite:
        yield non_finite()


def non_finite() -> FlagSource:
    """Flag pixels whose value is NaN or infinite in any read.

    DO_NOT_USE and OTHER_BAD_PIXEL: no flag of the convention gives the reason why a number is
    missing, and nothing can be computed from it. Integer data have no such values, but for those
    that the file declares undefined (BLANK).
    """
    bits = np.uint32(PIXEL.encode("DO_NOT_USE OTHER_BAD_PIXEL"))

    def look(counts: npt.NDArray[np.generic]) -> Found:
        if counts.dtype.kind != "f":
            return Found()
        bad = ~np.isfinite(counts)
        return Found(pixels=np.where(bad, bits, np.uint32(0)) if bad.any() else None)

    return FlagSource("non-finite pixels", pixel_bits=int(bits), look=look)
