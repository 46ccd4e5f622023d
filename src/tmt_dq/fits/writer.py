"""A FITS file written unit by unit, each with its checksums, in one pass."""

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tmt_dq.files.copying import Progress, copy_range, start_writeback, write_all, zero_range
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Header
from tmt_dq.fits.encoding import encode_uint32
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit, padded
from tmt_dq.io.background import BackgroundCopy
from tmt_dq.masks.mask import Stored

__all__ = ["UnitWriter"]

_WORTH_A_THREAD = 8 * 1024 * 1024


class UnitWriter:
    """Writes units one after the other into an open file.

    Parameters
    ----------
    fd : int
        Descriptor, open for writing.
    place : int
        Offset of the first unit.
    progress : callable, optional
        Called with the number of bytes of each step.
    writeback : bool
        Whether the bytes are to be on the disk soon: the system is asked to begin at once.
    begun : BackgroundCopy, optional
        A copy of units of the input into this file that has begun already.
    background : bool
        Whether large units are copied by threads, while others are written. The writer then is a
        context manager, at the end of which all is written.
    """

    def __init__(
        self,
        fd: int,
        *,
        place: int = 0,
        progress: Progress | None = None,
        writeback: bool = True,
        begun: BackgroundCopy | None = None,
        background: bool = False,
    ) -> None:
        self.fd = fd
        self.place = place
        self.progress = progress
        self.writeback = writeback
        self._background = background
        self._begun = begun
        self._copies = [] if begun is None else [begun]
        self._told = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is being copied; if something went wrong, stop it."""
        try:
            if kind is None:
                for copy in self._copies:
                    copy.wait(None if self.progress is None else self._report)
                self._report()
        finally:
            for copy in self._copies:
                copy.stop()

    def copy(self, file: FitsInput, unit: Unit) -> None:
        """Copy a unit, header and data, byte for byte."""
        # The padding too: that of an ASCII table is blanks. It may be missing at the file's end.
        start, data_end = unit.header_offset, unit.data_offset + unit.data_size
        end = max(data_end, min(unit.end, os.fstat(file.fd).st_size))
        self._copy_bytes(file, start, end - start)
        self._pad()

    def reserve(self, size: int) -> int:
        """Leave room for bytes that are written later; return where."""
        place = self.place
        self.place += size
        return place

    def write_at(self, place: int, data: bytes) -> None:
        """Write bytes into room that was reserved."""
        write_all(self.fd, data, place)

    def copy_data(self, file: FitsInput, unit: Unit) -> None:
        """Copy the data of a unit, without its header."""
        self._copy_bytes(file, unit.data_offset, unit.data_size)
        self._pad()

    def write(self, header: Header, data: bytes = b"") -> None:
        """Write a unit with data that are at hand."""
        whole = data + bytes(padded(len(data)) - len(data))
        self._write(checksums.sign(header, checksums.sum_bytes(whole)))
        self._write(whole)

    def write_flags(self, header: Header, pieces: Iterable[npt.NDArray[np.uint32]]) -> None:
        """Write an image of uint32 flags that comes in pieces of rows; the pieces are used up."""
        head = len(checksums.sign(header, 0))
        place = start = self.place + head
        total = 0
        for flags in pieces:
            data = encode_uint32(flags).data.cast("B")
            total = checksums.add(total, checksums.sum_bytes(data))
            write_all(self.fd, data, place)
            place += data.nbytes
            self._report(data.nbytes)
        self._finish(header, total, start, place)

    def copy_flags(self, header: Header, stored: Stored) -> bool:
        """Write an image of uint32 flags by copying it from where it lies.

        Returns
        -------
        bool
            False, with nothing written, if the file there has changed since it was read.
        """
        head = checksums.sign(header, stored.datasum)
        try:
            fd = os.open(stored.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            size = stored.dq.nbytes
            start = self.place + len(head)
            if _state(fd) != stored.state:
                return False
            copy_range(
                fd,
                stored.offset,
                self.fd,
                start,
                size,
                where=stored.path,
                writeback=self.writeback,
            )
            if _state(fd) != stored.state:
                return False
        finally:
            os.close(fd)
        write_all(self.fd, head, self.place)
        self.place = start + size
        self._report(len(head) + size)
        self._pad(since=start)
        return True

    def write_planes(
        self, header: Header, planes: Iterable[npt.NDArray[np.uint8] | None], size: int
    ) -> None:
        """Write an image of uint8 flags that comes in planes of `size` bytes.

        A plane that is None is zero, and takes no room on the disk.
        """
        head = len(checksums.sign(header, 0))
        place = start = self.place + head
        total = 0
        for plane in planes:
            if plane is not None:
                data = np.ascontiguousarray(plane).data.cast("B")
                total = checksums.add(total, _sum_at(data, place - start))
                write_all(self.fd, data, place)
                if self.writeback:
                    start_writeback(self.fd, place, size)
            place += size
            self._report(size)
        self._finish(header, total, start, place)

    def write_zeros(self, header: Header, size: int) -> None:
        """Write a unit whose data are `size` zero bytes, which take no room on the disk."""
        self._write(checksums.sign(header, 0))
        zero_range(self.fd, self.place, padded(size))
        self.place += padded(size)
        self._report(size)

    def _finish(self, header: Header, total: int, start: int, place: int) -> None:
        write_all(self.fd, checksums.sign(header, total), self.place)
        self.place = place
        self._pad(since=start)

    def _copy_bytes(self, file: FitsInput, start: int, size: int) -> None:
        if self._is_begun(start, size):
            self.place += size
            return
        if self._background and size >= _WORTH_A_THREAD:
            self._copies.append(
                BackgroundCopy(
                    file.fd,
                    start,
                    self.fd,
                    self.place,
                    size,
                    where=file.path,
                    writeback=self.writeback,
                )
            )
            self.place += size
            return
        copy_range(
            file.fd,
            start,
            self.fd,
            self.place,
            size,
            where=file.path,
            progress=self.progress,
            writeback=self.writeback,
        )
        self.place += size

    def _is_begun(self, start: int, size: int) -> bool:
        """Whether bytes are being copied already; a copy to the wrong place is given up."""
        begun = self._begun
        if begun is None or not begun.start <= start < begun.start + begun.size:
            return False
        if begun.covers(start, self.place, size):
            return True
        begun.stop()
        self._begun = None
        self._copies.remove(begun)
        return False

    def _write(self, data: bytes) -> None:
        write_all(self.fd, data, self.place)
        self.place += len(data)
        self._report(len(data))

    def _pad(self, since: int = 0) -> None:
        """Fill the last block with zeros."""
        end = since + padded(self.place - since)
        # Never in front of what a thread is writing: between question and answer it may get there.
        size = max([end, *(copy.place + copy.size for copy in self._copies)])
        if size > os.fstat(self.fd).st_size:
            zero_range(self.fd, size, 0)
        self.place = end

    def _report(self, size: int = 0) -> None:
        """Tell how many bytes were written, by threads too: they have no voice of their own."""
        if self.progress is not None:
            copied = sum(copy.done for copy in self._copies)
            size += max(0, copied - self._told)
            self._told = max(self._told, copied)
            if size:
                self.progress(size)


def _state(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_size, status.st_mtime_ns


def _sum_at(data: memoryview, offset: int) -> int:
    """Sum data that begin anywhere in a unit: zeros in front and behind do not change a sum."""
    before = offset % 4
    behind = -(before + data.nbytes) % 4
    if before or behind:
        return checksums.sum_bytes(bytes(before) + bytes(data) + bytes(behind))
    return checksums.sum_bytes(data)
