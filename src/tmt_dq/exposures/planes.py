"""An exposure's reads and flags, plane by plane or piece by piece from its file."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.initialize import Reader
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.fits.encoding import read_flags, read_plane, read_rows

Flags = npt.NDArray[np.unsignedinteger]
Samples = npt.NDArray[np.uint8]

_PIECE_BYTES = 8 * 1024 * 1024
"""Bytes of a layout's flags that are made at a time."""


def plane_reader(exposure: RampFile) -> Reader:
    """Return a reader of an exposure's file."""
    file, shape = exposure.file, exposure.ramp.shape
    _, ngroups, ny, nx = shape

    def counts(integration: int, group: int) -> npt.NDArray[np.generic]:
        return read_plane(file, exposure.sci, integration * ngroups + group)

    def old_samples(integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        if exposure.groupdq is None or exposure.ramp.layout is not None:
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


class LayoutFlags:
    """The flags of samples in another pipeline's layout: those that are there, and more."""

    def __init__(self, exposure: RampFile) -> None:
        layout, unit = exposure.ramp.layout, exposure.groupdq
        assert layout is not None
        assert unit is not None
        self.unit = unit
        self.before = False
        """Whether there were flags in the pieces until now."""
        self._file, self._order = exposure.file, layout.order

    def pieces(
        self,
        pixels: npt.NDArray[np.uint32],
        samples: Callable[[int, int], Samples | None],
    ) -> Iterator[Flags]:
        """Yield the flags in the order of the file.

        Of `pixels`, (ny, nx), each sample gets the bits that it has room for; `samples` gives those
        of one read, as a source of flags.
        """
        most = max(1, _PIECE_BYTES * 8 // self.unit.bitpix)
        first = 0
        for box in _boxes(self.unit.shape, most):
            piece = read_flags(self._file, self.unit, first, [len(part) for part in box])
            first += piece.size
            self.before = self.before or bool(piece.any())
            ramp = piece.transpose(self._order)  # the same memory as (nints, ngroups, ny, nx)
            integrations, groups, *place = (box[axis] for axis in self._order)
            y, x = (slice(part.start, part.stop) for part in place)
            ramp |= pixels[y, x].astype(piece.dtype)
            for read in np.ndindex(*ramp.shape[:2]):
                plane = samples(integrations[read[0]], groups[read[1]])
                if plane is not None:
                    ramp[read] |= plane[y, x]
            yield piece


def _boxes(shape: tuple[int, ...], most: int) -> Iterator[tuple[range, ...]]:
    """Yield parts of an array, up to `most` elements that follow one another, in their order."""
    length, *rest = shape
    size = math.prod(rest)
    if size > most:
        for number in range(length):
            for box in _boxes(tuple(rest), most):
                yield range(number, number + 1), *box
        return
    step = most // size
    for first in range(0, length, step):
        yield range(first, min(first + step, length)), *map(range, rest)
