"""Limits of the A/D converter: samples at the ends of its range.

AD_FLOOR at or below the floor, where the converter saw less than it can measure (0 DN for uint16);
SATURATED at or above full scale, where it saw more (65535 DN for uint16). At the floor JWST's
saturation step also sets DO_NOT_USE; that decision is left to that step.
"""

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
    floor, full_scale = recipe.ad_floor, recipe.full_scale
    limits = {"ad_floor": floor, "full_scale": full_scale}
    for name, limit in limits.items():
        if limit is not None and np.isnan(limit):
            raise ConfigError(f"{name} is NaN, which no count reaches; expected a number")
    if floor is not None and full_scale is not None and floor >= full_scale:
        raise ConfigError(f"ad_floor {floor} is not below full_scale {full_scale}")
    low, high = np.uint8(GROUP["AD_FLOOR"]), np.uint8(GROUP["SATURATED"])

    def look(counts: npt.NDArray[np.generic]) -> Found:
        _check_reach(counts.dtype, limits)
        samples = np.zeros(counts.shape, np.uint8)
        if floor is not None:
            samples |= np.less_equal(counts, floor) * low
        if full_scale is not None:
            samples |= np.greater_equal(counts, full_scale) * high
        return Found(samples)

    parameters = {"floor": floor, "full_scale": full_scale}
    if floor is not None or full_scale is not None:
        yield FlagSource(
            "A/D limits",
            parameters={name: limit for name, limit in parameters.items() if limit is not None},
            group_bits=int(low if floor is not None else 0)
            | int(high if full_scale is not None else 0),
            look=look,
        )


def _check_reach(dtype: np.dtype[np.generic], limits: dict[str, float | None]) -> None:
    """Refuse a limit beyond what the counts can hold: it would never flag anything."""
    if dtype.kind not in "iu":
        return
    range_ = np.iinfo(dtype.str)
    for name, limit in limits.items():
        if limit is not None and not range_.min <= limit <= range_.max:
            raise ConfigError(
                f"{name} is {limit:g}, which no count of type {dtype} reaches; expected a number "
                f"from {range_.min} to {range_.max}",
                hint="Give the limit in DN, as the counts are.",
                options=(name,),
            )
