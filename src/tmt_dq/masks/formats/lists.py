"""Lists of bad pixels, boxes, runs and shapes: columns in, flags of the detector out."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import Boxes, paint
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, UnknownFlagError
from tmt_dq.masks.formats.columns import Columns, spans, whole_number, whole_numbers
from tmt_dq.masks.formats.format import Target, whole_detector
from tmt_dq.masks.formats.regions import table_shapes
from tmt_dq.masks.formats.shapes import draw
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["LIST_OPTIONS", "POSITION_NAMES", "is_list", "list_mask"]

Flags = npt.NDArray[np.uint32]

LIST_OPTIONS = frozenset({"flag", "values", "base", "at", "ignore_columns"})
"""Fields of `Reading` that mean something to all lists."""

_X = ("x", "col", "column")
_Y = ("y", "row", "line")
_BOX = ("x0", "y0", "width", "height")
_RUN = ("pix1", "pix2", "length", "axis")
_RADIUS = ("r", "radius")
_SHAPE = ("shape", "r", "rotang", "component")
_FLAGS = ("flag", "flags", "value", "dq")
_DETECTOR = ("detector", "det", "chip", "ccdchip", "ccd", "sensor", "sca")
_SHOWN = 5

POSITION_NAMES = frozenset({*_X, *_Y, *_BOX[:2], *_RUN[:2]})
"""Columns of positions: a line with one of these names is a line of column names."""


def is_list(names: set[str]) -> bool:
    """Whether a table with these columns, in lower case, is a list of bad pixels."""
    return (
        names.issuperset(_BOX)
        or names.issuperset({*_RUN, "value"})
        or (not names.isdisjoint(_X) and not names.isdisjoint(_Y))
    )


def list_mask(table: Columns, reading: Reading, target: Target) -> Mask:
    """Return the flags of a list, whose columns give its kind.

    - x, y: pixels; each may be a range ``a:b``, both ends included, an end left out meaning the
      detector's edge;
    - x0, y0, width, height: boxes by their first pixel, as LSST's defects are written;
    - x, y, shape, r, rotang: shapes by their centre, as FITS region tables; x, y, radius: circles;
    - PIX1, PIX2, LENGTH, AXIS, VALUE: HST's bad pixel tables, runs of LENGTH pixels along x
      (AXIS 1) or y (AXIS 2) that start at the 1-based pixel (PIX1, PIX2).

    Each may have a column with the flags (names or numbers) and one with the detector, whose other
    rows are left out. A column that is not understood is an error.
    """
    names = set(table.values)
    if not is_list(names):
        raise MaskFormatError(
            f"has the columns {' '.join(table.values)}; expected x y, x0 y0 width height, x y "
            "shape r, or PIX1 PIX2 LENGTH AXIS VALUE",
            where=table.path,
            hint="Rename the columns; name them if the file does not.",
            options=("columns",),
        )
    used = _used(table)
    _check_all_understood(table, used, reading)
    table, remarks = _own_rows(table, reading, target)
    base = _base(table, reading)
    flags = _flags(table, reading)
    if {"shape", *_RADIUS} & used:
        dq = _draw(table, reading, base, flags, target.shape)
    else:
        dq = _paint(table, reading, base, flags, target.shape)
    return whole_detector(table.path, dq, remarks=remarks)


def _used(table: Columns) -> set[str]:
    """Return the columns that are understood."""
    names = set(table.values)
    x, y = table.first_of(_X), table.first_of(_Y)
    if names.issuperset({*_RUN, "value"}):
        used: set[str | None] = {*_RUN}
    elif names.issuperset(_BOX):
        used = {*_BOX}
    elif "shape" in names:
        used = {x, y, *_SHAPE}
    else:
        used = {x, y, table.first_of(_RADIUS)}
    used |= {*_FLAGS, table.first_of(_DETECTOR)}
    return {name for name in used if name in names}


def _check_all_understood(table: Columns, used: set[str], reading: Reading) -> None:
    ignored = {name.strip().lower() for name in reading.ignore_columns or ()}
    absent = sorted(ignored - set(table.values))
    needed = sorted(ignored & used - set(_DETECTOR) - set(_FLAGS))
    if absent or needed:
        what = f"has no column {', '.join(absent)}" if absent else f"needs {', '.join(needed)}"
        raise ConfigError(
            f"{what}, which is to be ignored; found {' '.join(table.values)}",
            where=table.path,
            options=("ignore_columns",),
        )
    unknown = [name for name in table.values if name not in used | ignored]
    if unknown:
        raise MaskFormatError(
            f"has columns that are not understood: {' '.join(unknown)}; understood are "
            f"{' '.join(name for name in table.values if name in used)}",
            where=table.path,
            hint="Boxes are x0 y0 width height (first pixel and size), circles x y radius. Name "
            "columns that have nothing to do with the flags as ignored.",
            options=("ignore_columns",),
        )


def _own_rows(table: Columns, reading: Reading, target: Target) -> tuple[Columns, tuple[str, ...]]:
    """Return the table without the columns to ignore and the rows of other detectors."""
    ignored = {name.strip().lower() for name in reading.ignore_columns or ()}
    values = {name: column for name, column in table.values.items() if name not in ignored}
    table = replace(table, values=values)
    column = table.first_of(_DETECTOR)
    if column is None:
        return table, ()
    names = np.array([str(value).strip().upper() for value in values[column]], dtype=object)
    known = target.names | target.others
    unknown = sorted({name for name in names if name not in known})
    if unknown:
        raise MaskFormatError(
            f"has rows of {column} {', '.join(unknown[:_SHOWN])}; expected "
            f"{', '.join(sorted(known)) or 'no such column: the detector is not known'}",
            where=table.path,
            hint=f"Write the names of detectors into {column}, or ignore the column.",
            options=("ignore_columns",),
        )
    own = np.array([name in target.names for name in names], bool)
    if not own.any() and own.size:
        raise MaskFormatError(
            f"has {own.size} rows, all of other detectors: {', '.join(sorted(set(names)))}",
            where=table.path,
            hint="Name the detector that the list is for.",
        )
    left = int(own.size - np.count_nonzero(own))
    return table.only(own), (f"{left} rows of other detectors left out",) if left else ()


def _paint(
    table: Columns, reading: Reading, base: int, flags: Flags, shape: tuple[int, int]
) -> Flags:
    """Return the flags of pixels, boxes and runs."""
    if "pix1" in table.values:
        x, y, length, axis = (whole_numbers(table, name) for name in _RUN)
        wrong = np.flatnonzero((axis != 1) & (axis != 2))
        if wrong.size:
            raise MaskFormatError(
                f"{table.where(int(wrong[0]))}: AXIS is {axis[wrong[0]]}; expected 1 (along x) or "
                "2 (along y)",
                where=table.path,
            )
        ny, nx = np.where(axis == 2, length, 1), np.where(axis == 1, length, 1)
    elif "x0" in table.values:
        x, y, nx, ny = (whole_numbers(table, name) for name in _BOX)
    else:
        x, nx = spans(table, table.first_of(_X) or "", reading, base, shape[1])
        y, ny = spans(table, table.first_of(_Y) or "", reading, base, shape[0])
    shift_x, shift_y = reading.shift
    boxes = Boxes(y - base + shift_y, x - base + shift_x, ny, nx)
    _check_inside(table, boxes, base, shape)
    return paint(boxes, flags, shape)


def _draw(
    table: Columns, reading: Reading, base: int, flags: Flags, shape: tuple[int, int]
) -> Flags:
    """Return the flags of shapes by their centre."""
    columns = {"SHAPE": table.values.get("shape", np.full(len(table.rows), "circle"))}
    for name, found in (("X", _X), ("Y", _Y), ("R", _RADIUS), ("ROTANG", ("rotang",))):
        given = table.first_of(found)
        if given is not None:
            columns[name] = table.values[given]
    for name in "XY":
        if columns[name].dtype.kind in "iuf":
            columns[name] = columns[name] - float(base)
    shapes = table_shapes(table.path, columns, flags, table.where)
    return draw(table.path, shapes, reading.shift, shape, closed=True)


def _base(table: Columns, reading: Reading) -> int:
    """Return the number of the first pixel, from the file or the user."""
    stated = 1 if "pix1" in table.values else table.base
    if reading.base is None and stated is None:
        raise ConfigError(
            "does not state whether its first pixel is 0 or 1",
            where=table.path,
            hint="Give the base, or add a line '# base: 0' or '# base: 1' to the file.",
            options=("base",),
        )
    if reading.base is not None and stated is not None and reading.base != stated:
        raise ConfigError(
            f"counts from {stated}, but base is {reading.base}",
            where=table.path,
            hint="Leave the base out.",
            options=("base",),
        )
    return stated if stated is not None else int(reading.base or 0)


def _flags(table: Columns, reading: Reading) -> Flags:
    """Return the flags of each row, from its own column or from the user."""
    name = table.first_of(_FLAGS)
    if name is None:
        if reading.flag is None:
            raise ConfigError(
                f"does not state which flag its {len(table.rows)} entries get",
                where=table.path,
                hint="Give a flag, for example HOT.",
                options=("flag",),
            )
        reading.refuse(table.path, "the list has no column of values", "values")
        return np.full(len(table.rows), reading.flag_value)
    column = table.values[name]
    if not len(column):
        return np.zeros(0, np.uint32)
    if column.dtype.kind in "iuf" or all(whole_number(text) is not None for text in set(column)):
        flags = _numbered(table, name, reading)
    else:
        flags = _by_name(table, name, reading)
    for other in (each for each in _FLAGS if each in table.values and each != name):
        # Our own tables have names and values of the same flags.
        if not np.array_equal(whole_numbers(table, other), flags):
            raise MaskFormatError(
                f"has the columns {name} and {other}, which are not the same flags",
                where=table.path,
                hint="Name the one that does not count as ignored.",
                options=("ignore_columns",),
            )
    return flags


def _by_name(table: Columns, name: str, reading: Reading) -> Flags:
    """Return the flags of rows with names."""
    reading.refuse(table.path, f"the column {name} has names of flags", "values")
    texts = [str(text).strip() for text in table.values[name].tolist()]
    known = _named(table, texts)
    flags = np.array([known[text] for text in texts], np.uint32)
    if reading.flag is not None and bool((flags != reading.flag_value).any()):
        raise ConfigError(
            f"has flags of its own in the column {name}, but flag is {reading.flag}",
            where=table.path,
            hint="Leave the flag out, or take the column out of the file.",
            options=("flag",),
        )
    return flags


def _named(table: Columns, texts: list[str]) -> dict[str, int]:
    """Return the value of each name; the error lists all names that are unknown."""
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


def _numbered(table: Columns, name: str, reading: Reading) -> Flags:
    """Return the flags of rows with numbers, whose meaning the user gives."""
    numbers = whole_numbers(table, name)
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
            f"has the numbers {found} in the column {name}, and does not state their meaning",
            where=table.path,
            hint="Give one flag for all, or the meaning of each bit, for example 16 for HOT.",
            options=("flag", "values"),
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
        where=table.path,
        hint="Check the base (0 or 1), and whether x and y are exchanged.",
    )
