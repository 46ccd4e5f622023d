"""Inputs elsewhere, opened like those on disk: headers by ranges, data straight to where they go.

What has no ranges (a web server that does not know them), and what is compressed, is copied once
into a nameless file, and is from there on like any other input.
"""

import contextlib
import gzip
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tmt_dq.files.atomic import output_errors
from tmt_dq.files.copying import Progress, start_writeback, write_all
from tmt_dq.files.urls import Url
from tmt_dq.fits import file as inputs
from tmt_dq.fits.layout import Unit, scan
from tmt_dq.io.remote import Ahead, Remote, changed, connect, pieces

__all__ = ["RemoteInput", "fetch_into", "open_remote"]

_GZIP = b"\x1f\x8b"
_SMALL = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RemoteInput(inputs.FitsInput):
    """An input elsewhere whose bytes are asked for when they are needed; `fd` is -1.

    Parameters
    ----------
    remote : Remote
        The file.
    ahead : Ahead
        Reads small parts of it.
    """

    remote: Remote
    ahead: Ahead

    def read_into(self, unit: Unit, buffer: memoryview, start: int = 0) -> None:
        """Fill `buffer` (of bytes) with a unit's data, from byte `start` of the data."""
        if buffer.nbytes <= _SMALL:
            data = self.ahead.read_at(unit.data_offset + start, buffer.nbytes)
            if len(data) != buffer.nbytes:
                raise changed(self.remote.url, f"ended inside {unit.label}")
            buffer[:] = data
            return
        done = 0
        for piece in pieces(self.remote, unit.data_offset + start, buffer.nbytes):
            buffer[done : done + len(piece)] = piece
            done += len(piece)

    def copy_to(
        self,
        start: int,
        size: int,
        target: int,
        place: int,
        *,
        progress: Progress | None = None,
        writeback: bool = True,
    ) -> None:
        """Copy bytes of the file into a file here."""
        for piece in pieces(self.remote, start, size):
            write_all(target, piece, place)
            if writeback:
                start_writeback(target, place, len(piece))
            place += len(piece)
            if progress is not None:
                progress(len(piece))

    def verify(self) -> None:
        """Make sure that the file is still the one that was opened.

        Raises
        ------
        RemoteError
            Raised if it is not.
        """
        verify(self.remote)


def verify(remote: Remote) -> None:
    """Make sure that a file elsewhere is still the one that was opened."""
    if remote.state() != (remote.size, remote.mark):
        raise changed(remote.url)


@contextlib.contextmanager
def open_remote(
    url: Url, *, scratch: Path | None = None, progress: Progress | None = None
) -> Iterator[inputs.FitsInput]:
    """Open a FITS file elsewhere and find its units, as `tmt_dq.fits.file.open_input` does.

    Parameters
    ----------
    url : Url
        The file.
    scratch, progress
        As in `open_input`.

    Yields
    ------
    FitsInput
        The open file.

    Raises
    ------
    RemoteError
        Raised if it is not there, may not be read, changes, or the connection fails.
    RampFormatError
        Raised if it is not FITS.
    """
    remote = connect(url)
    named = cast("Path", url)
    if not remote.ranged or remote.size is None or _starts(remote).startswith(_GZIP):
        with _as_stream(remote, scratch, progress) as file:
            yield file
        return
    ahead = Ahead(remote)
    units = tuple(scan(ahead, url, size=remote.size))
    if not any(unit.is_compressed_image for unit in units):
        yield RemoteInput(named, -1, units, compressed=False, remote=remote, ahead=ahead)
    elif scratch is None:
        yield inputs.FitsInput(named, -1, inputs.as_images(units, url), compressed=True)
    else:
        with _copied(remote, scratch, progress) as fd:
            yield from inputs.from_descriptor(fd, url, scratch, progress)


def _starts(remote: Remote) -> bytes:
    assert remote.size is not None
    return remote.read_range(0, min(2, remote.size))


@contextlib.contextmanager
def _as_stream(
    remote: Remote, scratch: Path | None, progress: Progress | None
) -> Iterator[inputs.FitsInput]:
    """Open what can only be read from its beginning."""
    if scratch is not None:
        with _copied(remote, scratch, progress) as fd:
            yield from inputs.from_descriptor(fd, remote.url, scratch, progress)
        return
    with io.BufferedReader(_Stream(remote), 1 << 20) as stream:
        if stream.peek(2).startswith(_GZIP):
            with gzip.GzipFile(fileobj=stream) as plain:
                units = inputs.scan_stream(plain, remote.url)
        else:
            units = inputs.scan_stream(_Forward(stream), remote.url)
    yield inputs.FitsInput(cast("Path", remote.url), -1, units, compressed=True)


@contextlib.contextmanager
def _copied(remote: Remote, scratch: Path, progress: Progress | None) -> Iterator[int]:
    """Copy a file into a nameless one."""
    with output_errors(scratch), tempfile.TemporaryFile(dir=scratch) as file:
        fetch_into(remote, file.fileno(), progress)
        yield file.fileno()


def fetch_into(remote: Remote, target: int, progress: Progress | None = None) -> None:
    """Copy a whole file into a file here, and make sure that it did not change meanwhile."""
    place = 0
    for piece in remote.stream():
        write_all(target, piece, place)
        place += len(piece)
        if progress is not None:
            progress(len(piece))
    verify(remote)


class _Stream(io.RawIOBase):
    """A remote file as a stream; it need not be read to its end."""

    def __init__(self, remote: Remote) -> None:
        self._pieces = remote.stream()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        closing = getattr(self._pieces, "close", None)
        if closing is not None:
            closing()
        super().close()


class _Forward:
    """Seeks in a stream by reading on."""

    def __init__(self, stream: "io.BufferedReader[_Stream]") -> None:
        self._stream = stream
        self._place = 0

    def seek(self, offset: int) -> int:
        """Read on until `offset`."""
        while self._place < offset:
            passed = len(self._stream.read(min(1 << 20, offset - self._place)))
            if not passed:
                break
            self._place += passed
        return self._place

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        data = self._stream.read(size)
        self._place += len(data)
        return data
