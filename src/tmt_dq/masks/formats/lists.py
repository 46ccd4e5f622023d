"""Lists of bad pixels, boxes, runs and shapes: columns in, flags of the detector out."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import Boxes, paint
from tmt_dq.core.dq_def import translate
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, UnknownFlagError
from tmt_dq.masks.formats.format import (
    Columns,
    Target,
    base_of,
    flag_of,
    numbers_of,
    refuse,
    whole_detector,
)
from tmt_dq.masks.formats.shapes import Shape, draw, outlines_of
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

Flags = npt.NDArray[np.uint32]

LIST_OPTIONS = frozenset({"flag", "values", "base", "at", "ignore_columns"})
"""Fields of `Reading` that mean something to all lists."""

_KINDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("pix1", "pix2", "length", "axis"): (),  # HST's tables: runs along x (1) or y (2), from 1
    ("x0", "y0", "width", "height"): (),  # boxes by their first pixel, as LSST's defects
    ("x", "y", "shape"): ("r", "rotang"),  # shapes by their centre: FITS region tables
    ("x", "y"): ("r",),  # pixels or ranges a:b, open ones up to the edge; with r circles
}
"""Columns that each kind of list needs, and those that it may have besides."""
_FLAGS = ("flag", "flags", "value", "dq")
_OTHER_NAMES = {
    "x": ("col", "column"),
    "y": ("row", "line"),
    "r": ("radius",),
    "detector": ("det", "chip", "ccdchip", "ccd", "sensor", "sca"),
}
_SIZES = {"point": 0, "circle": 1, "annulus": 2, "box": 2, "ellipse": 2}
"""How many of the numbers in the column R each shape of a FITS region table has."""
_ON_OUTLINE = 1e-6
"""So much farther than its outline a shape of a table reaches, in pixels, for rounding."""
_SHOWN = 5

POSITION_NAMES = frozenset(
    {"x", "y", *_OTHER_NAMES["x"], *_OTHER_NAMES["y"], "x0", "y0", "pix1", "pix2"}
)
"""Columns of positions: a line with one of these names is a line of column names."""


def is_list(names: Iterable[str]) -> bool:
    """Whether a table with these columns, in lower case, is a list of bad pixels."""
    return _kind_of(_usual_names(names).values()) is not None


def _kind_of(names: Iterable[str]) -> tuple[str, ...] | None:
    found = set(names)
    return next((kind for kind in _KINDS if found.issuperset(kind)), None)


def _usual_names(names: Iterable[str]) -> dict[str, str]:
    """Return the usual name of each column; a second column for the same keeps its own."""
    usual = {name: name for name in names}
    for name, others in _OTHER_NAMES.items():
        other = next((other for other in others if other in usual), None)
        if name not in usual and other is not None:
            usual[other] = name
    return usual


def list_mask(table: Columns, reading: Reading, target: Target) -> Mask:
    """Return the flags of a list, whose columns give its kind; columns not understood are errors.

    All may have a column with the flags, names or numbers, and one with the detector, whose other
    rows are left out.
    """
    table, kind = _understood(table, reading)
    table, remarks = _own_rows(table, target)
    base = 1 if "pix1" in kind else table.base
    base = base_of(reading, table.path, base, table.to_state_base)
    flags, left_out = _flags(table, reading)
    remarks += tuple(f"bit {bit} of {n:,} entries left out" for bit, n in left_out.items())
    if "shape" in kind or "r" in table.values:
        dq = _draw(table, reading, base, flags, target.shape)
    else:
        dq = paint(_boxes(table, kind, reading, base, target.shape), flags, target.shape)
    return whole_detector(table.path, dq, remarks=remarks)


def _understood(table: Columns, reading: Reading) -> tuple[Columns, tuple[str, ...]]:
    """Return the columns that are used, by their usual names, and the kind of list."""
    ignored = {name.strip().lower() for name in reading.ignore_columns or ()}
    usual = _usual_names(name for name in table.values if name not in ignored)
    kind = _kind_of(usual.values())
    used = {*(kind or ()), *_KINDS.get(kind or (), ()), *_FLAGS, "detector"}
    unknown = [name for name, meaning in usual.items() if meaning not in used]
    absent = sorted(ignored - set(table.values))
    if absent:
        raise ConfigError(
            f"has no column {', '.join(absent)}, which is to be ignored; found "
            f"{' '.join(table.values)}",
            where=table.path,
            options=("ignore_columns",),
        )
    if kind is None:
        raise MaskFormatError(
            f"has the columns {' '.join(usual)}; expected x y, x0 y0 width height, x y shape r, or "
            "PIX1 PIX2 LENGTH AXIS VALUE",
            where=table.path,
            hint="Rename the columns.",
        )
    if unknown:
        raise MaskFormatError(
            f"has columns that are not understood: {' '.join(unknown)}; understood are "
            f"{' '.join(name for name in usual if name not in unknown)}",
            where=table.path,
            hint="Boxes are x0 y0 width height (first pixel and size), circles x y radius. Name "
            "columns that have nothing to do with the flags as ignored.",
            options=("ignore_columns",),
        )
    return replace(table, values={usual[name]: table.values[name] for name in usual}), kind


def _own_rows(table: Columns, target: Target) -> tuple[Columns, tuple[str, ...]]:
    """Return the table without the rows of other detectors."""
    if "detector" not in table.values:
        return table, ()
    names = [str(cell).strip().upper() for cell in table.cells("detector")]
    own = np.array([name in target.names for name in names], bool)
    unknown = set(names) - target.names - target.others
    if unknown or (own.size and not own.any()):
        raise MaskFormatError(
            f"has rows of detector {', '.join(sorted(unknown or set(names))[:_SHOWN])}; expected "
            f"{', '.join(sorted(target.names)) or 'no such column: the detector is not known'}",
            where=table.path,
            hint="Name the detector that the list is for, write names of detectors into the "
            "column, or ignore it.",
            options=("ignore_columns",),
        )
    left = int(own.size - np.count_nonzero(own))
    return table.only(own), (f"{left:,} rows of other detectors left out",) if left else ()


def _boxes(
    table: Columns, kind: tuple[str, ...], reading: Reading, base: int, shape: tuple[int, int]
) -> Boxes:
    """Return the pixels, boxes or runs of a list, all on the detector."""
    if kind == ("x", "y"):
        (x, nx), (y, ny) = (
            table.ranges(name, base, size - 1 + base, is_open=reading.at is None)
            for name, size in (("x", shape[1]), ("y", shape[0]))
        )
    else:
        x, y, nx, ny = (table.whole_numbers(name) for name in kind)
    if "axis" in kind:
        length, axis = nx, ny
        table.check("axis", (axis == 1) | (axis == 2), "1 (along x) or 2 (along y)")
        nx, ny = np.where(axis == 1, length, 1), np.where(axis == 2, length, 1)
    shift_x, shift_y = reading.shift
    boxes = Boxes(y - base + shift_y, x - base + shift_x, ny, nx)
    misplaced = boxes.misplaced(shape)
    if misplaced.size:
        number = int(misplaced[0])
        position = f"x = {x[number] + shift_x}, y = {y[number] + shift_y}"
        raise GeometryError(
            f"{misplaced.size:,} of {len(boxes):,} entries are empty or not on the detector, the "
            f"first is {table.where(number)}: {position}, {nx[number]} × {ny[number]} pixels; "
            f"expected x from {base} to {shape[1] - 1 + base} and y from {base} to "
            f"{shape[0] - 1 + base}",
            where=table.path,
            hint="Check the base (0 or 1), and whether x and y are exchanged.",
        )
    return boxes


def _draw(
    table: Columns, reading: Reading, base: int, flags: Flags, shape: tuple[int, int]
) -> Flags:
    """Return the flags of shapes by their centre; as CFITSIO has it, with their outline."""
    count = len(table.rows)
    x, y = (numbers_of(table.cells(name)) for name in ("x", "y"))
    angles = numbers_of(table.cells("rotang")) if "rotang" in table.values else np.zeros(count)
    names = table.cells("shape") if "shape" in table.values else ["circle"] * count
    radii = table.values.get("r", np.zeros((count, 0)))
    radii = radii.reshape(count, math.prod(radii.shape[1:]))
    shapes = []
    for number, text in enumerate(names):
        word = str(text).strip().lower()
        name = word.removeprefix("!").replace("rotbox", "box")
        title = f"{table.where(number)} ({word})"
        sizes = numbers_of(radii[number, : _SIZES.get(name, 0)].tolist()).tolist()
        if name in {"box", "ellipse"}:
            sizes.append(angles[number])
        try:
            outlines = outlines_of(name, [x[number], y[number], *sizes], border=_ON_OUTLINE)
        except ValueError:
            raise MaskFormatError(
                f"{title} cannot be understood: its numbers are {sizes}; expected one of "
                f"{', '.join(_SIZES)}",
                where=table.path,
            ) from None
        include = not word.startswith("!")
        shapes.append(Shape(title, *outlines, int(flags[number]), include))
    shift_x, shift_y = reading.shift
    return draw(table.path, shapes, (shift_x - base, shift_y - base), shape)


def _flags(table: Columns, reading: Reading) -> tuple[Flags, dict[int, int]]:
    """Return the flags of each row, from its own column or from the user, and bits left out."""
    columns = [name for name in _FLAGS if name in table.values]
    if columns and not table.rows:
        return np.zeros(0, np.uint32), {}
    if not columns:
        refuse(reading, table.path, "the list has no column of values", "values")
        value = flag_of(reading, table.path, f"the list of {len(table.rows)} entries")
        return np.full(len(table.rows), value), {}
    name, *others = columns
    has_numbers = np.isfinite(numbers_of(table.cells(name))).all()
    read = _numbered if has_numbers else _named
    flags, left_out = read(table, name, reading)
    for other in others:
        # Our own tables have names and values of the same flags.
        if not np.array_equal(table.whole_numbers(other), flags):
            raise MaskFormatError(
                f"has the columns {name} and {other}, which are not the same flags",
                where=table.path,
                hint="Name the one that does not count as ignored.",
                options=("ignore_columns",),
            )
    return flags, left_out


def _named(table: Columns, name: str, reading: Reading) -> tuple[Flags, dict[int, int]]:
    """Return the flags of rows with names; the error lists all names that are unknown."""
    refuse(reading, table.path, f"the column {name} has names of flags", "values")
    cells = [str(cell).strip() for cell in table.cells(name)]
    known: dict[str, int] = {}
    unknown: list[str] = []
    hint = "Each entry has one or more flags; good pixels need not be listed."
    for number, text in enumerate(cells):
        if text in known:
            continue
        try:
            known[text] = PIXEL.encode(text)
        except UnknownFlagError as error:
            known[text], hint = 0, error.hint or hint
        if not known[text]:
            unknown.append(f"{table.where(number)}: {text!r}")
    if unknown:
        more = "" if len(unknown) <= _SHOWN else f" and {len(unknown) - _SHOWN} more"
        raise UnknownFlagError(
            f"has names that are no flags of PIXELDQ: {'; '.join(unknown[:_SHOWN])}{more}",
            where=table.path,
            hint=hint,
        )
    for text, value in known.items():
        flag_of(reading, table.path, f"the column {name}, with {text},", value)
    return np.array([known[text] for text in cells], np.uint32), {}


def _numbered(table: Columns, name: str, reading: Reading) -> tuple[Flags, dict[int, int]]:
    """Return the flags of rows with numbers, whose meaning the user gives."""
    numbers = table.whole_numbers(name)
    table.check(name, (numbers >= 0) & (numbers <= 0xFFFF_FFFF), "a number from 0 to 2^32 - 1")
    if reading.flag is not None:
        return np.where(numbers != 0, reading.flag_value, np.uint32(0)), {}
    if reading.meanings is None:
        found = ", ".join(str(number) for number in np.unique(numbers)[:10])
        raise ConfigError(
            f"has the numbers {found} in the column {name}, and does not state their meaning",
            where=table.path,
            hint="Give one flag for all, or the meaning of each bit, for example 16 for HOT.",
            options=("flag", "values"),
        )
    flags, unknown = numbers.astype(np.uint32), reading.unknown
    return translate(flags, reading.meanings, where=table.path, unknown=unknown)
