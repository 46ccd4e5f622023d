"""Nonlinear pixels: rates along flat ramps against the curve that the population follows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.statistics import Floats

_LEAST_RESPONSE = 0.2
"""Response of the pixels that tell the population's curve."""
_LEAST_SHARE = 0.05
"""Share of them that must not saturate."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Response of the median pixel to one lamp: its rate (e⁻/s) as a polynomial of its signal (e⁻).

    Ramps of `exposures` flats are cut into parts; `part_seconds` and `signals_e` have a value each.
    """

    exposures: int
    part_seconds: npt.NDArray[np.float64]
    rate_e_per_s: float
    signals_e: npt.NDArray[np.float64]
    coefficients: npt.NDArray[np.float64]

    def expected(self, part: int, response: Floats | np.float32) -> Floats:
        """Return the rate in a part of the ramp of pixels with a relative response."""
        signal = self.signals_e[part] * response
        rate: Floats = response * np.polyval(self.coefficients, signal).astype(np.float32)
        return rate


def population_curve(parts: Floats, exposures: int, part_seconds: npt.NDArray[np.float64]) -> Curve:
    """Return the curve of the median of pixels, from their rates in the parts, (parts, pixels).

    Where the brightest pixels saturate, those that are left have a low response: each is compared
    with its own in the first part.
    """
    usual = _median(parts[0])
    parts = parts[:, parts[0] > _LEAST_RESPONSE * usual]
    seconds, response = part_seconds[:, None], parts[0] / usual
    signals = np.cumsum(parts * seconds, axis=0) - parts * seconds / 2
    rates, nominal, signals_e = (
        np.array([_median(part) for part in values])
        for values in (parts / response, signals / response, signals)
    )
    known = np.isfinite(rates)
    degree = min(2, int(known.sum()) - 1)
    coefficients = (
        np.polyfit(signals_e[known], rates[known], degree) if degree >= 0 else np.zeros(1)
    )
    return Curve(
        exposures,
        part_seconds,
        float(rates[known].mean()) if known.any() else 0.0,
        nominal,
        coefficients,
    )


def _median(values: Floats) -> float:
    """Return the median of the values that there are, NaN where there are few."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size > _LEAST_SHARE * values.size else np.nan


def compare_with_population(
    parts: Sequence[Floats], curves: Sequence[Curve], noise: Floats, floor: float
) -> dict[str, Floats]:
    """Return how far pixels are from the curves, as significance and as a fraction.

    A pixel's response is what fits all levels best; χ² of the rates left is turned into standard
    deviations (Wilson & Hilferty 1931, PNAS 17, 684). Photon noise, the noise (e⁻) of the pixel's
    read differences and `floor`, a fraction of the rate, count.
    """
    rates = [part for group in parts for part in group]
    places = [(curve, part) for curve in curves for part in range(len(curve.signals_e))]
    known = [
        np.isfinite(rate) & np.isfinite(curve.signals_e[part])
        for rate, (curve, part) in zip(rates, places, strict=True)
    ]
    number = np.maximum(sum(ok.astype(np.float32) for ok in known), 1)
    total = sum(
        np.where(ok, rate / curve.expected(part, np.float32(1)), 0)
        for ok, rate, (curve, part) in zip(known, rates, places, strict=True)
    )
    response = np.clip(total / number, 0.01, 10).astype(np.float32)
    model = [np.nan_to_num(curve.expected(part, response)) for curve, part in places]
    variance: list[Floats] = []
    for (curve, part), value in zip(places, model, strict=True):
        seconds, count = np.float32(curve.part_seconds[part]), np.float32(curve.exposures)
        expected = np.maximum(value, 0)
        random = expected / (seconds * count) + noise**2 / (seconds**2 * count)
        variance.append(random + (np.float32(floor) * expected) ** 2)
    weights = [np.where(ok, 1 / each, 0) for ok, each in zip(known, variance, strict=True)]
    rates = [np.where(ok, rate, 0) for ok, rate in zip(known, rates, strict=True)]
    fit = sum(w * r * m for w, r, m in zip(weights, rates, model, strict=True))
    fit = fit / np.maximum(sum(w * m * m for w, m in zip(weights, model, strict=True)), 1e-20)
    chi2 = np.zeros_like(noise)
    fraction = np.zeros_like(noise)
    for weight, rate, one in zip(weights, rates, model, strict=True):
        chi2 += weight * (rate - fit * one) ** 2
        off = np.abs(rate / np.maximum(fit * one, 1e-6) - 1)
        fraction = np.maximum(fraction, np.where(weight > 0, off, 0))
    freedom = np.maximum(number - 1, 1)
    spread = 2 / (9 * freedom)
    significance = (np.cbrt(chi2 / freedom) - (1 - spread)) / np.sqrt(spread)
    return {
        "nonlinearity": significance.astype(np.float32),
        "nonlinearity_fraction": fraction.astype(np.float32),
    }
