"""Lists of bad pixels and boxes, understood: columns of text in, flags of the detector out."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import Boxes, paint
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, UnknownFlagError
from tmt_dq.masks.reading import Reading
from tmt_dq.masks.text_tables import X_NAMES, Y_NAMES, Columns

__all__ = ["is_list", "list_flags"]

Numbers = npt.NDArray[np.int64]

_BOX = ("x0", "y0", "width", "height")
_BPIXTAB = ("pix1", "pix2", "length", "axis", "value")
_FLAGS = ("flag", "flags", "value", "dq")
_SHOWN = 5


def is_list(names: set[str]) -> bool:
    """Whether a table with these columns is a list of pixels or boxes."""
    return (
        names.issuperset(_BOX)
        or names.issuperset(_BPIXTAB)
        or (not names.isdisjoint(X_NAMES) and not names.isdisjoint(Y_NAMES))
    )


def list_flags(table: Columns, reading: Reading, shape: tuple[int, int]) -> npt.NDArray[np.uint32]:
    """Return the flags of a list.

    Three kinds of lists are told apart by their columns:

    - x, y and optionally flag: pixels, where x and y may be ranges ``a:b``, both ends included, an
      end left out meaning the detector's edge;
    - x0, y0, width, height and optionally flag: boxes, as LSST writes its defects;
    - PIX1, PIX2, LENGTH, AXIS, VALUE: HST's bad pixel tables, runs of LENGTH pixels along x
      (AXIS 1) or y (AXIS 2) that start at the 1-based pixel (PIX1, PIX2).

    Parameters
    ----------
    table : Columns
        The list.
    reading : Reading
        What the user says about it.
    shape : tuple of int
        Rows and columns of the detector.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        Flags of the detector's pixels.

    Raises
    ------
    ConfigError
        Raised if the base or the flags are in neither the file nor `reading`, or in both and
        different.
    MaskFormatError
        Raised if there are no such columns, or a position is not a whole number.
    UnknownFlagError
        Raised if a flag is not in the convention.
    GeometryError
        Raised if a position is not on the detector.
    """
    reading.refuse(table.path, "this is a list, not an image", "bad", "good")
    names = set(table.texts)
    if names.issuperset(_BPIXTAB):
        base = _base(table, reading, fixed=1)
        y, x, ny, nx = _runs(table)
    elif names.issuperset(_BOX):
        base = _base(table, reading)
        x, y, nx, ny = (_whole(table, name) for name in _BOX)
    elif is_list(names):
        base = _base(table, reading)
        x, nx = _spans(table, _column(names, X_NAMES), reading, base, shape[1])
        y, ny = _spans(table, _column(names, Y_NAMES), reading, base, shape[0])
    else:
        raise MaskFormatError(
            f"has the columns {' '.join(table.texts)}; expected x y, x0 y0 width height, or PIX1 "
            "PIX2 LENGTH AXIS VALUE",
            where=table.path,
            hint="Rename the columns, or say what they are if the file does not (--columns x,y).",
        )
    shift_x, shift_y = reading.shift
    flags = _flags(table, reading)
    boxes = Boxes(y - base + shift_y, x - base + shift_x, ny, nx)
    _check_inside(table, boxes, base, shape)
    return paint(boxes, flags, shape)


def _column(names: set[str], wanted: tuple[str, ...]) -> str:
    return next(name for name in wanted if name in names)


def _base(table: Columns, reading: Reading, *, fixed: int | None = None) -> int:
    """Return the number of the first pixel; ask, where nobody says it."""
    stated = table.base if fixed is None else fixed
    if reading.base is None and stated is None:
        raise ConfigError(
            "does not say whether its first pixel is 0 or 1",
            where=table.path,
            hint="Say base=0 or base=1 (--base 0, --base 1), or add a line '# base: 0' to it.",
        )
    if reading.base is not None and stated is not None and reading.base != stated:
        raise ConfigError(
            f"counts from {stated}, but base is {reading.base}",
            where=table.path,
            hint="Leave base out.",
        )
    return stated if stated is not None else int(reading.base or 0)


def _whole(table: Columns, name: str) -> Numbers:
    """Return a column as whole numbers."""
    texts = table.texts[name]
    try:
        if "_" not in "".join(texts):  # which Python takes for a separator of thousands
            return np.fromiter(map(int, texts), np.int64, len(texts))
    except (ValueError, OverflowError):
        pass
    numbers = np.zeros(len(texts), np.int64)
    for index, text in enumerate(texts):
        number = _number(text)
        if number is None:
            raise MaskFormatError(
                f"{table.where(index)}: {name} is {text!r}; expected a whole number",
                where=table.path,
                hint="Ranges a:b are for the columns x and y only." if ":" in text else None,
            )
        numbers[index] = number
    return numbers


def _number(text: str) -> int | None:
    """Return a whole number, also one written as 12.0; None if it is not one."""
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 1 << 53 else None


def _spans(
    table: Columns, name: str, reading: Reading, base: int, size: int
) -> tuple[Numbers, Numbers]:
    """Return first positions and lengths of a column of positions and ranges."""
    texts = table.texts[name]
    ranges = [index for index, text in enumerate(texts) if ":" in text]
    if not ranges:
        first = _whole(table, name)
        return first, np.ones_like(first)
    plain = [text if ":" not in text else str(base) for text in texts]
    first = _whole(Columns(table.path, {name: plain}, table.rows, table.row_name), name)
    length = np.ones_like(first)
    for index in ranges:
        start, _, end = (part.strip() for part in texts[index].partition(":"))
        if not (start and end) and reading.at is not None:
            raise ConfigError(
                f"{table.where(index)}: {name} is {texts[index]!r}, a range without an end, in a "
                "list that is placed with at: where does it end?",
                where=table.path,
                hint="Write both ends.",
            )
        low = base if not start else _number(start)
        high = size - 1 + base if not end else _number(end)
        if low is None or high is None or high < low:
            raise MaskFormatError(
                f"{table.where(index)}: {name} is {texts[index]!r}; expected a range a:b with "
                "whole numbers a ≤ b, both ends included",
                where=table.path,
                hint="An end may be left out: 10: reaches to the detector's edge.",
            )
        first[index], length[index] = low, high - low + 1
    return first, length


def _runs(table: Columns) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return the boxes of HST's table: y, x, rows, columns."""
    x, y, length, axis = (_whole(table, name) for name in _BPIXTAB[:4])
    wrong = np.flatnonzero((axis != 1) & (axis != 2))
    if wrong.size:
        raise MaskFormatError(
            f"{table.where(int(wrong[0]))}: AXIS is {axis[wrong[0]]}; expected 1 (along x) or 2 "
            "(along y)",
            where=table.path,
        )
    return y, x, np.where(axis == 2, length, 1), np.where(axis == 1, length, 1)


def _flags(table: Columns, reading: Reading) -> npt.NDArray[np.uint32]:
    """Return the flags of each row, from its own column or from the user."""
    name = next((name for name in _FLAGS if name in table.texts), None)
    if name is None:
        if reading.flag is None:
            raise ConfigError(
                f"does not say which flag its {len(table.rows)} entries get",
                where=table.path,
                hint="Say flag='HOT' or another name of the convention (--flag HOT).",
            )
        reading.refuse(table.path, "the list has no column of values", "values")
        return np.full(len(table.rows), reading.flag_value)
    texts = table.texts[name]
    if not texts:
        return np.zeros(0, np.uint32)
    if all(_number(text) is not None for text in set(texts)):
        return _numbered(table, name, reading)
    reading.refuse(table.path, f"the column {name} has names of flags", "values")
    known = _named(table, texts)
    flags = np.array([known[text] for text in texts], np.uint32)
    if reading.flag is not None and bool((flags != reading.flag_value).any()):
        raise ConfigError(
            f"has flags of its own in the column {name}, but flag is {reading.flag}",
            where=table.path,
            hint="Leave flag out, or take the column out of the file.",
        )
    return flags


def _named(table: Columns, texts: list[str]) -> dict[str, int]:
    """Return the value of each name; all names that are unknown are told at once."""
    known: dict[str, int] = {}
    unknown: list[str] = []
    hint = None
    for text in dict.fromkeys(texts):
        try:
            known[text] = PIXEL.encode(text)
        except UnknownFlagError as error:
            unknown.append(f"{table.where(texts.index(text))}: {text!r}")
            hint = hint or error.hint
            continue
        if not known[text]:
            unknown.append(f"{table.where(texts.index(text))}: {text!r} is no flag")
    if unknown:
        more = "" if len(unknown) <= _SHOWN else f" and {len(unknown) - _SHOWN} more"
        raise UnknownFlagError(
            f"has names that are not flags of PIXELDQ: {'; '.join(unknown[:_SHOWN])}{more}",
            where=table.path,
            hint=hint or "Each entry has one or more flags; good pixels need not be listed.",
        )
    return known


def _numbered(table: Columns, name: str, reading: Reading) -> npt.NDArray[np.uint32]:
    """Return the flags of rows with numbers: what they mean has to be said."""
    numbers = _whole(table, name)
    wrong = np.flatnonzero((numbers < 0) | (numbers > 0xFFFF_FFFF))
    if wrong.size:
        raise MaskFormatError(
            f"{table.where(int(wrong[0]))}: {name} is {numbers[wrong[0]]}; expected a number from "
            "0 to 2^32 - 1",
            where=table.path,
        )
    if reading.flag is not None:
        return np.where(numbers != 0, reading.flag_value, np.uint32(0))
    if reading.values is None:
        found = ", ".join(str(number) for number in np.unique(numbers)[:10])
        raise ConfigError(
            f"has the numbers {found} in the column {name}, and does not say what they mean",
            where=table.path,
            hint="Say flag='HOT' for all, values={16: 'HOT', …} for each bit, or "
            "values='convention' (--flag HOT, --values 16=HOT,…, --values convention).",
        )
    return reading.translated(numbers.astype(np.uint32), table.path)


def _check_inside(table: Columns, boxes: Boxes, base: int, shape: tuple[int, int]) -> None:
    misplaced = boxes.misplaced(shape)
    if not misplaced.size:
        return
    number = int(misplaced[0])
    raise GeometryError(
        f"{misplaced.size} of {len(boxes)} entries are empty or not on the detector, the first is "
        f"{table.where(number)}: x = {boxes.x[number] + base}, y = {boxes.y[number] + base}, "
        f"{boxes.nx[number]} × {boxes.ny[number]} pixels; expected x from {base} to "
        f"{shape[1] - 1 + base} and y from {base} to {shape[0] - 1 + base}",
        where=Path(table.path),
        hint="Check the base (0 or 1), and whether x and y are what they seem.",
    )
