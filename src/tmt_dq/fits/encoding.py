"""Flags as FITS stores them: uint32 as big-endian int32 with BZERO = 2^31."""

import errno
import math
import os

import numpy as np
import numpy.typing as npt

from tmt_dq.core.values import as_flags
from tmt_dq.errors import RampFormatError
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Header
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit

__all__ = [
    "count_flagged",
    "decode_uint32",
    "encode_uint32",
    "has_flags",
    "image_header",
    "is_uint32",
    "read_plane",
    "read_rows",
    "scaling",
    "sum_flags",
]

_PIECE_BYTES = 4 * 1024 * 1024
_SIGN = 1 << 31
_UNSIGNED: dict[tuple[int, float], str] = {
    (16, 1 << 15): "u2",
    (32, 1 << 31): "u4",
    (64, 1 << 63): "u8",
}
_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def is_uint32(unit: Unit) -> bool:
    """Whether an image is stored in the usual form of uint32."""
    header = unit.header
    return (
        unit.bitpix == 32
        and header.get("BZERO") == _SIGN
        and header.get("BSCALE", 1) == 1
        and "BLANK" not in header
    )


def decode_uint32(raw: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Turn stored bytes, seen as native uint32, into flags, in place; return the same array."""
    if np.little_endian:
        raw.byteswap(inplace=True)
    raw ^= np.uint32(_SIGN)
    return raw


def encode_uint32(flags: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Turn flags into the bytes to store, seen as native uint32, in place; return the same."""
    flags ^= np.uint32(_SIGN)
    if np.little_endian:
        flags.byteswap(inplace=True)
    return flags


def sum_flags(flags: npt.NDArray[np.uint32]) -> int:
    """Return the DATASUM of flags as they are stored, without storing them."""
    sign = np.uint32(_SIGN)
    rows = (int(np.add.reduce(row ^ sign, dtype=np.uint64)) for row in flags)
    return checksums.add(*rows) if flags.size else 0


def read_rows(file: FitsInput, unit: Unit, first: int, count: int) -> npt.NDArray[np.uint32]:
    """Return rows of a 2-D image as flags."""
    _, nx = unit.shape
    stored = np.dtype(_STORED[unit.bitpix])
    raw = np.empty((count, nx), stored)
    file.read_into(unit, raw.data.cast("B"), first * nx * stored.itemsize)
    if is_uint32(unit):
        return decode_uint32(raw.view(np.uint32))
    if "BLANK" in unit.header and bool((raw == unit.header["BLANK"]).any()):
        raise RampFormatError(
            f"{unit.label} has undefined pixels (BLANK); flags are defined everywhere",
            where=file.path,
        )
    values = _physical(raw, unit, file.path)
    try:
        return as_flags(values, where=unit.label)
    except ValueError as error:
        raise RampFormatError(
            f"{error}", where=file.path, hint="Flags are sums of powers of two, in whole numbers."
        ) from error


def read_plane(file: FitsInput, unit: Unit, number: int) -> npt.NDArray[np.generic]:
    """Return one plane of an image of two or more dimensions as its physical values.

    Planes are counted through all but the last two axes. Integers stay integers; numbers with a
    scale are float64, and so are integers of which some are undefined (BLANK), as NaN.
    """
    ny, nx = unit.shape[-2:]
    stored = np.dtype(_STORED[unit.bitpix])
    raw = np.empty((ny, nx), stored)
    file.read_into(unit, raw.data.cast("B"), number * raw.nbytes)
    values = _physical(raw, unit, file.path)
    blank = unit.header.get("BLANK")
    if isinstance(blank, int) and raw.dtype.kind in "iu":
        undefined = raw == blank
        if undefined.any():
            values = values.astype(np.float64)
            values[undefined] = np.nan
    return values


def count_flagged(file: FitsInput, unit: Unit | None) -> int:
    """Return how many pixels of PIXELDQ or DQ have a flag; 0 where there is no extension."""
    if unit is None:
        return 0
    ny, nx = unit.shape
    step = max(1, _PIECE_BYTES // (4 * nx))
    pieces = ((first, min(step, ny - first)) for first in range(0, ny, step))
    return sum(int(np.count_nonzero(read_rows(file, unit, *piece))) for piece in pieces)


def has_flags(file: FitsInput, unit: Unit | None) -> bool:
    """Tell whether GROUPDQ has any flag; holes of the file are not read."""
    if unit is None:
        return False
    place, end = unit.data_offset, unit.data_offset + math.prod(unit.shape)
    while place < end:
        place = _next_data(file.fd, place)
        piece = os.pread(file.fd, min(_PIECE_BYTES, end - place), place) if place < end else b""
        if not piece:
            return False
        if np.frombuffer(piece, np.uint8).any():
            return True
        place += len(piece)
    return False


def _next_data(fd: int, place: int) -> int:
    """Return where the next bytes that are not in a hole begin."""
    if not hasattr(os, "SEEK_DATA"):
        return place
    try:
        return os.lseek(fd, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return os.fstat(fd).st_size  # nothing but a hole until the end
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            return place  # this file system does not know
        raise


def scaling(unit: Unit, where: object) -> tuple[float, float]:
    """Return BZERO and BSCALE of an image."""
    found = []
    for keyword, usual in (("BZERO", 0), ("BSCALE", 1)):
        number = unit.header.get(keyword, usual)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise RampFormatError(
                f"{keyword} of {unit.label} is {number!r}; expected a number",
                where=where,
                hint=f"Correct {keyword}.",
            )
        found.append(number)
    return found[0], found[1]


def _physical(raw: npt.NDArray[np.generic], unit: Unit, where: object) -> npt.NDArray[np.generic]:
    """Return stored values as physical ones, of native byte order; integers stay integers."""
    native: npt.NDArray[np.generic] = raw.astype(raw.dtype.newbyteorder("="))
    zero, scale = scaling(unit, where)
    if (zero, scale) == (0, 1):
        return native
    unsigned = _UNSIGNED.get((unit.bitpix, zero)) if scale == 1 else None
    if unsigned is not None:
        # Two's complement: the offset of half the range is the sign bit.
        bits = native.view(unsigned)
        bits ^= np.array(1 << (abs(unit.bitpix) - 1), unsigned)
        return bits
    physical: npt.NDArray[np.float64] = native.astype(np.float64) * scale + zero
    return physical


def image_header(
    name: str, bitpix: int, shape: tuple[int, ...], *, like: Header | None = None
) -> Header:
    """Return the header of an image extension that holds flags."""
    header = Header()
    header["XTENSION"] = ("IMAGE", "Image extension")
    header["BITPIX"] = (bitpix, "array data type")
    header["NAXIS"] = (len(shape), "number of array dimensions")
    for axis, length in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = length
    header["PCOUNT"] = (0, "number of parameters")
    header["GCOUNT"] = (1, "number of groups")
    if bitpix == 32:
        header["BSCALE"] = 1
        header["BZERO"] = _SIGN
    header["EXTNAME"] = (name, "extension name")
    if like is not None:
        own = {*header, "CHECKSUM", "DATASUM", "BLANK"}
        for card in like.cards:
            if card.keyword not in own:
                header.append(card)
    return header
