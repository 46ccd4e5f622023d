"""Small tables read from FITS."""

import functools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import DefinedBit, convention_rows
from tmt_dq.errors import RampFormatError
from tmt_dq.fits.cards import Header
from tmt_dq.fits.encoding import as_unsigned
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.headers import table_header
from tmt_dq.fits.layout import Unit, padded

_HALF = 1 << 31
_MOST_FIELDS = 999
"""Most columns that a table can have (FITS 4.0, 7.2.1 and 7.3.1)."""

_PLAIN_FORM = re.compile(r"([1-9][0-9]*)?([BIJKEDA])")
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_FORMS = {"i4": "J", "i8": "K"}
_HINT = "DQ_DEF is a binary table with the columns BIT, VALUE, NAME and DESCRIPTION."

Columns = dict[str, npt.NDArray[np.generic]]


def table_unit(
    name: str, data: npt.NDArray[np.void], unsigned: Sequence[str] = ()
) -> tuple[Header, bytes]:
    """Return a table extension, header and data, of an array of big-endian integers and texts.

    Columns in `unsigned` are stored as signed integers, 2^31 less. Made by hand: astropy's table
    unit imports astropy.table and more, which costs each process a fifth of a second.
    """
    columns = []
    for column in data.dtype.names or ():
        kind = data.dtype[column]
        form = f"{kind.itemsize}A" if kind.kind == "S" else _FORMS[kind.str[1:]]
        columns.append((column, form, _HALF if column in unsigned else None))
    return table_header(name, data.itemsize, len(data), columns), data.tobytes()


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
        column = columns[name]
        if column.ndim != 1 or column.dtype.kind not in "iuf":
            raise RampFormatError(
                f"DQ_DEF has a column {name} of type {column.dtype} and shape {column.shape}; "
                "expected one number a row",
                where=file.path,
                hint=_HINT,
            )
    rows = zip(columns["BIT"].tolist(), columns["VALUE"].tolist(), columns["NAME"], strict=True)
    return [DefinedBit(bit, value, str(name)) for bit, value, name in rows]


def read_columns(
    file: FitsInput, unit: Unit, *, needed: Sequence[str], hint: str | None = None
) -> Columns:
    """Return the columns of a (small) table."""
    if unit.is_image:
        what = f"{unit.label} is an image; expected a table"
        raise RampFormatError(what, where=file.path, hint=hint)
    fields = unit.header.get("TFIELDS")
    if not isinstance(fields, int) or not 0 <= fields <= _MOST_FIELDS:
        what = f"{unit.label} has TFIELDS {fields}; expected 0 to {_MOST_FIELDS}"
        raise RampFormatError(what, where=file.path, hint=hint)
    data = file.read(unit)
    try:
        columns = _plain_columns(unit.header, data)
        if columns is None:
            columns = _any_columns(unit.header, data)
    except Exception as error:
        # A damaged table ends in whatever astropy makes of it.
        what = f"{unit.label} cannot be read: {error}"
        raise RampFormatError(what, where=file.path, hint=hint) from error
    missing = ", ".join(name for name in needed if name not in columns)
    if missing:
        what = f"{unit.label} has no column {missing}; found {', '.join(columns) or 'none'}"
        raise RampFormatError(what, where=file.path, hint=hint)
    return columns


def _plain_columns(header: Header, data: bytes) -> Columns | None:
    """Return the columns of a table of numbers and texts, None if it holds anything else.

    astropy reads all tables, but to import what it needs takes longer than all the rest of what
    is done to an exposure.
    """
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for number in range(1, header.integer("TFIELDS") + 1):
        name = str(header.get(f"TTYPE{number}") or "").strip().upper()
        form = _PLAIN_FORM.fullmatch(str(header[f"TFORM{number}"]).strip())
        special = any(f"{key}{number}" in header for key in ("TSCAL", "TNULL", "TDIM"))
        if form is None or not name or special or any(name == field[0] for field in fields):
            return None
        repeat = int(form[1] or 1)
        text = form[2] == "A"
        stored = f"S{repeat}" if text else _NUMBERS[form[2]]
        fields.append((name, stored, () if repeat == 1 or text else (repeat,)))
    rows, row_size = header.integer("NAXIS2"), header.integer("NAXIS1")
    table = np.dtype(fields)
    if header.integer("PCOUNT", 0) or table.itemsize != row_size or rows * row_size != len(data):
        return None
    columns: Columns = {}
    for number, name in enumerate(table.names or (), start=1):
        column = np.frombuffer(data, table)[name]
        values = column.astype(column.dtype.newbyteorder("="))
        zero = header.get(f"TZERO{number}", 0)
        found = as_unsigned(values, zero) if zero else values
        if found is None:
            return None
        columns[name] = _texts(found) if found.dtype.kind == "S" else found
    return columns


def _any_columns(header: Header, data: bytes) -> Columns:
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
