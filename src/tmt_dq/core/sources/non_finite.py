"""Non-finite pixels: NaN or infinite values in any read.

DO_NOT_USE and OTHER_BAD_PIXEL: no flag of the convention gives the reason why a number is missing,
and nothing can be computed from it. Integer data have no such values, but for those that the file
declares undefined (BLANK).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource, Found

__all__ = ["sources"]

_BITS = np.uint32(PIXEL.encode("DO_NOT_USE OTHER_BAD_PIXEL"))


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.non_finite:
        yield FlagSource("non-finite pixels", look=_look)


def _look(counts: npt.NDArray[np.generic]) -> Found:
    return Found(pixels=~np.isfinite(counts) * _BITS if counts.dtype.kind == "f" else None)
