"""An exposure's reads and flags, plane by plane from its file."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.exposures.ramp import RampFile
from tmt_dq.fits.encoding import read_plane, read_rows

__all__ = ["FileReader"]


@dataclass(frozen=True, slots=True)
class FileReader:
    """The planes of an exposure's file, as `tmt_dq.core.initialize.Reader` needs them."""

    exposure: RampFile

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the exposure."""
        return self.exposure.ramp.shape

    def counts(self, integration: int, group: int) -> npt.NDArray[np.generic]:
        """Return one read."""
        return read_plane(self.exposure.file, self.exposure.sci, self._number(integration, group))

    def old_samples(self, integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        """Return the flags that one read's samples have already."""
        old = self.exposure.groupdq
        if old is None:
            return None
        ny, nx = self.shape[2:]
        plane = np.empty((ny, nx), np.uint8)
        offset = self._number(integration, group) * ny * nx
        self.exposure.file.read_into(old, plane.data.cast("B"), offset)
        return plane

    def old_pixels(self, rows: slice) -> npt.NDArray[np.uint32] | None:
        """Return the flags that some rows have already."""
        old = self.exposure.pixeldq
        if old is None:
            return None
        return read_rows(self.exposure.file, old, rows.start, rows.stop - rows.start)

    def _number(self, integration: int, group: int) -> int:
        return integration * self.shape[1] + group
