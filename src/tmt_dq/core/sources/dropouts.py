"""Dropouts: samples at a value, DN, that stands for data lost on their way; NaN stands for NaN."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource, Found

__all__ = ["sources"]


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    values = tuple(map(float, recipe.dropout_values))
    bit = np.uint8(GROUP["DROPOUT"])

    def look(counts: npt.NDArray[np.generic]) -> Found:
        lost = np.zeros(counts.shape, bool)
        for value in values:
            lost |= np.isnan(counts) if np.isnan(value) else counts == value
        return Found(lost * bit)

    if values:
        yield FlagSource("dropouts", parameters={"values": values}, group_bits=int(bit), look=look)
