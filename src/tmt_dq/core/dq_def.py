"""DQ_DEF tables: what each bit of one file means, checked and turned into a translation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL, FlagTable, Translation
from tmt_dq.errors import MaskFormatError, UnknownFlagError

__all__ = ["COLUMNS", "DefinedBit", "Unknown", "convention_rows", "translate", "translation"]

COLUMNS = (("BIT", "i4"), ("VALUE", "u4"), ("NAME", "U40"), ("DESCRIPTION", "U80"))
"""Columns of a DQ_DEF table and their types, as in JWST's reference files."""

Unknown = Literal["error", "drop"]
"""What to do about a name or bit without a meaning: refuse it (the default) or leave it out."""


@dataclass(frozen=True, slots=True)
class DefinedBit:
    """One row of a DQ_DEF table, with the types that the file has.

    Parameters
    ----------
    bit, value : int or float
        Columns BIT and VALUE.
    name, description : str
        Columns NAME and DESCRIPTION.
    """

    bit: float
    value: float
    name: str
    description: str = ""


def convention_rows(table: FlagTable = PIXEL) -> npt.NDArray[np.void]:
    """Return the DQ_DEF table of a convention, one row a flag, as a structured array."""
    return np.array(
        [(flag.bit, flag.value, flag.name, flag.description) for flag in table.flags],
        dtype=list(COLUMNS),
    )


def translation(
    rows: Iterable[DefinedBit],
    *,
    where: object = "DQ_DEF",
    unknown: Unknown = "error",
    table: FlagTable = PIXEL,
) -> Translation:
    """Check a DQ_DEF table and return what it says.

    Parameters
    ----------
    rows : iterable of DefinedBit
        The table.
    where : object
        Named in errors: the file.
    unknown : {"error", "drop"}
        What to do about names that the convention does not have.
    table : FlagTable
        The convention.

    Returns
    -------
    Translation
        File bits to convention bits.

    Raises
    ------
    MaskFormatError
        Raised if a VALUE is not one bit of a uint32, BIT and VALUE disagree, or a bit or a name
        occurs twice; all such rows are listed.
    UnknownFlagError
        Raised if a name is not in the convention and `unknown` is "error".
    """
    problems: list[str] = []
    unknown_names: list[str] = []
    pairs: list[tuple[int, int]] = []
    dropped: list[tuple[int, str]] = []
    seen_values: dict[int, int] = {}
    seen_names: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        name = row.name.strip()
        value = _single_bit(row.value)
        if value is None:
            problems.append(
                f"row {number} ({name}): VALUE {row.value} is not one bit of 32 (1, 2, 4, …, 2^31)"
            )
            continue
        if row.bit != value.bit_length() - 1:
            problems.append(
                f"row {number} ({name}): BIT {row.bit} and VALUE {value} disagree; "
                f"bit {value.bit_length() - 1} has the value {value}"
            )
        if value in seen_values:
            problems.append(
                f"row {number} ({name}): VALUE {value} is defined in row {seen_values[value]} too"
            )
        seen_values.setdefault(value, number)
        if name not in table or name.upper() == "GOOD":
            unknown_names.append(f"row {number}: {name!r} (value {value})")
            dropped.append((value, name))
            continue
        target = table[name]
        canonical = table.decode(target)[0]
        if canonical in seen_names:
            problems.append(f"row {number}: {name} is defined in row {seen_names[canonical]} too")
        seen_names.setdefault(canonical, number)
        pairs.append((value, target))
    if problems:
        raise MaskFormatError(
            "the DQ_DEF table is contradictory: " + "; ".join(problems),
            where=where,
            hint="Correct the table: one row a bit, with VALUE = 2^BIT and a name of its own.",
        )
    if unknown_names and unknown == "error":
        raise UnknownFlagError(
            "DQ_DEF has names that are not in the flag convention: " + "; ".join(unknown_names),
            where=where,
            hint=(
                "Correct the names, or say unknown='drop' (--unknown drop) to leave these bits out."
            ),
        )
    return Translation(tuple(pairs), tuple(dropped))


def translate(
    dq: npt.NDArray[np.uint32],
    meaning: Translation,
    *,
    where: object = "DQ",
    unknown: Unknown = "error",
) -> tuple[npt.NDArray[np.uint32], dict[int, int]]:
    """Translate flag values into the convention.

    Parameters
    ----------
    dq : ndarray of uint32
        Values as stored, any shape; not modified.
    meaning : Translation
        From `translation`.
    where : object
        Named in errors: the file.
    unknown : {"error", "drop"}
        What to do about bits that DQ_DEF does not define.

    Returns
    -------
    ndarray of uint32
        Values of the convention; `dq` itself where nothing changes.
    dict of int to int
        What was left out on request: bit number to number of pixels.

    Raises
    ------
    UnknownFlagError
        Raised if `dq` has bits that DQ_DEF does not define and `unknown` is "error".
    """
    undeclared = meaning.undeclared(dq)
    if undeclared and unknown == "error":
        listing = ", ".join(
            f"bit {bit} (value {1 << bit}) in {n} pixels" for bit, n in undeclared.items()
        )
        raise UnknownFlagError(
            f"DQ has bits that its DQ_DEF table does not define: {listing}",
            where=where,
            hint=("Add them to DQ_DEF, or say unknown='drop' (--unknown drop) to leave them out."),
        )
    left_out = dict(undeclared)
    for value, _ in meaning.dropped:
        count = int(np.count_nonzero(dq & np.uint32(value)))
        if count:
            left_out[value.bit_length() - 1] = count
    everything = Translation(
        meaning.pairs, meaning.dropped + tuple((1 << bit, "") for bit in undeclared)
    )
    return everything.apply(dq), dict(sorted(left_out.items()))


def _single_bit(value: float) -> int | None:
    """Return a table's VALUE as an integer if it is exactly one bit of a uint32."""
    if not float(value).is_integer():  # NaN and infinity included
        return None
    number = int(value)
    return number if 0 < number < 1 << 32 and number & (number - 1) == 0 else None
