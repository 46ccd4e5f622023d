"""Input files opened for header-only reading: plain, gzipped or tile-compressed FITS.

A plain file is used as it is. A compressed one has no data units that could be copied: where they
are needed, it is expanded once, in bounded memory, into a nameless file in the output's folder,
and everything after that is the same for both.
"""

import contextlib
import gzip
import math
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tmt_dq.errors import RampFormatError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.copying import Progress, copy_range, read_errors, write_all
from tmt_dq.files.identity import Identity
from tmt_dq.fits.cards import Header
from tmt_dq.fits.layout import BITPIX, FileReader, Unit, image_size, padded, scan

__all__ = ["FitsInput", "as_images", "from_descriptor", "open_input", "scan_stream"]

_GZIP = b"\x1f\x8b"
_PIECE = 4 * 1024 * 1024
_TILE_BYTES = 32 * 1024 * 1024
_BEYOND_HEADERS = 64 * 1024 * 1024
"""Bytes that a compressed file may have beyond those that its headers account for."""


@dataclass(frozen=True, slots=True)
class FitsInput:
    """An input file and where its units lie.

    Parameters
    ----------
    path : Path
        The file as the user named it.
    fd : int
        Descriptor of plain FITS bytes: of `path`, or of its expansion. -1 where a compressed file
        was opened for its headers alone.
    units : tuple of Unit
        Its header and data units.
    compressed : bool
        Whether `fd` is an expansion.
    seen : tuple of int and Identity, optional
        Descriptor of the file itself, and its identity when it was opened.
    """

    path: Path
    fd: int
    units: tuple[Unit, ...]
    compressed: bool
    seen: tuple[int, Identity] | None = field(default=None, kw_only=True)

    def verify(self) -> None:
        """Make sure that nobody wrote into the file since it was opened."""
        if self.seen is None:
            return
        fd, identity = self.seen
        if not Identity.of(os.fstat(fd)).has_content_of(identity):
            raise RampFormatError(
                "changed while it was being read",
                where=self.path,
                hint="Something else is changing the file; try again when it is complete.",
            )

    def named(self, name: str) -> list[Unit]:
        """Return the units whose EXTNAME is `name`."""
        return [unit for unit in self.units if unit.name == name]

    def read_into(self, unit: Unit, buffer: memoryview, start: int = 0) -> None:
        """Fill `buffer` (of bytes) with a unit's data, from byte `start` of the data."""
        done = 0
        while done < buffer.nbytes:
            place = unit.data_offset + start + done
            with read_errors(self.path):
                count = os.preadv(self.fd, [buffer[done:]], place)
            if count == 0:
                raise RampFormatError(
                    f"ended inside {unit.label} while it was being read",
                    where=self.path,
                    hint="Something else is changing the file; try again when it is complete.",
                )
            done += count

    def read(self, unit: Unit) -> bytes:
        """Return all bytes of a (small) unit's data."""
        data = bytearray(unit.data_size)
        self.read_into(unit, memoryview(data))
        return bytes(data)


@contextlib.contextmanager
def open_input(
    path: Path, *, scratch: Path | None = None, progress: Progress | None = None
) -> Iterator[FitsInput]:
    """Open a FITS file and find its units.

    Without `scratch`, the folder for the expansion of a compressed file, only the headers of a
    compressed file are read, and the result has no data. RampFormatError if it cannot be read.
    """
    fd = _open(path)
    try:
        yield from from_descriptor(fd, path, scratch, progress)
    finally:
        os.close(fd)


def from_descriptor(
    fd: int, path: Path, scratch: Path | None, progress: Progress | None
) -> Iterator[FitsInput]:
    """Yield the input that an open file holds, as `open_input` does, which names the arguments."""
    seen = (fd, Identity.of(os.fstat(fd)))
    with contextlib.ExitStack() as stack:
        with read_errors(path):
            compressed = os.pread(fd, 2, 0) == _GZIP
        if compressed and scratch is None:
            with _unzipped(fd) as stream:
                units = scan_stream(stream, path)
            yield FitsInput(path, -1, units, compressed=True)
            return
        if compressed:
            assert scratch is not None
            expanded = stack.enter_context(_nameless(scratch))
            _gunzip(fd, path, expanded, progress)
            fd = expanded
        units = tuple(scan(FileReader(fd), path, size=os.fstat(fd).st_size))
        if any(unit.is_compressed_image for unit in units):
            compressed = True
            if scratch is None:
                yield FitsInput(path, -1, as_images(units, path), compressed=True)
                return
            plain = stack.enter_context(_nameless(scratch))
            as_images(units, path)  # damaged headers are found before anything is written
            with output_errors(scratch):
                _expand_tiles(fd, units, plain, path, progress)
            fd = plain
            units = tuple(scan(FileReader(fd), path, size=os.fstat(fd).st_size))
        yield FitsInput(path, fd, units, compressed, seen=seen)


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RampFormatError(
            f"cannot be read: {error.strerror}", where=path, hint="Check the name and permissions."
        ) from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        is_folder = stat.S_ISDIR(mode)
        raise RampFormatError(
            f"is {'a folder' if is_folder else 'not a regular file'}; expected a FITS file",
            where=path,
            hint="Name a file in it; tmt-dq batch takes folders." if is_folder else "Name a file.",
        )
    return fd


@contextlib.contextmanager
def _nameless(folder: Path) -> Iterator[int]:
    """Open a temporary file that the system removes whatever happens."""
    with output_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        yield file.fileno()


class Stream(Protocol):
    """A stream that can be read, and sought forward."""

    def seek(self, offset: int, /) -> int:
        """Go to a place."""
        ...

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        ...


class _StreamReader:
    """A `Reader` of a stream that is decompressed on the way."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def read_at(self, offset: int, size: int) -> bytes:
        self.stream.seek(offset)
        return self.stream.read(size)


@contextlib.contextmanager
def _gzip_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError) as error:
        raise RampFormatError(
            f"is damaged or truncated gzip data: {error}", where=path, hint="Fetch it again."
        ) from error


def scan_stream(stream: Stream, path: Path) -> tuple[Unit, ...]:
    """Find the units of a file that is read from its beginning."""
    with _gzip_errors(path):
        return tuple(_logical(unit, path) for unit in scan(_StreamReader(stream), path))


def _unzipped(fd: int) -> gzip.GzipFile:
    """Read a gzip file through its descriptor, from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    return gzip.open(open(fd, "rb", closefd=False))


def _gunzip(fd: int, path: Path, target: int, progress: Progress | None) -> None:
    """Expand a gzip file piece by piece, little further than its headers account for."""
    place, limit = 0, _BEYOND_HEADERS
    with _unzipped(fd) as stream:
        while True:
            with _gzip_errors(path):
                piece = stream.read(_PIECE)
            if not piece:
                return
            write_all(target, piece, place)
            place += len(piece)
            if progress is not None:
                progress(len(piece))
            if place > limit:
                limit = _declared_end(target, path) + _BEYOND_HEADERS
            if place > limit:
                raise RampFormatError(
                    f"expands to more than {place} bytes; its headers account for "
                    f"{limit - _BEYOND_HEADERS}",
                    where=path,
                    hint="The file is damaged; fetch it again.",
                )


def _declared_end(fd: int, path: Path) -> int:
    """Return where the data end that the headers so far account for."""
    end = 0
    with contextlib.suppress(RampFormatError):  # of a part; the whole file is examined later
        for unit in scan(FileReader(fd), path):
            end = unit.end
    return end


def as_images(units: tuple[Unit, ...], path: Path) -> tuple[Unit, ...]:
    """Return units, tile-compressed images as what they stand for."""
    return tuple(_logical(unit, path) for unit in units)


def _logical(unit: Unit, path: Path) -> Unit:
    """Return a tile-compressed image's unit as the image that it stands for."""
    if not unit.is_compressed_image:
        return unit
    with _tile_errors(path, unit.label):
        header = _image_header(unit.header)
    return Unit(unit.index, header, unit.header_offset, unit.data_offset, 0)


def _image_header(table: Header) -> Header:
    """Return a table header with the type and shape of the image that its tiles make up."""
    header = table.copy()
    bitpix, axes = image_size(table, "Z")
    if bitpix not in BITPIX or not axes or min(axes) < 1:
        raise ValueError(f"ZBITPIX is {bitpix}, and the image has the axes {axes}")
    tiles = [table.get(f"ZTILE{n}", 1 if n > 1 else axes[0]) for n in range(1, len(axes) + 1)]
    if not all(isinstance(tile, int) and tile > 0 for tile in tiles):
        raise ValueError(f"the tiles have the axes {tiles}")
    count = math.prod(-(-axis // int(str(tile))) for axis, tile in zip(axes, tiles, strict=True))
    if count != table.get("NAXIS2"):
        raise ValueError(f"expected {count} tiles, found {table.get('NAXIS2')}")
    header["XTENSION"] = "IMAGE"
    header["BITPIX"] = bitpix
    header["NAXIS"] = len(axes)
    for number, length in enumerate(axes, start=1):
        header[f"NAXIS{number}"] = length
    return header


def _expand_tiles(
    fd: int, units: tuple[Unit, ...], target: int, path: Path, progress: Progress | None
) -> None:
    """Write a file with tile-compressed images again, all of its units plain."""
    from astropy.io import fits

    place = 0
    with (
        open(fd, "rb", closefd=False) as file,
        # Tiles are read one by one; those of a mapping would stay in the process' memory.
        fits.open(file, memmap=False, do_not_scale_image_data=True) as hdus,
    ):
        for unit in units:
            if unit.is_compressed_image:
                place = _expand_image(hdus, unit, target, place, path, progress)
                continue
            size = unit.end - unit.header_offset
            have = min(size, os.fstat(fd).st_size - unit.header_offset)
            copy_range(fd, unit.header_offset, target, place, have, where=path, progress=progress)
            place += size
            os.ftruncate(target, place)


@contextlib.contextmanager
def _tile_errors(path: Path, label: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Damaged tiles end in whatever the decompressor or NumPy makes of them.
        raise RampFormatError(
            f"{label} cannot be decompressed: {error}", where=path, hint="Fetch the file again."
        ) from error


def _expand_image(
    hdus: Any,
    unit: Unit,
    target: int,
    place: int,
    path: Path,
    progress: Progress | None,
) -> int:
    """Write one tile-compressed image as a plain unit, a few rows at a time; return its end."""
    with _tile_errors(path, unit.label):
        hdu = hdus[unit.index]
        header = Header.from_bytes(hdu.header.tostring().encode("latin-1"))
        shape = hdu.shape
    for keyword in ("CHECKSUM", "DATASUM"):
        # They were those of the table; astropy keeps the image's own as ZHECKSUM/ZDATASUM.
        header.remove(keyword)
    head = header.to_bytes()
    write_all(target, head, place)
    place += len(head)
    start = place
    dtype = np.dtype(
        {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[header.integer("BITPIX")]
    )
    rows = max(1, _TILE_BYTES // max(1, shape[-1] * dtype.itemsize))
    for plane in np.ndindex(*shape[:-2]):
        for first in range(0, shape[-2], rows) if len(shape) > 1 else [0]:
            index = (*plane, slice(first, first + rows)) if len(shape) > 1 else (slice(None),)
            with _tile_errors(path, unit.label):
                data = np.ascontiguousarray(hdu.section[index], dtype=dtype).tobytes()
            write_all(target, data, place)
            place += len(data)
            if progress is not None:
                progress(len(data))
    end = start + padded(place - start)
    os.ftruncate(target, end)
    return end
