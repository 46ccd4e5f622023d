"""Whether darks and flats are what a recipe demands: number, level, noise, fraction found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tmt_dq.calibration.exposures import Series, Signal
from tmt_dq.calibration.maps import Maps
from tmt_dq.calibration.recipe import InputLimits, MaskRecipe
from tmt_dq.calibration.statistics import LEAST_DARK_READS
from tmt_dq.errors import ConfigError, RampFormatError


@dataclass(slots=True)
class Shortage:
    """What there is too little of: an error, or a remark where few inputs are allowed."""

    allowed: bool
    remarks: list[str] = field(default_factory=list)

    def note(self, what: str, where: object) -> None:
        """Note one; ConfigError unless it is allowed."""
        if not self.allowed:
            raise ConfigError(
                what,
                where=where,
                hint="Take more exposures, or accept it and have it recorded.",
                options=("allow_few",),
            )
        self.remarks.append(what)


def check_numbers(series: Mapping[str, Series], recipe: MaskRecipe, shortage: Shortage) -> None:
    """Note where there are fewer exposures or reads than the recipe demands.

    RampFormatError where there are too few reads to measure anything.
    """
    for kind, exposures in series.items():
        parts = recipe.statistics.linearity_parts
        needed = LEAST_DARK_READS if kind == "dark" else parts + 1
        if exposures.shape[1] < needed:
            raise RampFormatError(
                f"has {exposures.shape[1]} reads; a {kind} is measured from at least {needed}",
                where=exposures.first.path,
                hint="Take longer ramps.",
            )
    limits = recipe.inputs
    for kind, least, least_reads in (
        ("dark", limits.minimum_darks, limits.minimum_dark_reads),
        ("flat", limits.minimum_flats, limits.minimum_flat_reads),
    ):
        one = series.get(kind)
        count, reads = (0, least_reads) if one is None else one.shape[:2]
        if count < least:
            noun = kind if count == 1 else f"{kind}s"
            shortage.note(
                f"{count} {noun}; the recipe {recipe.name} demands at least {least}", f"{kind}s"
            )
        if reads < least_reads and one is not None:
            shortage.note(
                f"{reads} reads; the recipe {recipe.name} demands at least {least_reads}",
                one.first.path,
            )


def check_levels(kind: str, signals: Sequence[Signal], limits: InputLimits) -> None:
    """Refuse darks with light, flats without, and flats that saturate."""
    for signal in signals:
        where, level = signal.exposure.path, signal.level_dn
        shown = f"the median pixel has a signal of {level:.0f} DN"
        if kind == "dark":
            if level > limits.maximum_dark_dn:
                raise RampFormatError(
                    f"is among the darks, but {shown}; expected at most "
                    f"{limits.maximum_dark_dn:.0f} DN",
                    where=where,
                    hint="Is it a flat? Move it, or leave it out.",
                )
            continue
        full = signal.saturated_fraction
        if level < limits.minimum_flat_dn and full < 0.5:
            raise RampFormatError(
                f"is among the flats, but {shown}; expected at least "
                f"{limits.minimum_flat_dn:.0f} DN",
                where=where,
                hint="Is it a dark? Move it, or leave it out.",
            )
        if kind == "flat" and full > limits.maximum_saturated_fraction:
            raise RampFormatError(
                f"{100 * full:.1f} % of the pixels saturate; expected at most "
                f"{100 * limits.maximum_saturated_fraction:.1f} %",
                where=where,
                hint="Give saturated flats as long flats: they count for the linearity alone.",
            )


def check_threshold(maps: Maps, recipe: MaskRecipe, shortage: Shortage) -> None:
    """Note where the darks are too short or too few to tell a warm pixel from noise."""
    if "warm" not in recipe.finders or "dark_rate_scatter" not in maps:
        return
    threshold = recipe.finders["warm"][1]["minimum_rate_e_per_s"]
    noise = float(np.median(maps["dark_rate_scatter"][maps.active])) * 1.25 / np.sqrt(maps.darks)
    if noise > recipe.inputs.maximum_threshold_noise * threshold:
        shortage.note(
            f"the median dark rate of {maps.darks} darks of {maps.dark_seconds:.0f} s has a noise "
            f"of {noise:.3f} e-/s; warm pixels begin at {threshold} e-/s",
            "darks",
        )


def check_fraction(finder: str, fraction: float, recipe: MaskRecipe) -> None:
    """Refuse the result of a finder that flags more of the pixels than is plausible."""
    most = recipe.maximum_fractions[finder]
    if fraction > most:
        raise RampFormatError(
            f"the finder {finder} flags {100 * fraction:.2f} % of the pixels; expected at most "
            f"{100 * most:.2f} %",
            where="darks and flats",
            hint="Look at the maps (keep_maps=). If the exposures are in order, raise "
            "maximum_fraction in a recipe of your own.",
        )
