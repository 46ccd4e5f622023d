"""An exposure's reads and flags, plane by plane from its file."""

import numpy as np
import numpy.typing as npt

from tmt_dq.core.initialize import Reader
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.fits.encoding import read_plane, read_rows

__all__ = ["plane_reader"]


def plane_reader(exposure: RampFile) -> Reader:
    """Return a reader of an exposure's file."""
    file, shape = exposure.file, exposure.ramp.shape
    _, ngroups, ny, nx = shape

    def counts(integration: int, group: int) -> npt.NDArray[np.generic]:
        return read_plane(file, exposure.sci, integration * ngroups + group)

    def old_samples(integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        if exposure.groupdq is None:
            return None
        plane = np.empty((ny, nx), np.uint8)
        offset = (integration * ngroups + group) * plane.size
        file.read_into(exposure.groupdq, plane.data.cast("B"), offset)
        return plane

    def old_pixels(rows: slice) -> npt.NDArray[np.uint32] | None:
        if exposure.pixeldq is None:
            return None
        return read_rows(file, exposure.pixeldq, rows.start, rows.stop - rows.start)

    return Reader(shape, counts, old_samples, old_pixels)
