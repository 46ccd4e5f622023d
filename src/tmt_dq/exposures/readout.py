"""How an exposure was read out: its subarrays, guide windows and read numbers, from its file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GuideWindow, Recipe
from tmt_dq.core.sources.source import Readout
from tmt_dq.core.sources.subarrays import subarray_windows
from tmt_dq.core.values import whole_number
from tmt_dq.errors import GeometryError, RampFormatError, TmtDqError
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit
from tmt_dq.fits.tables import read_columns

Content = TypeVar("Content")

_MAP = "SUBARR_MAP"
_WINDOW, _GROUPS = ("X", "Y", "NX", "NY"), ("GROUP1", "GROUP2")
"""Columns of a table of guide windows; the second ones where windows move."""


def read_readout(exposure: RampFile, recipe: Recipe) -> Readout:
    """Return the facts of the readout that the sources of a recipe need."""
    windows, origin = _guide_windows(exposure) if recipe.guide_windows_from_file else ((), "")
    return Readout(
        subarr_map=_subarr_map(exposure),
        guide_windows=windows,
        guide_origin=origin,
        read_numbers=_read_numbers(exposure) if recipe.missing_reads else None,
        incomplete=exposure.header.get("COMPLETE") is False,
    )


def _subarr_map(exposure: RampFile) -> npt.NDArray[np.uint32] | None:
    """Return SUBARR_MAP if it describes subarrays read with this frame."""
    units = exposure.file.named(_MAP)
    if not units:
        return None
    where = f"{exposure.file.path}[{_MAP}]"
    unit = units[0]
    if len(units) > 1 or not unit.is_image or len(unit.shape) != 2:
        raise GeometryError("expected one 2-D image", where=where)
    subarr_map = read_rows(exposure.file, unit, 0, unit.shape[0])
    number = exposure.header.get("SUBARRID", 0)
    return frame_map(subarr_map, number, exposure.ramp.window, where=where)


def frame_map(
    subarr_map: npt.NDArray[np.uint32], number: object, window: Window, *, where: object
) -> npt.NDArray[np.uint32] | None:
    """Return a map of subarrays if the exposure, by its number, is the frame around them.

    GeometryError if it is neither that nor one of the subarrays of the map.
    """
    try:
        windows = subarray_windows(subarr_map)
    except TmtDqError as error:
        raise GeometryError(error.what, where=where, hint=error.hint) from error
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise GeometryError(
            f"SUBARRID is {number!r}; expected the number of a subarray, or 0 for the frame",
            where=where,
            hint="Correct SUBARRID.",
        )
    if number > 0 and windows.get(number) != window:
        found = ", ".join(f"{key} at {place.describe()}" for key, place in windows.items())
        raise GeometryError(
            f"has no subarray {number} at {window.describe()}, where the keywords put it; "
            f"found {found}",
            where=where,
            hint="Correct SUBARRID, or SUBSTRT1 and SUBSTRT2.",
        )
    if number == 0 and subarr_map.shape != window.shape:
        raise GeometryError(
            f"has the shape {subarr_map.shape}, the data {window.shape}", where=where
        )
    return None if number > 0 else subarr_map


def _guide_windows(exposure: RampFile) -> tuple[tuple[GuideWindow, ...], str]:
    """Return the guide windows that a file names, and where it names them."""
    file, config = exposure.file, exposure.ramp.instrument.guide_windows
    if config is None:
        raise _no_windows(file, "no description of where guide windows are named")
    tables = file.named(config.extension)
    if tables:
        found = {f"{unit.label} (HDU {unit.index})": _from_table(file, unit) for unit in tables}
        return _only(found, "guide windows", file.path), f"table {tables[0].name}"
    windows, header = [], exposure.header
    for number in range(1, config.count + 1):
        keys = [pattern.format(n=number) for pattern in config.keywords]
        missing = [key for key in keys if key not in header]
        if missing and len(missing) < len(keys):
            raise RampFormatError(
                f"guide window {number} has no {', '.join(missing)}", where=file.path
            )
        if not missing:
            values = [header[key] for key in keys]
            windows.append(_guide(keys, values, str(file.path)))
    if not windows:
        first = config.keywords[0].format(n=1)
        raise _no_windows(file, f"no table {config.extension} and no keywords {first} …")
    return tuple(windows), "header"


def _no_windows(file: FitsInput, why: str) -> RampFormatError:
    return RampFormatError(
        f"guide windows of the file are asked for, but there is {why}",
        where=file.path,
        hint="Name them with --guide-window X,Y,NX,NY, or leave the option out.",
    )


def _from_table(file: FitsInput, unit: Unit) -> tuple[GuideWindow, ...]:
    where = f"{file.path}[{unit.label}]"
    columns = read_columns(file, unit, needed=_WINDOW)
    names = [*_WINDOW, *(name for name in _GROUPS if name in columns)]
    if len(names) == len(_WINDOW) + 1:
        raise RampFormatError(
            f"has a column {names[-1]} alone; expected {' and '.join(_GROUPS)}", where=where
        )
    rows = zip(*(columns[name] for name in names), strict=True)
    return tuple(_guide(names, row, where) for row in rows)


def _guide(names: Sequence[str], values: Iterable[object], where: str) -> GuideWindow:
    x, y, nx, ny, *groups = (
        _whole(value, name, where) for name, value in zip(names, values, strict=True)
    )
    try:
        window = Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny)
        return GuideWindow(window, (groups[0] - 1, groups[1]) if groups else None)
    except TmtDqError as error:
        raise RampFormatError(error.what, where=where) from error


def _read_numbers(exposure: RampFile) -> tuple[int, ...] | None:
    """Return the read number of each group, None where the exposure is complete."""
    numbers = find_read_numbers(exposure)
    complete = exposure.header.get("COMPLETE")
    if numbers is not None or complete is True:
        return numbers
    said = "there is no keyword COMPLETE" if complete is None else "COMPLETE is F"
    raise RampFormatError(
        f"missing reads are asked for, but {said} and no table has a column "
        f"{exposure.ramp.instrument.read_number_column} that says which reads are there",
        where=exposure.file.path,
        hint="Leave --missing-reads out, or add the table.",
    )


def find_read_numbers(exposure: RampFile) -> tuple[int, ...] | None:
    """Return the read number of each group, from the table that has such a column, if any."""
    name = exposure.ramp.instrument.read_number_column.strip().upper()
    found: dict[str, tuple[int, ...]] = {}
    for unit in exposure.file.units:
        if not unit.is_image and name in _column_names(unit):
            column = read_columns(exposure.file, unit, needed=(name,))[name]
            where = f"{exposure.file.path}[{unit.label}]"
            found[f"{unit.label} (HDU {unit.index})"] = tuple(
                _whole(value, name, where) for value in column
            )
    return _only(found, name, exposure.file.path) if found else None


def _only(found: Mapping[str, Content], name: str, path: Path) -> Content:
    """Return what all tables of a file agree on."""
    contents = list(found.values())
    if any(content != contents[0] for content in contents):
        raise RampFormatError(
            f"has {len(found)} tables with {name} that contradict each other: {', '.join(found)}",
            where=path,
            hint="Leave the table that belongs to the exposure.",
        )
    return contents[0]


def _column_names(unit: Unit) -> set[str]:
    count = unit.header.integer("TFIELDS", 0)
    names = (unit.header.get(f"TTYPE{number}", "") for number in range(1, count + 1))
    return {str(name).strip().upper() for name in names}


def _whole(value: object, name: str, where: str) -> int:
    number = whole_number(value)
    if number is None:
        raise RampFormatError(f"{name} is {value}; expected a whole number", where=where)
    return number
