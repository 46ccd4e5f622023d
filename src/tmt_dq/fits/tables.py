"""Small tables read from FITS."""

import functools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import DefinedBit, convention_rows
from tmt_dq.errors import RampFormatError
from tmt_dq.fits.cards import Header
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit, padded

__all__ = ["convention_unit", "read_columns", "read_dq_def", "table_unit"]

_HALF = 1 << 31
_MOST_FIELDS = 999
"""Most columns that a table can have (FITS 4.0, 7.2.1 and 7.3.1)."""

_PLAIN_FORM = re.compile(r"([1-9][0-9]*)?([BIJKEDA])")
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_UNSIGNED: dict[tuple[str, object], str] = {
    ("I", 1 << 15): "u2",
    ("J", 1 << 31): "u4",
    ("K", 1 << 63): "u8",
}
_HINT = "DQ_DEF is a binary table with the columns BIT, VALUE, NAME and DESCRIPTION."


def table_unit(
    name: str, data: npt.NDArray[np.void], unsigned: Sequence[str] = ()
) -> tuple[Header, bytes]:
    """Return a table extension, header and data, of an array of big-endian integers and texts.

    Columns in `unsigned` are stored as signed integers, 2^31 less. Made by hand: astropy's table
    unit imports astropy.table and more, which costs each process a fifth of a second.
    """
    header = Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = (8, "array data type")
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = (data.itemsize, "length of dimension 1")
    header["NAXIS2"] = (len(data), "length of dimension 2")
    header["PCOUNT"] = (0, "number of group parameters")
    header["GCOUNT"] = (1, "number of groups")
    columns = data.dtype.names or ()
    header["TFIELDS"] = (len(columns), "number of table fields")
    for number, column in enumerate(columns, start=1):
        kind = data.dtype[column]
        header[f"TTYPE{number}"] = column
        forms = {"i4": "J", "i8": "K"}
        header[f"TFORM{number}"] = (
            f"{kind.itemsize}A" if kind.kind == "S" else forms[f"{kind.kind}{kind.itemsize}"]
        )
        if column in unsigned:
            header[f"TZERO{number}"] = _HALF
    header["EXTNAME"] = (name, "extension name")
    return header, data.tobytes()


@functools.cache
def convention_unit() -> tuple[Header, bytes]:
    """Return the flag convention as a table extension DQ_DEF; made once, not to be modified."""
    rows = convention_rows()
    types = [("BIT", ">i4"), ("VALUE", ">i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    data = np.zeros(len(rows), types)
    for name, _ in types:
        data[name] = rows[name].astype(np.int64) - _HALF if name == "VALUE" else rows[name]
    return table_unit("DQ_DEF", data, unsigned=("VALUE",))


def read_dq_def(file: FitsInput, unit: Unit) -> list[DefinedBit]:
    """Return the rows of a DQ_DEF table."""
    columns = read_columns(file, unit, needed=("BIT", "VALUE", "NAME"), hint=_HINT)
    for name in ("BIT", "VALUE"):
        if columns[name].ndim != 1 or columns[name].dtype.kind not in "iuf":
            raise RampFormatError(
                f"DQ_DEF has a column {name} of type {columns[name].dtype} and shape "
                f"{columns[name].shape}; expected one number a row",
                where=file.path,
                hint=_HINT,
            )
    rows = zip(columns["BIT"], columns["VALUE"], columns["NAME"], strict=True)
    return [DefinedBit(bit.item(), value.item(), str(name)) for bit, value, name in rows]


def read_columns(
    file: FitsInput, unit: Unit, *, needed: Sequence[str], hint: str | None = None
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the columns of a (small) table."""
    if unit.is_image:
        raise RampFormatError(
            f"{unit.label} is an image; expected a table", where=file.path, hint=hint
        )
    try:
        count = unit.header.integer("TFIELDS")
    except (KeyError, ValueError):
        count = -1
    if not 0 <= count <= _MOST_FIELDS:
        raise RampFormatError(
            f"{unit.label} has TFIELDS {unit.header.get('TFIELDS')}; expected 0 to {_MOST_FIELDS}",
            where=file.path,
            hint=hint,
        )
    data = file.read(unit)
    try:
        columns = _plain_columns(unit.header, data)
        if columns is None:
            columns = _any_columns(unit.header, data)
    except Exception as error:
        # A damaged table ends in whatever astropy makes of it.
        raise RampFormatError(
            f"{unit.label} cannot be read: {error}", where=file.path, hint=hint
        ) from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise RampFormatError(
            f"{unit.label} has no column {', '.join(missing)}; found "
            f"{', '.join(columns) or 'none'}",
            where=file.path,
            hint=hint,
        )
    return columns


def _plain_columns(header: Header, data: bytes) -> dict[str, npt.NDArray[np.generic]] | None:
    """Return the columns of a table of numbers and texts, None if it holds anything else.

    astropy reads all tables, but to import what it needs takes longer than all the rest of what
    is done to an exposure.
    """
    count = header.integer("TFIELDS")
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    zeros: list[str | None] = []
    for number in range(1, count + 1):
        name = str(header.get(f"TTYPE{number}") or "").strip().upper()
        form = _PLAIN_FORM.fullmatch(str(header[f"TFORM{number}"]).strip())
        zero = header.get(f"TZERO{number}", 0)
        special = any(f"{key}{number}" in header for key in ("TSCAL", "TNULL", "TDIM"))
        if form is None or not name or special or any(name == field[0] for field in fields):
            return None
        repeat = int(form[1] or 1)
        if zero and (form[2], zero) not in _UNSIGNED:
            return None
        zeros.append(_UNSIGNED[form[2], zero] if zero else None)
        stored = f"S{repeat}" if form[2] == "A" else _NUMBERS[form[2]]
        fields.append((name, stored, () if repeat == 1 or form[2] == "A" else (repeat,)))
    rows, row_size = header.integer("NAXIS2"), header.integer("NAXIS1")
    table = np.dtype(fields)
    if header.integer("PCOUNT", 0) or table.itemsize != row_size or rows * row_size != len(data):
        return None
    found = np.frombuffer(data, table)
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for (name, stored, _), unsigned in zip(fields, zeros, strict=True):
        values = found[name]
        if stored.startswith("S"):
            columns[name] = _texts(values)
        elif unsigned is None:
            columns[name] = values.astype(values.dtype.newbyteorder("="))
        else:
            # Two's complement: the offset of half the range is the sign bit.
            native = values.astype(values.dtype.newbyteorder("=")).view(unsigned)
            columns[name] = native ^ np.array(1 << (8 * native.itemsize - 1), unsigned)
    return columns


def _any_columns(header: Header, data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    from astropy.io import fits

    whole = header.to_bytes() + data + bytes(padded(len(data)) - len(data))
    kind = str(header.get("XTENSION")).strip().upper()
    table = (fits.TableHDU if kind == "TABLE" else fits.BinTableHDU).fromstring(whole).data
    columns = {name.upper(): np.asarray(table[name]) for name in table.names}
    return {
        name: _texts(values) if values.dtype.kind in "SU" else values
        for name, values in columns.items()
    }


def _texts(stored: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return texts as they are stored; what is not ASCII, as escapes: it is nobody's flag."""
    texts = stored
    if texts.dtype.kind == "S":
        texts = np.char.decode(texts.astype(np.bytes_), "ascii", "backslashreplace")
    without_blanks: npt.NDArray[np.generic] = np.char.rstrip(texts.astype(np.str_))
    return without_blanks
