"""DQ_DEF tables: what each bit of one file means, checked and turned into a translation."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.values import whole_number
from tmt_dq.errors import MaskFormatError, UnknownFlagError

_COLUMNS = (("BIT", "i4"), ("VALUE", "u4"), ("NAME", "U40"), ("DESCRIPTION", "U80"))
"""Columns of a DQ_DEF table and their types, as in JWST's reference files."""

Unknown = Literal["error", "drop"]
"""What to do about a name or bit without a meaning: refuse it (the default) or leave it out."""


class DefinedBit(NamedTuple):
    """One row of a DQ_DEF table, BIT and VALUE as the numbers that the file has."""

    bit: float
    value: float
    name: str


def convention_rows() -> npt.NDArray[np.void]:
    """Return the convention's DQ_DEF table, one row a flag, as a structured array."""
    return np.array(
        [(flag.bit, flag.value, flag.name, flag.description) for flag in PIXEL.flags],
        dtype=list(_COLUMNS),
    )


def translation(
    rows: Iterable[DefinedBit], *, where: object = "DQ_DEF", unknown: Unknown = "error"
) -> dict[int, int]:
    """Check a DQ_DEF table; return the value of each bit in the file and in the convention.

    The latter is 0 for names that the caller wants left out (`unknown` is "drop"); else a name that
    the convention does not have is an UnknownFlagError. All contradictory rows are one
    MaskFormatError. `where` is named in errors.
    """
    problems: list[str] = []
    unknown_names: list[str] = []
    pairs: dict[int, int] = {}
    first: dict[tuple[str, int], int] = {}
    for number, row in enumerate(rows, start=1):
        name = row.name.strip()
        if name.upper() == "GOOD" and row.value == 0:
            # No flag at all: STScI's generators of masks write this row into every table.
            continue
        meaning = PIXEL.get(name, 0)
        value, problem = _checked(row, meaning, first)
        if problem:
            problems.append(f"row {number} ({name}): {problem}")
        elif not meaning:
            unknown_names.append(f"row {number}: {name!r} (value {value})")
        pairs[value] = meaning
        for key in (("VALUE", value), ("name", meaning)):
            first.setdefault(key, number)
    if problems:
        raise MaskFormatError(
            "the DQ_DEF table is contradictory: " + "; ".join(problems),
            where=where,
            hint="Correct the table: one row a bit, with a name of its own.",
        )
    if unknown_names and unknown == "error":
        raise UnknownFlagError(
            "DQ_DEF has names that are not in the flag convention: " + "; ".join(unknown_names),
            where=where,
            hint="Correct the names, or use unknown='drop' (--unknown drop) to leave these bits "
            "out.",
        )
    return pairs


def _checked(
    row: DefinedBit, meaning: int, first: Mapping[tuple[str, int], int]
) -> tuple[int, str]:
    """Return a row's VALUE as an integer, and what is wrong with the row, "" if nothing is."""
    value = whole_number(row.value) or 0
    if value == -(1 << 31):  # bit 31 in a column of signed numbers
        value = 1 << 31
    if not 0 < value < 1 << 32 or value & (value - 1):
        return 0, f"VALUE {row.value!r} is not one bit of 32 (1, 2, 4, …, 2^31)"
    if row.bit != value.bit_length() - 1:
        return value, f"BIT {row.bit} and VALUE {value} disagree; expected VALUE = 2^BIT"
    for key in (("VALUE", value), ("name", meaning)):
        if key[1] and key in first:
            return value, f"row {first[key]} has the same {key[0]}"
    return value, ""


def translate(
    dq: npt.NDArray[np.uint32],
    meaning: Mapping[int, int],
    *,
    where: object = "DQ",
    unknown: Unknown = "error",
) -> tuple[npt.NDArray[np.uint32], dict[int, int]]:
    """Return flag values of the convention, and the pixels per bit that were left out on request.

    `dq` holds the values as stored, of any shape; it is returned itself where nothing changes.
    Bits without a meaning are an UnknownFlagError unless `unknown` is "drop".
    """
    undeclared = _count_bits(dq, ~sum(meaning))
    if undeclared and unknown == "error":
        listing = ", ".join(
            f"bit {bit} (value {1 << bit}) in {n:,} pixels" for bit, n in undeclared.items()
        )
        raise UnknownFlagError(
            f"has bits without a meaning: {listing}",
            where=where,
            hint="Give each bit a meaning, in DQ_DEF or by values, or use unknown='drop' "
            "(--unknown drop) to leave bits out.",
        )
    dropped = sum(source for source, target in meaning.items() if not target)
    left_out = _count_bits(dq, dropped) | undeclared
    if not undeclared and all(source == target for source, target in meaning.items()):
        return dq, {}
    # Only flagged pixels can change: working on those alone is ten times faster than a pass over
    # the frame per declared bit.
    flagged = dq != 0
    values = dq[flagged]
    result = np.zeros_like(values)
    for source, target in meaning.items():
        result |= ((values & np.uint32(source)) != 0) * np.uint32(target)
    translated = np.zeros_like(dq)
    translated[flagged] = result
    return translated, dict(sorted(left_out.items()))


def _count_bits(dq: npt.NDArray[np.uint32], wanted: int) -> dict[int, int]:
    """Count the pixels of each bit of `wanted` that occurs, by number."""
    present = int(np.bitwise_or.reduce(dq, axis=None, initial=0)) & wanted if wanted else 0
    return {
        bit: int(np.count_nonzero(dq & np.uint32(1 << bit)))
        for bit in range(present.bit_length())
        if present >> bit & 1
    }
