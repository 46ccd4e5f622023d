"""Finders that need darks: hot and warm pixels, settling, telegraph noise, unreliable ones."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.maps import Maps
from tmt_dq.calibration.statistics import Floats

Bools = npt.NDArray[np.bool_]

_MEDIAN = 1.25
"""Standard error of the median of normal values, in units of that of their mean."""


def _largest_neighbour(values: Floats) -> Floats:
    """Return the largest of the eight neighbours."""
    from scipy import ndimage

    around = np.ones((3, 3), bool)
    around[1, 1] = False
    result: Floats = ndimage.maximum_filter(values, footprint=around, mode="constant", cval=0)
    return result


def _population_ratio(values: Floats, members: Bools) -> Floats:
    """Return values in units of the median of the members; 0 elsewhere."""
    usual = np.median(values[members]) if members.any() else 0
    if usual <= 0:
        return np.zeros_like(values)
    result: Floats = np.where(members, values / usual, 0).astype(np.float32)
    return result


def _above(
    maps: Maps, name: str, limit: float, ipc_uncertainty: float, error: Floats | np.float32
) -> Bools:
    """Tell which active pixels have a rate above a limit.

    It must be neither their neighbours' charge, nor within four times its error.
    """
    rate = maps[name]
    borrowed = np.float32(ipc_uncertainty) * np.maximum(_largest_neighbour(rate), 0)
    result: Bools = maps.active & (rate - borrowed >= limit)
    result &= (rate > 4 * error) | (maps["saturated"] > 0)
    return result


def find_hot(
    maps: Maps, *, minimum_rate_e_per_s: float = 0.5, ipc_uncertainty: float = 0.003
) -> Bools:
    """Find pixels with a high dark rate in the median of the exposures.

    Those that are saturated in the first read of half of the darks are hot, too. Neighbours of a
    bright pixel count only as far as `ipc_uncertainty` of its rate cannot explain theirs.

    Parameters
    ----------
    minimum_rate_e_per_s : float
        Dark rate from which a pixel is hot, e⁻/s.
    ipc_uncertainty : float
        How far the coupling of single pixels may be from the recipe's, as a share of the charge.
    """
    full: Bools = maps.active & (maps["saturated_first"] >= 0.5)
    return full | _above(
        maps, "dark_rate", minimum_rate_e_per_s, ipc_uncertainty, maps["dark_rate_error"]
    )


def find_warm(
    maps: Maps,
    *,
    minimum_rate_e_per_s: float = 0.1,
    hot_rate_e_per_s: float = 0.5,
    ipc_uncertainty: float = 0.003,
) -> Bools:
    """Find pixels with a raised dark rate that are not hot.

    Parameters
    ----------
    minimum_rate_e_per_s : float
        Dark rate from which a pixel is warm, e⁻/s.
    hot_rate_e_per_s, ipc_uncertainty : float
        As of the finder hot.
    """
    hot = find_hot(maps, minimum_rate_e_per_s=hot_rate_e_per_s, ipc_uncertainty=ipc_uncertainty)
    return ~hot & _above(
        maps, "dark_rate", minimum_rate_e_per_s, ipc_uncertainty, maps["dark_rate_error"]
    )


def find_intermittent(
    maps: Maps, *, minimum_rate_e_per_s: float = 0.5, maximum_low_fraction: float = 0.2
) -> Bools:
    """Find pixels that are hot in some of the exposures only: 30 to 70 % of them.

    Rubin's cp_pipe keeps defects of at least 70 % of the exposures; what is between is not hot and
    cannot be relied upon.

    Parameters
    ----------
    minimum_rate_e_per_s : float
        Dark rate from which a pixel is hot, e⁻/s.
    maximum_low_fraction : float
        What the rate of the calm exposures may be at most, as a fraction of that of the others.
    """
    high = maps["dark_rate_high"]
    calm = maps["dark_rate_low"] <= np.float32(maximum_low_fraction) * high
    # The pixel's own error has in it that its darks differ; that of the median pixel has not.
    usual = np.median(maps["dark_rate_error"][maps.active])
    result: Bools = calm & _above(maps, "dark_rate_high", minimum_rate_e_per_s, 0.01, usual)
    return result


def find_rc(
    maps: Maps,
    *,
    minimum_significance: float = 7.0,
    ipc_uncertainty: float = 0.003,
    telegraph_significance: float = 4.0,
) -> Bools:
    """Find pixels whose first reads rise more steeply than the late ones, in every exposure.

    Parameters
    ----------
    minimum_significance : float
        Excess of the first three read differences of the median ramp, in standard deviations.
    ipc_uncertainty : float
        As of the finder hot.
    telegraph_significance : float
        Significance from which a pixel is one of telegraph noise, whose median ramp tells nothing.
    """
    excess = maps["rc_excess"]
    sigma = maps["difference_noise"] * np.float32(_MEDIAN / np.sqrt(max(maps.darks, 1)))
    borrowed = np.float32(ipc_uncertainty) * _largest_neighbour(np.abs(excess))
    result: Bools = maps.active & (maps["saturated"] == 0)
    result &= maps["telegraph"] < telegraph_significance
    result &= excess - borrowed > np.float32(minimum_significance) * sigma
    return result


def find_inverse_rc(
    maps: Maps,
    *,
    minimum_significance: float = 7.0,
    ipc_uncertainty: float = 0.003,
    telegraph_significance: float = 4.0,
) -> Bools:
    """Find pixels whose first reads rise less steeply than the late ones, in every exposure.

    Parameters
    ----------
    minimum_significance, ipc_uncertainty, telegraph_significance : float
        As of the finder rc.
    """
    turned = replace(maps, arrays={**maps, "rc_excess": -maps["rc_excess"]})
    return find_rc(
        turned,
        minimum_significance=minimum_significance,
        ipc_uncertainty=ipc_uncertainty,
        telegraph_significance=telegraph_significance,
    )


def find_telegraph(maps: Maps, *, minimum_significance: float = 4.0) -> Bools:
    """Find pixels whose ramps fall, against the median ramp, more than their noise explains.

    Parameters
    ----------
    minimum_significance : float
        Significance of the falling edges, in standard deviations.
    """
    result: Bools = maps.active & (maps["saturated"] == 0)
    result &= maps["telegraph"] > minimum_significance
    return result


def _unsteady(maps: Maps, ratio: Floats, factor: float, chance: float) -> Bools:
    """Tell which pixels scatter more than the population, and more than few exposures let expect.

    `chance` is the share of good pixels that may exceed the limit for normal noise.
    """
    from scipy import special

    half = max(maps.darks - 1, 1) / 2  # of the degrees of freedom of χ²
    limit = np.sqrt(special.gammainccinv(half, chance) / special.gammaincinv(half, 0.5))
    result: Bools = maps.active & (ratio > max(factor, limit))
    return result


def find_unreliable_slope(
    maps: Maps, *, minimum_ratio: float = 2.5, false_alarms: float = 1e-6
) -> Bools:
    """Find pixels whose dark rate differs from exposure to exposure more than the population's.

    Parameters
    ----------
    minimum_ratio : float
        Scatter in units of the population's and of the pixel's own shot noise.
    false_alarms : float
        Share of good pixels that may exceed the limit; with few darks it is higher than
        `minimum_ratio`.
    """
    scatter = maps["dark_rate_scatter"]
    usual = np.median(scatter[maps.active]) if maps.active.any() else np.float32(0)
    shot = np.maximum(maps["dark_rate_low"], 0) * np.float32(1.2 / max(maps.dark_seconds, 1e-3))
    ratio = scatter / np.sqrt(np.maximum(usual**2 + shot, 1e-20))
    found = _unsteady(maps, ratio, minimum_ratio, false_alarms)
    found &= maps["saturated"] == 0
    return found


def find_unreliable_dark(maps: Maps, *, minimum_ratio: float = 2.5) -> Bools:
    """Find pixels with a high noise of their reads.

    Parameters
    ----------
    minimum_ratio : float
        Noise of read differences in units of the population's, without shot noise.
    """
    seconds = maps.dark_seconds / max(maps.reads - 1, 1)
    shot = np.maximum(maps["dark_rate"], 0) * np.float32(seconds)
    noise = np.sqrt(np.maximum(maps["difference_noise"] ** 2 - shot, 0))
    ratio = _population_ratio(noise, maps.active)
    result: Bools = (ratio > minimum_ratio) & (maps["saturated"] == 0)
    return result


def find_unreliable_bias(
    maps: Maps, *, minimum_ratio: float = 2.5, false_alarms: float = 1e-6
) -> Bools:
    """Find pixels whose first read differs from exposure to exposure more than the population's.

    Parameters
    ----------
    minimum_ratio, false_alarms : float
        As of the finder unreliable_slope.
    """
    ratio = _population_ratio(maps["bias_scatter"], maps.active)
    found = _unsteady(maps, ratio, minimum_ratio, false_alarms)
    found &= maps["saturated"] == 0
    return found


def find_bad_reference(
    maps: Maps, *, minimum_ratio: float = 2.5, maximum_rate_e_per_s: float = 1.0
) -> Bools:
    """Find reference pixels that are noisier than the other reference pixels, or drift.

    Parameters
    ----------
    minimum_ratio : float
        Noise of read differences in units of that of the reference pixels' population.
    maximum_rate_e_per_s : float
        Largest drift, up or down, e⁻/s.
    """
    noisy = _population_ratio(maps["difference_noise"], maps.reference) > minimum_ratio
    drifting = np.abs(maps["dark_rate"]) > maximum_rate_e_per_s
    result: Bools = maps.reference & (noisy | drifting)
    return result
