"""Finders that complete what others found: bad columns, rows of a channel, clusters with holes."""

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.maps import Maps
from tmt_dq.core.flags import PIXEL

Bools = npt.NDArray[np.bool_]

_BAD = PIXEL.encode("DEAD LOW_QE OPEN HOT RC TELEGRAPH NONLINEAR OTHER_BAD_PIXEL UNRELIABLE_DARK")


def find_reference(maps: Maps) -> Bools:
    """Find reference pixels: the border that the instrument's description states."""
    return maps.reference.copy()


def find_gaps_in_lines(
    maps: Maps, *, minimum_fraction: float = 0.5, minimum_length: int = 32
) -> Bools:
    """Find pixels without a flag in columns, and in rows of a readout channel, that are mostly bad.

    Parameters
    ----------
    minimum_fraction : float
        Fraction of bad pixels from which the whole line is bad.
    minimum_length : int
        Active pixels that a line has at least, to be judged.
    """
    bad = (maps.flags & np.uint32(_BAD)) != 0
    lines = _mostly(bad, maps.active, 0, minimum_fraction, minimum_length)
    columns = bad.shape[1]
    width = maps.channel_columns or columns
    for first in range(0, columns, width):
        part = (slice(None), slice(first, first + width))
        least = min(minimum_length, width)
        lines[part] |= _mostly(bad[part], maps.active[part], 1, minimum_fraction, least)
    result: Bools = lines & ~bad & maps.active
    return result


def _mostly(bad: Bools, active: Bools, axis: int, fraction: float, least: int) -> Bools:
    """Tell for each pixel whether its line along an axis is mostly bad."""
    number = active.sum(axis=axis, keepdims=True)
    count = (bad & active).sum(axis=axis, keepdims=True)
    whole: Bools = (number >= least) & (count >= fraction * number)
    return np.broadcast_to(whole, bad.shape).copy()


def find_holes_in_clusters(maps: Maps, *, maximum_pixels: int = 4) -> Bools:
    """Find pixels without a flag that bad ones enclose on all four sides.

    Parameters
    ----------
    maximum_pixels : int
        Size of a hole at most.
    """
    from scipy import ndimage

    bad = (maps.flags & np.uint32(_BAD)) != 0
    holes = ndimage.binary_fill_holes(bad) & ~bad
    labels, _ = ndimage.label(holes)
    result: Bools = holes & (np.bincount(labels.ravel())[labels] <= maximum_pixels)
    return result & maps.active
