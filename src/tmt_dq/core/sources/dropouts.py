"""Dropouts: samples at a value, DN, that stands for data lost on their way; NaN stands for NaN."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource, Found
from tmt_dq.errors import ConfigError

__all__ = ["sources"]


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    values = tuple(map(float, recipe.dropout_values))
    bit = np.uint8(GROUP["DROPOUT"])

    def look(counts: npt.NDArray[np.generic]) -> Found:
        _check_values(counts.dtype, values)
        lost = np.zeros(counts.shape, bool)
        for value in values:
            lost |= np.isnan(counts) if np.isnan(value) else counts == value
        return Found(lost * bit)

    if values:
        yield FlagSource("dropouts", parameters={"values": values}, group_bits=int(bit), look=look)


def _check_values(dtype: np.dtype[np.generic], values: tuple[float, ...]) -> None:
    """Refuse values that counts of an integer type cannot have: they would never flag anything."""
    if dtype.kind not in "iu":
        return
    range_ = np.iinfo(dtype.str)
    numbers = [value for value in values if not np.isnan(value)]
    for value in numbers or values:
        if not (value.is_integer() and range_.min <= value <= range_.max):
            raise ConfigError(
                f"dropout_values has {value:g}, which no count of type {dtype} has; expected whole "
                f"numbers from {range_.min} to {range_.max}",
                hint="Give the values in DN, as the counts are.",
                options=("dropout_values",),
            )
