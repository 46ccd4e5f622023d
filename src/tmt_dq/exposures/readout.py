"""How an exposure was read out: its subarrays, guide windows and read numbers, from its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Readout
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GuideWindow, Recipe
from tmt_dq.core.sources.subarrays import subarray_windows
from tmt_dq.errors import GeometryError, RampFormatError, TmtDqError
from tmt_dq.exposures.ramp import RampFile, merged_header
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit
from tmt_dq.fits.tables import read_columns
from tmt_dq.instruments import Instrument

__all__ = ["read_readout"]

Content = TypeVar("Content")

_MAP = "SUBARR_MAP"


def read_readout(exposure: RampFile, recipe: Recipe) -> Readout:
    """Return the facts of the readout that the sources of a recipe need."""
    header = merged_header(exposure)
    windows: tuple[GuideWindow, ...] = ()
    origin = ""
    if recipe.guide_windows_from_file:
        windows, origin = _guide_windows(exposure, header)
    return Readout(
        subarr_map=_subarr_map(exposure, header),
        guide_windows=windows,
        guide_origin=origin,
        read_numbers=_read_numbers(exposure, header) if recipe.missing_reads else None,
        incomplete=header.get("COMPLETE") is False,
    )


def _subarr_map(exposure: RampFile, header: Mapping[str, object]) -> npt.NDArray[np.uint32] | None:
    """Return SUBARR_MAP if it describes subarrays read with this frame."""
    units = exposure.file.named(_MAP)
    if not units:
        return None
    where = f"{exposure.file.path}[{_MAP}]"
    unit = units[0]
    if len(units) > 1 or not unit.is_image or len(unit.shape) != 2:
        raise GeometryError("expected one 2-D image", where=where)
    subarr_map = read_rows(exposure.file, unit, 0, unit.shape[0])
    try:
        windows = subarray_windows(subarr_map)
    except TmtDqError as error:
        raise GeometryError(error.what, where=exposure.file.path, hint=error.hint) from error
    number = header.get("SUBARRID", 0)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise GeometryError(
            f"SUBARRID is {number!r}; expected the number of a subarray, or 0 for the frame",
            where=exposure.file.path,
            hint="Correct SUBARRID.",
        )
    if number > 0:
        _check_own_window(exposure, windows, number, where)
        return None
    if unit.shape != exposure.ramp.window.shape:
        raise GeometryError(
            f"has the shape {unit.shape}, the data {exposure.ramp.window.shape}", where=where
        )
    return subarr_map


def _check_own_window(
    exposure: RampFile, windows: Mapping[int, Window], number: int, where: str
) -> None:
    """Compare a subarray's own place with the one that the frame's map gives it."""
    if number not in windows:
        raise GeometryError(
            f"has the subarrays {sorted(windows)}, but SUBARRID is {number}", where=where
        )
    if windows[number] != exposure.ramp.window:
        raise GeometryError(
            f"puts subarray {number} at {windows[number].describe()}, the keywords at "
            f"{exposure.ramp.window.describe()}",
            where=where,
        )


def _guide_windows(
    exposure: RampFile, header: Mapping[str, object]
) -> tuple[tuple[GuideWindow, ...], str]:
    """Return the guide windows that a file names, and where it names them."""
    instrument = exposure.ramp.instrument
    config = instrument.guide_windows
    tables = exposure.file.named(config.extension) if config is not None else []
    if tables:
        found = {
            f"{unit.label} (HDU {unit.index})": _from_table(exposure.file, unit) for unit in tables
        }
        windows = _only(found, "guide windows", exposure.file.path)
        return windows, f"table {tables[0].name}"
    windows = _from_header(instrument, header, exposure)
    if not windows:
        expected = (
            "no description of where guide windows are named"
            if config is None
            else f"no table {config.extension} and no keywords {config.keywords[0].format(n=1)} …"
        )
        raise RampFormatError(
            f"guide windows of the file are asked for, but there is {expected}",
            where=exposure.file.path,
            hint="Name them with --guide-window X,Y,NX,NY, or leave the option out.",
        )
    return windows, "header"


def _from_table(file: FitsInput, unit: Unit) -> tuple[GuideWindow, ...]:
    where = f"{file.path}[{unit.label}]"
    columns = read_columns(file, unit, needed=("X", "Y", "NX", "NY"))
    rows = len(columns["X"])
    windows = []
    for row in range(rows):
        x, y, nx, ny = (_whole(columns[key][row], key, where) for key in ("X", "Y", "NX", "NY"))
        groups = None
        if "GROUP1" in columns and "GROUP2" in columns:
            first, last = (_whole(columns[key][row], key, where) for key in ("GROUP1", "GROUP2"))
            groups = (first - 1, last)
        windows.append(_guide(x, y, nx, ny, groups, where))
    return tuple(windows)


def _from_header(
    instrument: Instrument, header: Mapping[str, object], exposure: RampFile
) -> tuple[GuideWindow, ...]:
    config = instrument.guide_windows
    if config is None:
        return ()
    windows = []
    for number in range(1, config.count + 1):
        keys = [pattern.format(n=number) for pattern in config.keywords]
        present = [key for key in keys if header.get(key) is not None]
        if not present:
            continue
        if len(present) < len(keys):
            missing = ", ".join(key for key in keys if key not in present)
            raise RampFormatError(
                f"guide window {number} has no {missing}", where=exposure.file.path
            )
        where = str(exposure.file.path)
        x, y, nx, ny = (_whole(header[key], key, where) for key in keys)
        windows.append(_guide(x, y, nx, ny, None, where))
    return tuple(windows)


def _guide(
    x: int, y: int, nx: int, ny: int, groups: tuple[int, int] | None, where: str
) -> GuideWindow:
    try:
        window = Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny)
        return GuideWindow(window, groups)
    except TmtDqError as error:
        raise RampFormatError(error.what, where=where) from error


def _read_numbers(exposure: RampFile, header: Mapping[str, object]) -> tuple[int, ...] | None:
    """Return the read number of each group, from the table that has such a column."""
    name = exposure.ramp.instrument.read_number_column
    found: dict[str, tuple[int, ...]] = {}
    for unit in exposure.file.units:
        if not unit.is_image and name in _column_names(unit):
            column = read_columns(exposure.file, unit, needed=(name,))[name]
            where = f"{exposure.file.path}[{unit.label}]"
            found[f"{unit.label} (HDU {unit.index})"] = tuple(
                _whole(value, name, where) for value in column
            )
    if found:
        return _only(found, name, exposure.file.path)
    if header.get("COMPLETE") is True:
        return None
    said = "COMPLETE is F" if "COMPLETE" in header else "there is no keyword COMPLETE"
    raise RampFormatError(
        f"missing reads are asked for, but {said} and no table has a column {name} that says "
        "which reads are there",
        where=exposure.file.path,
        hint="Leave --missing-reads out, or add the table.",
    )


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
    number = value.item() if isinstance(value, np.generic) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not float(number).is_integer()  # NaN and infinity are not
    ):
        raise RampFormatError(f"{name} is {number!r}; expected a whole number", where=where)
    return int(number)
