"""Limits of the A/D converter: samples at the ends of its range."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import GROUP
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource, Found, flag_where
from tmt_dq.errors import ConfigError

__all__ = ["ad_limits", "sources"]


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.ad_floor is not None or recipe.full_scale is not None:
        yield ad_limits(floor=recipe.ad_floor, full_scale=recipe.full_scale)


def ad_limits(*, floor: float | None = None, full_scale: float | None = None) -> FlagSource:
    """Flag samples at the ends of the A/D converter's range.

    AD_FLOOR at or below `floor`, where the converter saw less than it can measure (0 DN for
    uint16); SATURATED at or above `full_scale`, where it saw more (65535 DN for uint16). At the
    floor JWST's saturation step also sets DO_NOT_USE; that decision is left to that step.
    """
    for name, limit in (("floor", floor), ("full scale", full_scale)):
        if limit is not None and np.isnan(limit):
            raise ConfigError(f"the {name} is NaN, which no count reaches; expected a number")
    if floor is not None and full_scale is not None and floor >= full_scale:
        raise ConfigError(f"the floor {floor} is not below the full scale {full_scale}")
    low, high = np.uint8(GROUP["AD_FLOOR"]), np.uint8(GROUP["SATURATED"])
    bits = (int(low) if floor is not None else 0) | (int(high) if full_scale is not None else 0)

    def look(counts: npt.NDArray[np.generic]) -> Found:
        _check_reach(counts.dtype, floor, full_scale)
        planes = []
        if floor is not None:
            planes.append(flag_where(counts <= floor, low))  # type: ignore[operator]
        if full_scale is not None:
            planes.append(flag_where(counts >= full_scale, high))  # type: ignore[operator]
        present = [plane for plane in planes if plane is not None]
        if len(present) == 2:
            return Found(samples=present[0] | present[1])
        return Found(samples=present[0] if present else None)

    parameters = {"floor": floor, "full_scale": full_scale}
    return FlagSource(
        "A/D limits",
        parameters={key: value for key, value in parameters.items() if value is not None},
        pixel_bits=0,
        group_bits=bits,
        look=look,
    )


def _check_reach(
    dtype: np.dtype[np.generic], floor: float | None, full_scale: float | None
) -> None:
    """Refuse a limit beyond what the counts can hold: it would never flag anything."""
    if dtype.kind not in "iu":
        return
    range_ = np.iinfo(dtype.str)
    for name, limit in (("ad_floor", floor), ("full_scale", full_scale)):
        if limit is not None and not range_.min <= limit <= range_.max:
            raise ConfigError(
                f"{name} is {limit:g}, which no count of type {dtype} reaches; expected a number "
                f"from {range_.min} to {range_.max}",
                hint="Give the limit in DN, as the counts are.",
                options=(name,),
            )
