"""A FITS file written unit by unit, each with its checksums, in one pass."""

import hashlib
import math
import os
from collections.abc import Iterable
from typing import Self

import numpy as np
import numpy.typing as npt

from tmt_dq.files.copying import Copier, Progress, start_writeback, write_all
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Header
from tmt_dq.fits.encoding import Unsigned, encode_unsigned
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit, padded


class UnitWriter:
    """Writes units one after the other into a new file, which is complete after `finish`.

    Data between units, and planes without flags, are never written: a new file reads as zeros. For
    a dry run `fd` is None: all units are made, and only their lengths are used. `source` is the
    file that units are copied from; with `writeback` the system begins writing to the disk at once.
    """

    def __init__(
        self,
        fd: int | None,
        source: FitsInput | None = None,
        *,
        progress: Progress | None = None,
        writeback: bool = True,
    ) -> None:
        self.fd = fd
        self.size = 0
        self._source = source
        self._progress = progress
        self._writeback = writeback
        self._copier: Copier | None = None
        self._ahead = range(0)
        self._shift = 0
        self._heads: dict[int, bytes] = {}
        self._reported = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def copy_ahead(self, last: Unit, place: int) -> None:
        """Start to copy the data of the primary unit and all units up to `last` to a place.

        Where `copy` later needs them in another place, they are copied again.
        """
        start, end = self._file.units[0].data_offset, self._end(last)
        self._ahead, self._shift = range(start, end), place - start
        self._start_copy(start, place, end - start)

    def copy(self, unit: Unit) -> None:
        """Copy a unit, header and data, byte for byte."""
        length = unit.data_offset - unit.header_offset
        self._heads[self.size] = os.pread(self._file.fd, length, unit.header_offset)
        self._copy(unit.header_offset, self._end(unit) - unit.header_offset)

    def copy_data(self, unit: Unit) -> None:
        """Copy the data of a unit, without its header."""
        self._copy(unit.data_offset, unit.data_size)

    def reserve(self, size: int) -> int:
        """Leave room for bytes that are written later; return where."""
        place = self.size
        self.size += padded(size)
        return place

    def reserve_image(self, header: Header, size: int) -> int:
        """Leave room for an image of `size` bytes and its header; return where."""
        return self.reserve(len(checksums.sign(header, 0)) + size)

    def write_at(self, place: int, data: bytes | memoryview) -> None:
        """Write bytes into room that was reserved."""
        if self.fd is not None:
            write_all(self.fd, data, place)
            self._report(len(data))

    def write_head(self, place: int, head: bytes) -> None:
        """Write the header of a unit into room that was reserved."""
        self._heads[place] = head
        self.write_at(place, head)

    def digest_of_headers(self) -> str:
        """Return the sha256 of all headers until now, in their order."""
        return hashlib.sha256(b"".join(self._heads[at] for at in sorted(self._heads))).hexdigest()

    def write(self, header: Header, data: bytes = b"") -> None:
        """Write a unit with data that are at hand."""
        whole = data + bytes(padded(len(data)) - len(data))
        head = checksums.sign(header, checksums.sum_bytes(whole))
        place = self.reserve(len(head) + len(whole))
        self.write_head(place, head)
        self.write_at(place + len(head), whole)

    def write_flags(
        self, place: int, header: Header, pieces: Iterable[npt.NDArray[Unsigned]]
    ) -> None:
        """Write an image of unsigned flags, pieces that are used up, into reserved room."""
        start = place + len(checksums.sign(header, 0))
        total = size = 0
        for flags in pieces:
            data = encode_unsigned(flags).data.cast("B")
            total = checksums.add(total, _sum_at(data, size))
            self.write_at(start + size, data)
            size += data.nbytes
        self.write_head(place, checksums.sign(header, total))

    def write_planes(
        self, header: Header, planes: Iterable[npt.NDArray[np.uint8] | None], shape: tuple[int, ...]
    ) -> None:
        """Write an image of uint8 flags from its planes, (ny, nx), in their order.

        A plane that is None is zero, and takes no room on the disk.
        """
        size = shape[-2] * shape[-1]
        place = self.reserve_image(header, math.prod(shape))
        start = place + len(checksums.sign(header, 0))
        total = 0
        for number, plane in enumerate(planes):
            if plane is None:
                self._report(size)
                continue
            data = np.ascontiguousarray(plane).data.cast("B")
            total = checksums.add(total, _sum_at(data, number * size))
            self.write_at(start + number * size, data)
            if self._writeback and self.fd is not None:
                start_writeback(self.fd, start + number * size, size)
        self.write_head(place, checksums.sign(header, total))

    def finish(self) -> None:
        """Wait until all is copied, and give the file its size."""
        if self._copier is not None:
            while not self._copier.wait(0.1):
                self._report()
        self._report()
        if self.fd is not None:
            os.ftruncate(self.fd, self.size)

    @property
    def _file(self) -> FitsInput:
        assert self._source is not None
        return self._source

    def _end(self, unit: Unit) -> int:
        """Return where a unit ends in the input.

        With its padding, since that of an ASCII table is blanks; it may be missing at the end.
        """
        data_end = unit.data_offset + unit.data_size
        return max(data_end, min(unit.end, os.fstat(self._file.fd).st_size))

    def _copy(self, start: int, size: int) -> None:
        place = self.reserve(size)
        if start in self._ahead and size:
            if place - start == self._shift:
                return
            self._stop()
        self._start_copy(start, place, size)

    def _stop(self) -> None:
        """Stop what is still being copied: without `finish`, or elsewhere, nobody needs it."""
        if self._copier is not None:
            self._copier.stop()
        self._copier, self._ahead, self._reported = None, range(0), 0

    def _start_copy(self, start: int, place: int, size: int) -> None:
        if self.fd is None or size == 0:
            return
        if self._copier is None:
            file = self._file
            self._copier = Copier(file.fd, self.fd, where=file.path, writeback=self._writeback)
        self._copier.copy(start, place, size)
        self._report()

    def _report(self, size: int = 0) -> None:
        """Report progress, including bytes copied by the thread."""
        if self._progress is not None:
            copied = 0 if self._copier is None else self._copier.done
            size += max(0, copied - self._reported)
            self._reported = max(self._reported, copied)
            if size:
                self._progress(size)


def _sum_at(data: memoryview, offset: int) -> int:
    """Sum data that begin anywhere in a unit: zeros in front and behind do not change a sum."""
    before = offset % 4
    behind = -(before + data.nbytes) % 4
    whole = bytes(before) + bytes(data) + bytes(behind) if before or behind else data
    return checksums.sum_bytes(whole)
