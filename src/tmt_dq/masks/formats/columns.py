"""Columns of a list as its file holds them, and the whole numbers and ranges in them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.masks.reading import Reading

__all__ = ["Columns", "spans", "whole_number", "whole_numbers"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """A table as a file holds it, column by column."""

    path: Path
    values: dict[str, npt.NDArray[Any]]
    rows: Sequence[int]
    row_name: str
    base: int | None = None

    def where(self, number: int) -> str:
        """Name a row, for messages."""
        return f"{self.row_name} {self.rows[number]}"

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Columns":
        """Return the table with some of its rows."""
        values = {name: column[chosen] for name, column in self.values.items()}
        return replace(self, values=values, rows=np.asarray(self.rows)[chosen].tolist())

    def first_of(self, names: Sequence[str]) -> str | None:
        """Return the first of some names that is a column."""
        return next((name for name in names if name in self.values), None)


def whole_numbers(table: Columns, name: str) -> Numbers:
    """Return a column as whole numbers."""
    column = table.values[name]
    if column.ndim > 1 and column.size == len(column):
        column = column.reshape(-1)
    if column.ndim != 1:
        raise MaskFormatError(
            f"has {column.shape[1:]} values a row in the column {name}; expected one",
            where=table.path,
        )
    if column.dtype.kind in "iu" and (column.dtype != np.uint64 or not (column >> 63).any()):
        return column.astype(np.int64)
    numbers = np.zeros(len(column), np.int64)
    for index, value in enumerate(column.tolist()):
        number = whole_number(value)
        if number is None:
            raise MaskFormatError(
                f"{table.where(index)}: {name} is {value!r}; expected a whole number",
                where=table.path,
                hint="Ranges a:b are for the columns x and y only." if ":" in str(value) else None,
            )
        numbers[index] = number
    return numbers


def whole_number(value: object) -> int | None:
    """Return a whole number, also one written as 12.0; None if it is not one."""
    text = str(value).strip()
    try:
        # Python takes an underscore for a separator of thousands.
        number = math.nan if "_" in text or isinstance(value, bool) else float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 1 << 53 else None


def spans(
    table: Columns, name: str, reading: Reading, base: int, size: int
) -> tuple[Numbers, Numbers]:
    """Return first positions and lengths of a column of positions and ranges."""
    column = table.values[name]
    ranges = []
    if column.dtype.kind not in "iuf":
        ranges = [index for index, text in enumerate(column.tolist()) if ":" in str(text)]
    plain = column.astype(object) if ranges else column
    plain[ranges] = str(base)
    first = whole_numbers(replace(table, values={name: plain}), name)
    length = np.ones_like(first)
    for index in ranges:
        start, _, end = (part.strip() for part in str(column[index]).partition(":"))
        if not (start and end) and reading.at is not None:
            raise ConfigError(
                f"{table.where(index)}: {name} is {str(column[index])!r}, a range without an end, "
                "in a list that is placed on the detector: where does it end?",
                where=table.path,
                hint="Write both ends.",
            )
        low = base if not start else whole_number(start)
        high = size - 1 + base if not end else whole_number(end)
        if low is None or high is None or high < low:
            raise MaskFormatError(
                f"{table.where(index)}: {name} is {str(column[index])!r}; expected a range a:b "
                "with whole numbers a ≤ b, both ends included",
                where=table.path,
                hint="An end may be left out: 10: reaches to the detector's edge.",
            )
        first[index], length[index] = low, high - low + 1
    return first, length
