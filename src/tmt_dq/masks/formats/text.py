"""Lists of pixels and boxes as text: columns between blanks or commas, CSV, ECSV."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.masks.formats.format import Columns, Format, Target, read_text
from tmt_dq.masks.formats.lists import LIST_OPTIONS, POSITION_NAMES, list_mask
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

_BASE = re.compile(r"#\s*(?:meta:\s*)?(?:-\s*)?\{?\s*base\s*:\s*([01])\s*\}?", re.IGNORECASE)
"""A comment that states where counting starts; with braces, as ECSV writes it."""


def _read(path: Path, reading: Reading, target: Target) -> Mask:
    """Read a text or CSV list; comments may state the base, and the first line the columns."""
    text = read_text(path)
    base = next((int(found[1]) for found in map(_BASE.fullmatch, text.splitlines()) if found), None)
    numbers, rows = _rows(path, text)
    names = _names(path, rows[0], reading.columns)
    if reading.columns is None:
        numbers, rows = numbers[1:], rows[1:]
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(names):
            raise MaskFormatError(
                f"line {number} has {len(row)} columns; expected {len(names)}: {' '.join(names)}",
                where=path,
                hint="Each line has one value for each column; ranges are written 10:20, without "
                "spaces.",
            )
    cells = np.array(rows, object).reshape(len(rows), len(names))
    values = dict(zip(names, cells.T, strict=True))
    table = Columns(path, values, numbers, "line", base, "a line '# base: 0' or '# base: 1'")
    return list_mask(table, reading, target)


def _rows(path: Path, text: str) -> tuple[list[int], list[list[str]]]:
    """Return numbers and cells of the lines that are not comments."""
    lines = {}
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content.count('"') % 2:
            raise MaskFormatError(
                f"line {number} has a quotation mark too many or too few", where=path
            )
        if content:
            lines[number] = content
    if not lines:
        raise MaskFormatError(
            "has no pixels; expected a line of column names and lines of numbers", where=path
        )
    between = "," if "," in next(iter(lines.values())) else " "
    contents = (line.replace("\t", " ") for line in lines.values())
    try:
        rows = list(csv.reader(contents, delimiter=between, skipinitialspace=True))
    except csv.Error as error:
        raise MaskFormatError(f"is no table that can be read: {error}", where=path) from error
    return list(lines), [[cell.strip() for cell in row] for row in rows]


def _names(path: Path, first: list[str], given: Sequence[str] | None) -> list[str]:
    """Return the names of the columns, from the file or the user."""
    names = [name.strip().lower() for name in given or first]
    has_names = not POSITION_NAMES.isdisjoint(cell.lower() for cell in first)
    if has_names == (given is not None):
        finding = "names its columns itself" if has_names else "does not name its columns"
        raise ConfigError(
            f"{finding}: the first line is {' '.join(first)!r}",
            where=path,
            hint="Name them in their order where the file does not, for example x,y,flag.",
            options=("columns",),
        )
    if len(set(names)) != len(names):
        raise MaskFormatError(
            f"has columns of the same name: {' '.join(names)}", where=path, hint="Rename them."
        )
    return names


TEXT = Format(
    name="a list as text, CSV or ECSV",
    recognizes=lambda _path, head: b"\0" not in head,
    read=_read,
    options=LIST_OPTIONS | {"columns"},
)
