"""Dropouts: samples at a value that stands for lost data."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import GROUP
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource, Found, flag_where

__all__ = ["dropouts", "sources"]


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.dropout_values:
        yield dropouts(recipe.dropout_values)


def dropouts(values: Sequence[float]) -> FlagSource:
    """Flag samples at `values`, DN, as DROPOUT: data lost on their way; NaN stands for NaN."""
    wanted = tuple(float(value) for value in values)
    bit = np.uint8(GROUP["DROPOUT"])

    def look(counts: npt.NDArray[np.generic]) -> Found:
        lost = np.zeros(counts.shape, bool)
        for value in wanted:
            lost |= np.isnan(counts) if np.isnan(value) else counts == value
        return Found(samples=flag_where(lost, bit))

    return FlagSource(
        "dropouts", parameters={"values": wanted}, pixel_bits=0, group_bits=int(bit), look=look
    )
