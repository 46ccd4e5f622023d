"""One pixel in all groups of a ramp's GROUPDQ."""

from dataclasses import dataclass

import numpy as np

from tmt_dq.core.flags import GROUP
from tmt_dq.exposures.ramp import read_ramp
from tmt_dq.fits.file import open_input
from tmt_dq.report.image import FlagImage

__all__ = ["GroupFlag", "count_groups"]


@dataclass(frozen=True, slots=True)
class GroupFlag:
    """How often a pixel carries a flag in GROUPDQ.

    Attributes
    ----------
    name : str
        The flag.
    groups, total : int
        Groups in which it is set, and all groups of all integrations.
    """

    name: str
    groups: int
    total: int


def count_groups(image: FlagImage, y: int, x: int) -> tuple[GroupFlag, ...]:
    """Count the flags of a pixel (0-based on the detector) in GROUPDQ; one byte a group is read.

    A compressed ramp is left out: it would have to be expanded for these bytes.
    """
    if image.kind != "ramp" or image.path is None:
        return ()
    with open_input(image.path) as file:
        unit = None if file.compressed else read_ramp(file).groupdq
        if unit is None:
            return ()
        nints, ngroups, ny, nx = unit.shape
        values = np.zeros(nints * ngroups, np.uint8)
        first = (y - image.window.y) * nx + x - image.window.x
        for group in range(values.size):
            file.read_into(unit, values[group : group + 1].data, group * ny * nx + first)
    counts = GROUP.count(values)
    return tuple(
        GroupFlag(name, groups, values.size) for name, groups in counts.items() if name != "GOOD"
    )
