"""Finders that need flats: dead, insensitive and open pixels, nonlinear ones."""

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.maps import Maps, sum_cross

Bools = npt.NDArray[np.bool_]


def find_open(
    maps: Maps, *, maximum_response: float = 0.5, minimum_neighbours: float = 1.05
) -> Bools:
    """Find pixels without a contact: low, with neighbours that have their charge.

    Parameters
    ----------
    maximum_response : float
        Response of an open pixel at most.
    minimum_neighbours : float
        Mean response of the four neighbours at least; those that are low themselves are left out,
        so that pairs of open pixels are found.
    """
    low = maps["response"] < maximum_response
    result: Bools = maps.active & low & (maps["neighbour_response"] >= minimum_neighbours)
    return result


def find_adjacent_to_open(
    maps: Maps,
    *,
    minimum_response: float = 1.05,
    minimum_diagonal_response: float = 1.10,
    minimum_neighbours: float = 1.05,
) -> Bools:
    """Find neighbours of open pixels that have their charge.

    Parameters
    ----------
    minimum_response : float
        Response of a neighbour that shares an edge.
    minimum_diagonal_response : float
        Response of a neighbour that shares a corner.
    minimum_neighbours : float
        As of the finder open.
    """
    opened = find_open(maps, minimum_neighbours=minimum_neighbours).astype(np.float32)
    cross = sum_cross(opened) > 0
    diagonal = sum_cross(cross.astype(np.float32)) > 0
    response = maps["response"]
    result: Bools = maps.active & (opened == 0)
    result &= (cross & (response >= minimum_response)) | (
        diagonal & _shares_corner(opened) & (response >= minimum_diagonal_response)
    )
    return result


def _shares_corner(opened: npt.NDArray[np.float32]) -> Bools:
    padded = np.pad(opened, 1)
    result: Bools = (padded[:-2, :-2] + padded[:-2, 2:] + padded[2:, :-2] + padded[2:, 2:]) > 0
    return result


def find_dead(
    maps: Maps, *, maximum_response: float = 0.05, minimum_neighbours: float = 1.05
) -> Bools:
    """Find pixels that do not respond to light, and are not open.

    The response is corrected for inter-pixel capacitance, without which a dead pixel has 7 % of
    its neighbours' signal.

    Parameters
    ----------
    maximum_response : float
        Response of a dead pixel, less than this.
    minimum_neighbours : float
        As of the finder open.
    """
    opened = find_open(maps, minimum_neighbours=minimum_neighbours)
    result: Bools = maps.active & (maps["response"] < maximum_response) & ~opened
    return result


def find_low_qe(
    maps: Maps,
    *,
    maximum_response: float = 0.5,
    dead_response: float = 0.05,
    minimum_neighbours: float = 1.05,
) -> Bools:
    """Find pixels that respond to light weakly, and are neither dead nor open.

    Parameters
    ----------
    maximum_response : float
        Response of a pixel of low quantum efficiency, less than this.
    dead_response, minimum_neighbours : float
        As of the finders dead and open.
    """
    opened = find_open(maps, minimum_neighbours=minimum_neighbours)
    response = maps["response"]
    result: Bools = maps.active & (response < maximum_response) & (response >= dead_response)
    return result & ~opened


def find_nonlinear(
    maps: Maps,
    *,
    minimum_significance: float = 6.0,
    minimum_fraction: float = 0.02,
    maximum_settling_ratio: float = 5.0,
    telegraph_significance: float = 4.0,
) -> Bools:
    """Find pixels whose response along a ramp, and at all levels, is not the population's.

    Parameters
    ----------
    minimum_significance : float
        Deviation in standard deviations, by χ².
    minimum_fraction : float
        Largest deviation of a part of the ramp, as a fraction of its rate.
    maximum_settling_ratio : float
        Excess of the first read differences of darks, in units of their noise, from which a ramp
        is bent because the pixel settles (RC).
    telegraph_significance : float
        Significance from which a ramp is bent because of telegraph noise.
    """
    result: Bools = maps.active & (maps["response"] >= 0.05)
    result &= maps["nonlinearity"] > minimum_significance
    result &= maps["nonlinearity_fraction"] > minimum_fraction
    if "rc_excess" in maps:
        result &= maps["telegraph"] < telegraph_significance
        result &= np.abs(maps["rc_excess"]) < maximum_settling_ratio * maps["difference_noise"]
    return result
