"""Connected groups of pixels, labelled by `scipy.ndimage`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import Boxes, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Connected groups of pixels, in the order of their first pixels."""

    size: Integers  # pixels of each
    bounds: Boxes  # the smallest rectangle around each


def find_clusters(flagged: npt.NDArray[np.bool_]) -> Clusters:
    """Find groups of True pixels that share edges or corners, as photutils and SExtractor do."""
    # Imported here: it takes 0.3 s, and only inspections look for clusters.
    from scipy import ndimage

    labels, count = ndimage.label(flagged, np.ones((3, 3)))
    y, x = np.nonzero(flagged)
    group = labels[y, x] - 1
    first, end = (np.full((2, count), limit) for limit in (max(flagged.shape), 0))
    for axis, place in enumerate((y, x)):
        np.minimum.at(first[axis], group, place)
        np.maximum.at(end[axis], group, place + 1)
    size = np.bincount(group, minlength=count)
    return Clusters(size, Boxes(first[0], first[1], end[0] - first[0], end[1] - first[1]))
