"""Tables of bad pixels as columns: text, CSV, ECSV and FITS tables, before they are understood."""

import csv
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit, padded

__all__ = ["X_NAMES", "Y_NAMES", "Columns", "fits_columns", "text_columns"]

X_NAMES = ("x", "col", "column")
"""What the column of x is called in lists of pixels."""

Y_NAMES = ("y", "row", "line")
"""What the column of y is called in lists of pixels."""

_POSITIONS = {*X_NAMES, *Y_NAMES, "x0", "y0", "pix1", "pix2"}
"""A line with one of these is a line of column names."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A table: texts by column, lower-case names.

    Parameters
    ----------
    path : Path
        The file.
    texts : dict of str to list of str
        What the file says, column by column.
    rows : sequence of int
        Number of each row in the file: of its line in a text, counted from 1.
    row_name : str
        What a row is called: "line" or "row".
    base : int or None
        Number of the first pixel, where the file says so itself.
    """

    path: Path
    texts: dict[str, list[str]]
    rows: Sequence[int]
    row_name: str
    base: int | None = None

    def where(self, number: int) -> str:
        """Name a row, for messages."""
        return f"{self.row_name} {self.rows[number]}"


def text_columns(path: Path, text: str, names: tuple[str, ...] | None) -> Columns:
    """Read a text or CSV list, or ECSV.

    A ``#`` starts a comment; a comment ``# base: 0`` or ``# base: 1`` says where counting starts.
    The first line that is not a comment holds the column names, unless `names` does.

    Parameters
    ----------
    path : Path
        The file, named in errors.
    text : str
        Its content.
    names : tuple of str, optional
        Column names of a file without them.

    Returns
    -------
    Columns
        The table.

    Raises
    ------
    MaskFormatError
        Raised if a line has another number of columns than there are names.
    ConfigError
        Raised if the file does not name its columns, or names them and `names` is given.
    """
    if text.startswith("# %ECSV"):
        return _ecsv(path, text, names)
    base = None
    numbers: list[int] = []
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content, _, comment = line.partition("#")
        if content.strip():
            numbers.append(number)
            lines.append(content.strip())
        elif comment.lower().replace(" ", "") in {"base:0", "base:1"}:
            base = int(comment.strip()[-1])
    if not lines:
        raise MaskFormatError(
            "has no pixels; expected a line of column names and lines of numbers", where=path
        )
    rows = _rows(path, lines, numbers)
    first = [cell.strip().lower() for cell in next(rows)]
    named = not _POSITIONS.isdisjoint(first)
    if names is None:
        if not named:
            raise ConfigError(
                f"does not name its columns: the first line is {lines[0]!r}",
                where=path,
                hint="Say which they are: columns=('x', 'y', 'flag') (--columns x,y,flag).",
            )
        names, numbers = tuple(first), numbers[1:]
    elif named:
        raise ConfigError(
            f"names its columns itself: {' '.join(first)}", where=path, hint="Leave columns out."
        )
    else:
        rows = _rows(path, lines, numbers)
    return Columns(path, _transposed(path, rows, names, numbers), numbers, "line", base)


def _rows(path: Path, lines: Sequence[str], numbers: Sequence[int]) -> Iterator[list[str]]:
    """Yield the cells of each line."""
    if "," not in lines[0]:
        yield from (line.split() for line in lines)
        return
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    try:
        for count, row in enumerate(reader, start=1):
            if reader.line_num != count:
                break
            yield row
        else:
            return
    except csv.Error:
        pass
    number = numbers[min(reader.line_num, len(numbers)) - 1]
    raise MaskFormatError(
        f"line {number} or one before has a quotation mark too many or too few", where=path
    )


def _transposed(
    path: Path, rows: Iterable[list[str]], names: Iterable[str], numbers: Sequence[int]
) -> dict[str, list[str]]:
    wanted = [name.strip().lower() for name in names]
    _check_names(path, wanted)
    width = len(wanted)
    # One list of all cells: a list for each of a million lines is what takes the time.
    cells: list[str] = []
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != width:
            raise MaskFormatError(
                f"line {number} has {len(row)} columns; expected {width}: {' '.join(wanted)}",
                where=path,
                hint="Each line has one value for each column; ranges are written 10:20, without "
                "spaces.",
            )
        cells += row
    return {
        name: [cell.strip() for cell in cells[first::width]] for first, name in enumerate(wanted)
    }


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise MaskFormatError(
            f"has columns of the same name: {' '.join(names)}", where=path, hint="Rename them."
        )


def _ecsv(path: Path, text: str, names: tuple[str, ...] | None) -> Columns:
    from astropy.table import Table

    if names is not None:
        raise ConfigError("is ECSV and names its columns itself", where=path, hint="Leave it out.")
    try:
        table = Table.read(text.splitlines(), format="ascii.ecsv")
    except Exception as error:  # YAML, the header and the columns fail in ways of their own
        raise MaskFormatError(f"is no ECSV table: {error}", where=path) from error
    wanted = [name.lower() for name in table.colnames]
    _check_names(path, wanted)
    if any(np.any(getattr(table[name], "mask", False)) for name in table.colnames[:]):
        raise MaskFormatError("has cells without a value; expected all of them filled", where=path)
    base = {str(key).lower(): value for key, value in table.meta.items()}.get("base")
    return Columns(
        path,
        {name: _texts(table[column]) for name, column in zip(wanted, table.colnames, strict=True)},
        range(1, len(table) + 1),
        "row",
        base if base in (0, 1) and not isinstance(base, bool) else None,
    )


def fits_columns(file: FitsInput, unit: Unit) -> Columns:
    """Read a FITS table.

    Parameters
    ----------
    file : FitsInput
        The open file.
    unit : Unit
        Its table.

    Returns
    -------
    Columns
        The table.

    Raises
    ------
    MaskFormatError
        Raised if the table is damaged.
    """
    data = file.read(unit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            content = unit.header.to_bytes() + data + bytes(padded(len(data)) - len(data))
            table = fits.BinTableHDU.fromstring(content).data
            texts = {name.lower(): _texts(table[name]) for name in table.names}
    except Exception as error:  # astropy fails in many ways on damaged tables, or only warns
        raise MaskFormatError(
            f"{unit.label} is no table that can be read: {error}", where=file.path
        ) from error
    _check_names(file.path, [name.lower() for name in table.names])
    return Columns(file.path, texts, range(1, len(table) + 1), f"{unit.label} row")


def _texts(column: object) -> list[str]:
    values = np.asarray(column)
    if values.ndim > 1 and values.size == len(values):
        values = values.reshape(-1)
    return [str(value).strip() for value in values.tolist()]
