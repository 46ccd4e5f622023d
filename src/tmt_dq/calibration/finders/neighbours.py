"""What finders need to know of the pixels around a pixel."""

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.statistics import Floats

__all__ = ["grown", "largest_neighbour", "population_ratio"]

Bools = npt.NDArray[np.bool_]


def largest_neighbour(values: Floats) -> Floats:
    """Return the largest of the eight neighbours."""
    from scipy import ndimage

    around = np.ones((3, 3), bool)
    around[1, 1] = False
    result: Floats = ndimage.maximum_filter(values, footprint=around, mode="constant", cval=0)
    return result


def grown(flagged: Bools) -> Bools:
    """Return these pixels and those that share an edge or a corner with them."""
    from scipy import ndimage

    result: Bools = ndimage.binary_dilation(flagged, np.ones((3, 3), bool))
    return result


def population_ratio(values: Floats, members: Bools) -> Floats:
    """Return values in units of the median of the members; 0 elsewhere."""
    usual = np.median(values[members]) if members.any() else 0
    if usual <= 0:
        return np.zeros_like(values)
    result: Floats = np.where(members, values / usual, 0).astype(np.float32)
    return result
