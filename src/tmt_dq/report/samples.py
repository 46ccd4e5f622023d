"""One pixel in all groups of a ramp: its flags in GROUPDQ, its counts and its neighbours'."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.exposures.ramp import RampFile, read_ramp
from tmt_dq.fits.encoding import scaling
from tmt_dq.fits.file import open_input
from tmt_dq.fits.layout import STORED, Unit
from tmt_dq.report.image import FlagImage
from tmt_dq.report.parts import intersection


@dataclass(frozen=True, slots=True)
class GroupFlag:
    """A flag, the groups in which a pixel has it, and all groups of all integrations."""

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
    counts = _read(exposure, exposure.sci, near).astype(np.float64)
    reads = np.full((len(counts), 3, 3), np.nan)
    zero, scale = scaling(exposure.sci, image.path)
    reads[:, *near.slices(Window(y - 1, x - 1, 3, 3))] = counts * scale + zero
    flags: dict[str, int] = {}
    if exposure.groupdq is not None:
        # The samples of another pipeline's layout have the flags of pixels, too.
        table = GROUP if exposure.ramp.layout is None else PIXEL
        samples = _read(exposure, exposure.groupdq, Window(y, x, 1, 1)).astype(np.int64)
        offset, _ = scaling(exposure.groupdq, image.path)
        flags = table.count(samples + int(offset))
    found = [GroupFlag(name, n, len(counts)) for name, n in flags.items() if name != "GOOD"]
    unit = str(exposure.sci.header.get("BUNIT") or "").strip() or "unit not stated"
    return Samples(tuple(found), reads, unit)


def _read(exposure: RampFile, unit: Unit, window: Window) -> npt.NDArray[Any]:
    """Return a part of all planes, (planes, ny, nx), as stored; only what is used is read."""
    kind, layout = STORED[unit.bitpix], exposure.ramp.layout
    array = np.memmap(exposure.file.path, kind, "r", unit.data_offset, unit.shape)
    ramp = array.reshape(exposure.ramp.shape) if layout is None else array.transpose(layout.order)
    part = ramp[:, :, *window.slices(exposure.ramp.window)]
    return part.reshape(-1, *part.shape[2:])
