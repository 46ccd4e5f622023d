"""Samples whose counts tell that they are bad: dropouts, limits of the A/D converter, NaN.

Dropouts are at a value, DN, that stands for data lost on their way; NaN stands for NaN.

AD_FLOOR at or below the floor, where the converter saw less than it can measure (0 DN for uint16);
SATURATED at or above full scale, where it saw more (65535 DN for uint16). At the floor JWST's
saturation step also sets DO_NOT_USE; that decision is left to that step.

Non-finite pixels get DO_NOT_USE and OTHER_BAD_PIXEL: no flag of the convention gives the reason why
a number is missing, and nothing can be computed from it. Integer data have no such values, but for
those that the file declares undefined (BLANK).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource, Found
from tmt_dq.errors import ConfigError

_DROPOUT, _FLOOR, _SATURATED = (
    np.uint8(GROUP[name]) for name in ("DROPOUT", "AD_FLOOR", "SATURATED")
)
_NON_FINITE = np.uint32(PIXEL.encode("DO_NOT_USE OTHER_BAD_PIXEL"))


def sources(recipe: Recipe, _exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the sources of a recipe."""
    if recipe.dropout_values:
        yield _dropouts(tuple(map(float, recipe.dropout_values)))
    limits = {"ad_floor": recipe.ad_floor, "full_scale": recipe.full_scale}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if given:
        yield _limits(given)
    if recipe.non_finite:
        yield FlagSource("non-finite pixels", look=_look_for_non_finite)


def _dropouts(values: tuple[float, ...]) -> FlagSource:
    numbers = [value for value in values if not np.isnan(value)]

    def look(counts: npt.NDArray[np.generic]) -> Found:
        _check_reach(counts.dtype, "dropout_values", numbers, whole=True)
        lost = np.zeros(counts.shape, bool)
        for value in values:
            lost |= np.isnan(counts) if np.isnan(value) else counts == value
        return Found(lost * _DROPOUT)

    return FlagSource(
        "dropouts", parameters={"values": values}, group_bits=int(_DROPOUT), look=look
    )


def _limits(limits: dict[str, float]) -> FlagSource:
    for name, limit in limits.items():
        if np.isnan(limit):
            raise ConfigError(f"{name} is NaN, which no count reaches; expected a number")
    floor, full_scale = limits.get("ad_floor", 0), limits.get("full_scale", 0)
    if len(limits) == 2 and floor >= full_scale:
        raise ConfigError(f"ad_floor {floor} is not below full_scale {full_scale}")

    def look(counts: npt.NDArray[np.generic]) -> Found:
        for name, limit in limits.items():
            _check_reach(counts.dtype, name, [limit])
        samples = np.zeros(counts.shape, np.uint8)
        if "ad_floor" in limits:
            samples |= np.less_equal(counts, floor) * _FLOOR
        if "full_scale" in limits:
            samples |= np.greater_equal(counts, full_scale) * _SATURATED
        return Found(samples)

    bits = {"ad_floor": int(_FLOOR), "full_scale": int(_SATURATED)}
    return FlagSource(
        "A/D limits",
        parameters={name.removeprefix("ad_"): limit for name, limit in limits.items()},
        group_bits=sum(bits[name] for name in limits),
        look=look,
    )


def _check_reach(
    dtype: np.dtype[np.generic], name: str, values: Iterable[float], *, whole: bool = False
) -> None:
    """Refuse values that counts of an integer type cannot have: they would never flag anything."""
    if dtype.kind not in "iu":
        return
    range_ = np.iinfo(dtype.str)
    for value in values:
        if not range_.min <= value <= range_.max or (whole and value % 1):
            found, expected = ("has", "whole numbers") if whole else ("is", "a number")
            raise ConfigError(
                f"{name} {found} {value:g}, which no count of type {dtype} reaches; expected "
                f"{expected} from {range_.min} to {range_.max}",
                hint="Give it in DN, as the counts are.",
                options=(name,),
            )


def _look_for_non_finite(counts: npt.NDArray[np.generic]) -> Found:
    return Found(pixels=~np.isfinite(counts) * _NON_FINITE if counts.dtype.kind == "f" else None)
