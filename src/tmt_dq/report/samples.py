"""One pixel in all groups of a ramp: its flags in GROUPDQ, its counts and its neighbours'."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP
from tmt_dq.core.geometry import Window
from tmt_dq.exposures.ramp import read_ramp
from tmt_dq.fits.encoding import scaling
from tmt_dq.fits.file import open_input
from tmt_dq.fits.layout import STORED, Unit
from tmt_dq.report.image import FlagImage
from tmt_dq.report.parts import intersection

__all__ = ["GroupFlag", "Samples", "read_samples"]


@dataclass(frozen=True, slots=True)
class GroupFlag:
    """A flag, the groups in which a pixel has it in GROUPDQ, and all groups of all integrations."""

    name: str
    groups: int
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Flags of a pixel in GROUPDQ; its counts and its neighbours', (groups, 3, 3), if there are.

    Counts are NaN outside of the exposure.
    """

    flags: tuple[GroupFlag, ...] = ()
    reads: npt.NDArray[np.float64] | None = None
    unit: str = ""


def read_samples(image: FlagImage, y: int, x: int) -> Samples:
    """Read the samples of a pixel, 0-based on the detector, and nothing else of the file.

    A compressed ramp is left out: it would have to be expanded for these bytes.
    """
    if image.kind != "ramp" or image.path is None:
        return Samples()
    with open_input(image.path) as file:
        if file.compressed:
            return Samples()
        exposure = read_ramp(file)
    window = image.window
    near = intersection(window, Window(y - 1, x - 1, 3, 3))
    assert near is not None
    counts = _planes(image.path, exposure.sci)[:, *near.slices(window)].astype(np.float64)
    reads = np.full((len(counts), 3, 3), np.nan)
    zero, scale = scaling(exposure.sci, image.path)
    reads[:, *near.slices(Window(y - 1, x - 1, 3, 3))] = counts * scale + zero
    flags: dict[str, int] = {}
    if exposure.groupdq is not None:
        place = Window(y, x, 1, 1).slices(window)
        flags = GROUP.count(_planes(image.path, exposure.groupdq)[:, *place])
    found = [GroupFlag(name, n, len(counts)) for name, n in flags.items() if name != "GOOD"]
    unit = str(exposure.sci.header.get("BUNIT") or "").strip() or "unit not stated"
    return Samples(tuple(found), reads, unit)


def _planes(path: Path, unit: Unit) -> npt.NDArray[Any]:
    """Return the planes of an image as they are stored; only what is looked at is read."""
    *planes, ny, nx = unit.shape
    shape = (math.prod(planes), ny, nx)
    return np.memmap(path, STORED[unit.bitpix], "r", unit.data_offset, shape)
