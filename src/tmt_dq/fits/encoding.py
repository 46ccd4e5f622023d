"""Samples as FITS stores them: flags, uint32, as big-endian int32 with BZERO = 2^31."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tmt_dq.core.values import as_flags
from tmt_dq.errors import RampFormatError
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import STORED, Unit

Samples = npt.NDArray[np.generic]
Unsigned = TypeVar("Unsigned", np.uint16, np.uint32)

_PIECE_BYTES = 4 * 1024 * 1024


def encode_unsigned(flags: npt.NDArray[Unsigned]) -> npt.NDArray[Unsigned]:
    """Turn flags into the bytes to store, seen as native integers, in place; return the same."""
    flags ^= flags.dtype.type(1 << (8 * flags.itemsize - 1))
    if np.little_endian:
        flags.byteswap(inplace=True)
    return flags


def as_unsigned(stored: Samples, zero: object) -> Samples | None:
    """Return native integers with an offset of half their range as unsigned ones, in place.

    None with another offset. In two's complement this one is the sign bit.
    """
    half = 1 << (8 * stored.dtype.itemsize - 1)
    if stored.dtype.kind != "i" or zero != half:
        return None
    bits = stored.view(f"u{stored.dtype.itemsize}")
    bits ^= bits.dtype.type(half)
    return bits


def read_rows(file: FitsInput, unit: Unit, first: int, count: int) -> npt.NDArray[np.uint32]:
    """Return rows of a 2-D image as flags."""
    nx = unit.shape[-1]
    raw = _read(file, unit, (count, nx), first * nx)
    if "BLANK" in unit.header and bool((raw == unit.header["BLANK"]).any()):
        what = f"{unit.label} has undefined pixels (BLANK); flags are defined everywhere"
        raise RampFormatError(what, where=file.path)
    values = _physical(raw, unit, file.path)
    try:
        return as_flags(values, where=unit.label)
    except ValueError as error:
        hint = "Flags are sums of powers of two, in whole numbers."
        raise RampFormatError(f"{error}", where=file.path, hint=hint) from error


def read_flags(file: FitsInput, unit: Unit, first: int, shape: Sequence[int]) -> Any:
    """Return flags that are stored as unsigned integers, from the number `first` on, as such."""
    return as_unsigned(_read(file, unit, shape, first), unit.header["BZERO"])


def read_plane(file: FitsInput, unit: Unit, number: int) -> Samples:
    """Return one plane of an image of two or more dimensions as its physical values.

    Planes are counted through all but the last two axes; values are those of `read_samples`.
    """
    ny = unit.shape[-2]
    return read_samples(file, unit, number * ny, ny)


def read_samples(file: FitsInput, unit: Unit, first: int, count: int) -> Samples:
    """Return rows of an image, counted through all its planes, as physical values.

    Integers stay integers; numbers with a scale are float64, and so are integers of which some are
    undefined (BLANK), as NaN.
    """
    nx = unit.shape[-1]
    raw = _read(file, unit, (count, nx), first * nx)
    blank = unit.header.get("BLANK")
    integers = isinstance(blank, int) and raw.dtype.kind in "iu"
    undefined = raw == blank if integers else np.False_
    values = _physical(raw, unit, file.path)
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
    """Tell whether GROUPDQ has any flag."""
    if unit is None:
        return False
    size = math.prod(unit.shape)
    buffer = bytearray(min(_PIECE_BYTES, size))
    for start in range(0, size, _PIECE_BYTES):
        piece = memoryview(buffer)[: size - start]
        file.read_into(unit, piece, start)
        if np.frombuffer(piece, np.uint8).any():
            return True
    return False


def scaling(unit: Unit, where: object) -> tuple[float, float]:
    """Return BZERO and BSCALE of an image."""
    found = []
    for keyword, usual in (("BZERO", 0), ("BSCALE", 1)):
        number = unit.header.get(keyword, usual)
        if isinstance(number, bool) or not isinstance(number, int | float):
            what = f"{keyword} of {unit.label} is {number!r}; expected a number"
            raise RampFormatError(what, where=where, hint=f"Correct {keyword}.")
        found.append(number)
    return found[0], found[1]


def _read(file: FitsInput, unit: Unit, shape: Sequence[int], first: int) -> Samples:
    """Return stored samples from the number `first` on, in native byte order."""
    stored = np.dtype(STORED[unit.bitpix])
    raw = np.empty(shape, stored)
    file.read_into(unit, raw.data.cast("B"), first * stored.itemsize)
    return raw if stored.isnative else raw.byteswap(inplace=True).view(stored.newbyteorder("="))


def _physical(raw: Samples, unit: Unit, where: object) -> Samples:
    """Return stored samples as physical values; integers stay integers."""
    zero, scale = scaling(unit, where)
    if (zero, scale) == (0, 1):
        return raw
    unsigned = as_unsigned(raw, zero) if scale == 1 else None
    return raw.astype(np.float64) * scale + zero if unsigned is None else unsigned
