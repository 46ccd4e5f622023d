"""One pixel in all groups of a ramp: its flags in GROUPDQ, its counts and its neighbours'."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP
from tmt_dq.exposures.ramp import read_ramp
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.layout import Unit
from tmt_dq.report.image import FlagImage

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
    y, x = y - image.window.y, x - image.window.x
    with open_input(image.path) as file:
        if file.compressed:
            return Samples()
        exposure = read_ramp(file)
        counts: dict[str, int] = {}
        if exposure.groupdq is not None:
            values = _read_stretch(file, exposure.groupdq, y, slice(x, x + 1))[:, 0]
            counts = GROUP.count(values.astype(np.uint8))
        rows, columns = range(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
        ny, nx = image.dq.shape
        columns = slice(columns.start, min(columns.stop, nx))
        groups = exposure.ramp.shape[0] * exposure.ramp.shape[1]
        reads = np.full((groups, 3, 3), np.nan)
        for row in rows:
            if row < ny:
                place = slice(columns.start - x + 1, columns.stop - x + 1)
                reads[:, row - y + 1, place] = _read_stretch(file, exposure.sci, row, columns)
        unit = str(exposure.sci.header.get("BUNIT") or "").strip() or "unit not stated"
    flags = [GroupFlag(name, n, groups) for name, n in counts.items() if name != "GOOD"]
    return Samples(tuple(flags), reads, unit)


def _read_stretch(file: FitsInput, unit: Unit, row: int, columns: slice) -> npt.NDArray[np.float64]:
    """Return a part of one row in each plane of an image, (planes, columns), as physical values."""
    kind = (
        "u1" if unit.bitpix == 8 else f">{'f' if unit.bitpix < 0 else 'i'}{abs(unit.bitpix) // 8}"
    )
    *planes, ny, nx = unit.shape
    values = np.empty((int(np.prod(planes)), columns.stop - columns.start), kind)
    for plane, target in enumerate(values):
        start = ((plane * ny + row) * nx + columns.start) * values.itemsize
        file.read_into(unit, target.data.cast("B"), start)
    scale, zero = (float(str(unit.header.get(*card))) for card in (("BSCALE", 1), ("BZERO", 0)))
    return values * scale + zero
