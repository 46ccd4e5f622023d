"""Input files opened for header-only reading: plain, gzipped or tile-compressed FITS.

A plain file is used as it is. A compressed one has no data units that could be copied: where they
are needed, it is expanded once, in bounded memory, into a nameless file in the output's folder,
and everything after that is the same for both.
"""

import contextlib
import dataclasses
import gzip
import math
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmt_dq.errors import RampFormatError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.copying import Progress, copy_range, read_errors, write_all
from tmt_dq.files.identity import Identity
from tmt_dq.fits.cards import Header
from tmt_dq.fits.layout import STORED, Unit, image_size, padded, scan, scan_file

_GZIP = b"\x1f\x8b"
_PIECE = 4 * 1024 * 1024
_TILE_BYTES = 32 * 1024 * 1024
_BEYOND_HEADERS = 64 * 1024 * 1024
"""Bytes that a compressed file may have beyond those that its headers account for."""
_CHANGING = "Something else is changing the file; try again when it is complete."

Units = tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class FitsInput:
    """An input file, its plain FITS bytes, and where its units lie in them.

    `fd` is -1 where a compressed file was opened for its headers alone; `seen` has the descriptor
    and the identity of the file itself when it was opened.
    """

    path: Path
    fd: int
    units: Units
    compressed: bool
    seen: tuple[int, Identity]

    def verify(self) -> None:
        """Make sure that nobody wrote into the file since it was opened."""
        fd, identity = self.seen
        if not Identity.of(os.fstat(fd)).has_content_of(identity):
            what = "changed while it was being read"
            raise RampFormatError(what, where=self.path, hint=_CHANGING)

    @contextlib.contextmanager
    def reopened(self) -> Iterator["FitsInput"]:
        """Open a plain file again, in another process too, and make sure that it is the same."""
        fd = _open(self.path)
        try:
            again = dataclasses.replace(self, fd=fd, seen=(fd, self.seen[1]))
            again.verify()
            yield again
        finally:
            os.close(fd)

    def named(self, name: str) -> list[Unit]:
        """Return the units whose EXTNAME is `name`, in letters of any case."""
        return [unit for unit in self.units if unit.name == name.strip().upper()]

    def read_into(self, unit: Unit, buffer: memoryview, start: int = 0) -> None:
        """Fill `buffer` (of bytes) with a unit's data, from byte `start` of the data."""
        done = 0
        while done < buffer.nbytes:
            place = unit.data_offset + start + done
            with read_errors(self.path):
                count = os.preadv(self.fd, [buffer[done:]], place)
            if count == 0:
                what = f"ended inside {unit.label} while it was being read"
                raise RampFormatError(what, where=self.path, hint=_CHANGING)
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
    with contextlib.ExitStack() as stack:
        fd = _open(path)
        stack.callback(os.close, fd)
        seen = (fd, Identity.of(os.fstat(fd)))
        with read_errors(path):
            compressed = os.pread(fd, 2, 0) == _GZIP
        if compressed and scratch is None:
            yield FitsInput(path, -1, _as_images(_zipped_units(fd, path), path), True, seen)
            return
        if compressed and scratch is not None:
            expanded = stack.enter_context(_nameless(scratch))
            _gunzip(fd, path, expanded, progress)
            fd = expanded
        units = _plain_units(fd, path)
        if any(unit.is_compressed_image for unit in units):
            images = _as_images(units, path)  # damaged headers are found before anything is written
            if scratch is None:
                yield FitsInput(path, -1, images, True, seen)
                return
            plain = stack.enter_context(_nameless(scratch))
            with output_errors(scratch):
                _expand_tiles(fd, units, plain, path, progress)
            fd, compressed = plain, True
            units = _plain_units(fd, path)
        yield FitsInput(path, fd, units, compressed, seen)


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        hint = "Check the name and permissions."
        raise RampFormatError(what, where=path, hint=hint) from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        what, hint = "not a regular file", "Name a file."
        if stat.S_ISDIR(mode):
            what, hint = "a folder", "Name a file in it; tmt-dq batch takes folders."
        raise RampFormatError(f"is {what}; expected a FITS file", where=path, hint=hint)
    return fd


@contextlib.contextmanager
def _nameless(folder: Path) -> Iterator[int]:
    """Open a temporary file that the system removes whatever happens."""
    with output_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        yield file.fileno()


@contextlib.contextmanager
def _unzipped(fd: int) -> Iterator[gzip.GzipFile]:
    """Open a gzip file through its descriptor, from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file, gzip.open(file) as stream:
        yield stream


@contextlib.contextmanager
def _gzip_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError) as error:
        what = f"is damaged or truncated gzip data: {error}"
        raise RampFormatError(what, where=path, hint="Fetch it again.") from error


def _plain_units(fd: int, path: Path) -> Units:
    return tuple(scan_file(fd, path, os.fstat(fd).st_size))


def _zipped_units(fd: int, path: Path) -> Units:
    """Find the units of a gzip file, whose data are read but not kept."""

    def read_at(offset: int, size: int) -> bytes:
        stream.seek(offset)
        return stream.read(size)

    with _gzip_errors(path), _unzipped(fd) as stream:
        return tuple(scan(read_at, path))


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
                declared = _declared_end(target, path)
                limit = declared + _BEYOND_HEADERS
                if place > limit:
                    raise RampFormatError(
                        f"expands to more than {place} bytes; its headers account for {declared}",
                        where=path,
                        hint="The file is damaged; fetch it again.",
                    )


def _declared_end(fd: int, path: Path) -> int:
    """Return where the data end that the headers so far account for."""
    end = 0
    with contextlib.suppress(RampFormatError):  # of a part; the whole file is examined later
        for unit in scan(lambda at, size: os.pread(fd, size, at), path):
            end = unit.end
    return end


@contextlib.contextmanager
def _tile_errors(path: Path, label: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Damaged tiles end in whatever the decompressor or NumPy makes of them.
        what = f"{label} cannot be decompressed: {error}"
        raise RampFormatError(what, where=path, hint="Fetch the file again.") from error


def _as_images(units: Units, path: Path) -> Units:
    """Return units, tile-compressed images as the images that they stand for."""
    return tuple(_as_image(one, path) if one.is_compressed_image else one for one in units)


def _as_image(unit: Unit, path: Path) -> Unit:
    with _tile_errors(path, unit.label):
        header = _image_header(unit.header)
    return Unit(unit.index, header, unit.header_offset, unit.data_offset, 0)


def _image_header(table: Header) -> Header:
    """Return a table header with the type and shape of the image that its tiles make up."""
    header = table.copy()
    bitpix, axes = image_size(table, "Z")
    if bitpix not in STORED or not axes or min(axes) < 1:
        raise ValueError(f"ZBITPIX is {bitpix}, and the image has the axes {axes}")
    tiles = [table.integer(f"ZTILE{n}", 1 if n > 1 else axes[0]) for n in range(1, len(axes) + 1)]
    if min(tiles) < 1:
        raise ValueError(f"the tiles have the axes {tiles}")
    count = math.prod(-(-axis // tile) for axis, tile in zip(axes, tiles, strict=True))
    if count != table.get("NAXIS2"):
        raise ValueError(f"expected {count} tiles, found {table.get('NAXIS2')}")
    header["XTENSION"] = "IMAGE"
    header["BITPIX"] = bitpix
    header["NAXIS"] = len(axes)
    for number, length in enumerate(axes, start=1):
        header[f"NAXIS{number}"] = length
    return header


def _expand_tiles(
    fd: int, units: Units, target: int, path: Path, progress: Progress | None
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
                for data in _plain_image(hdus, unit, path):
                    write_all(target, data, place)
                    place += len(data)
                    if progress is not None:
                        progress(len(data))
                place = padded(place)
            else:
                start, size = unit.header_offset, unit.end - unit.header_offset
                have = min(size, os.fstat(fd).st_size - start)
                copy_range(fd, start, target, place, have, where=path, progress=progress)
                place += size
            os.ftruncate(target, place)


def _plain_image(hdus: Any, unit: Unit, path: Path) -> Iterator[bytes]:
    """Yield the header of a tile-compressed image as a plain unit, then its rows."""
    with _tile_errors(path, unit.label):
        hdu = hdus[unit.index]
        header = Header.from_bytes(hdu.header.tostring().encode("latin-1"))
        shape, dtype = hdu.shape, np.dtype(STORED[header.integer("BITPIX")])
    for keyword in ("CHECKSUM", "DATASUM"):
        # They were those of the table; astropy keeps the image's own as ZHECKSUM/ZDATASUM.
        header.remove(keyword)
    yield header.to_bytes()
    rows = max(1, _TILE_BYTES // max(1, shape[-1] * dtype.itemsize))
    for plane in np.ndindex(*shape[:-2]):
        for first in range(0, shape[-2], rows) if len(shape) > 1 else [0]:
            index = (*plane, slice(first, first + rows)) if len(shape) > 1 else (slice(None),)
            with _tile_errors(path, unit.label):
                data = np.ascontiguousarray(hdu.section[index], dtype=dtype).tobytes()
            yield data
