"""Pixels of a mask: their place on the detector, flags by name, lists of positions, a table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError

if TYPE_CHECKING:
    from astropy import table as astropy_table

Positions = npt.NDArray[np.intp]

_FORMS = (
    "Give positions in one of three forms: y= and x= (two lists, 0-based), yx= (pairs in NumPy's "
    "order, 0-based), or fits_xy= (pairs in the order of FITS and DS9, 1-based)."
)


def placed_window(subarray: Any, shape: tuple[int, int], where: object) -> Window:
    """Return the detector pixels of an array, from a model's ``meta.subarray``."""
    ny, nx = shape
    for name, found, size in (("xsize", subarray.xsize, nx), ("ysize", subarray.ysize, ny)):
        if found is not None and found != size:
            what = f"meta.subarray.{name} is {found}, but dq is {nx} × {ny} (x × y)"
            hint = f"Correct meta.subarray.{name}, or leave it out."
            raise GeometryError(what, where=where, hint=hint)
    x, y = (1 if start is None else start for start in (subarray.xstart, subarray.ystart))
    if min(x, y) < 1:
        what = f"meta.subarray has the start x = {x}, y = {y}; they count from 1"
        raise GeometryError(what, where=where)
    return Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny)


def pixel_table(
    dq: npt.NDArray[np.uint32], window: Window, instrument: str | None, detector: str | None
) -> "astropy_table.Table":
    """Return flagged pixels as a table: 1-based detector positions, names and values."""
    from astropy.table import Table

    y, x = np.nonzero(dq)
    values = dq[y, x]
    names = {value: ",".join(PIXEL.decode(value)) for value in np.unique(values)}
    return Table(
        {
            "x": x + window.xstart,
            "y": y + window.ystart,
            "flag": np.array([names[value] for value in values], np.str_),
            "value": values,
        },
        meta={"base": 1, "instrument": str(instrument), "detector": str(detector)},
    )


def flag_value(flags: str | Iterable[str], where: str) -> np.uint32:
    """Return the value of one or more flags, by name; ConfigError where there is none."""
    names = [flags] if isinstance(flags, str) or not np.iterable(flags) else list(flags)
    if not all(isinstance(name, str) for name in names):
        hint = "A value has names: tmt_dq.dqflags.pixel.decode(value)."
        raise ConfigError(f"flags are {names!r}; expected names", where=where, hint=hint)
    value = PIXEL.encode(" ".join(names))
    if value == 0:
        what = f"{flags!r} is no flag to set or clear; expected at least one"
        raise ConfigError(what, where=where)
    return np.uint32(value)


def positions(
    shape: tuple[int, int], *, y: Any, x: Any, yx: Any, fits_xy: Any, where: str
) -> tuple[Positions, Positions]:
    """Return the 0-based rows and columns of a list of pixels, in exactly one of three forms.

    The result is the index of exactly n pixels of an array of `shape`, never of a row. ConfigError
    where not exactly one form is used or numbers are not whole, GeometryError where a list has the
    wrong shape or leaves the array.
    """
    forms = {"y": y, "x": x, "yx": yx, "fits_xy": fits_xy}
    lists = {name: _numbers(one, name, where) for name, one in forms.items() if one is not None}
    if set(lists) not in ({"y", "x"}, {"yx"}, {"fits_xy"}):
        found = ", ".join(f"{name}=" for name in lists) or "no positions"
        raise ConfigError(f"found {found}; expected one form", where=where, hint=_FORMS)
    if "y" in lists:
        rows, columns = np.atleast_1d(lists["y"], lists["x"])
        if rows.ndim != 1 or rows.shape != columns.shape:
            what = f"y has the shape {rows.shape}, x {columns.shape}; expected two lists as long"
            raise GeometryError(what, where=where, hint=_FORMS)
    else:
        ((name, pairs),) = lists.items()
        if pairs.size and pairs.shape[1:] != (2,):
            what = f"{name} has the shape {pairs.shape}; expected pairs, shape (n, 2)"
            raise GeometryError(what, where=where, hint=_FORMS)
        rows, columns = pairs.reshape(-1, 2).T
        if name == "fits_xy":
            rows, columns = columns, rows
    first = int(fits_xy is not None)
    (ny, nx), inside = shape, (rows >= first) & (columns >= first)
    inside &= (rows < ny + first) & (columns < nx + first)
    if not inside.all():
        bad = int(np.argmin(inside))
        raise GeometryError(
            f"{np.count_nonzero(~inside)} of {rows.size} positions are outside the array, the "
            f"first is y = {rows[bad]}, x = {columns[bad]}; expected y from {first} to "
            f"{ny - 1 + first} and x from {first} to {nx - 1 + first}",
            where=where,
            hint="fits_xy= counts from 1 and has x first; yx=, y= and x= count from 0.",
        )
    return rows - first, columns - first


def _numbers(values: Any, name: str, where: str) -> Positions:
    """Return whole numbers in any shape."""
    if isinstance(values, tuple) and any(isinstance(part, np.ndarray) for part in values):
        # np.nonzero's result. With two pixels it would pass for two pairs.
        what = f"{name} is a tuple of arrays; expected pairs, shape (n, 2)"
        hint = "For the result of np.nonzero or np.where, use y=result[0], x=result[1]."
        raise GeometryError(what, where=where, hint=hint)
    try:
        array = np.asarray(values)
    except ValueError as error:
        what = f"{name} is no regular list: {error}"
        raise GeometryError(what, where=where, hint=_FORMS) from error
    whole = array.dtype.kind in "iu" or not array.size
    if array.dtype.kind == "f":
        whole = bool((np.isfinite(array) & (array % 1 == 0)).all())
    if not whole:
        what = f"{name} holds {array.dtype} values that are no pixel numbers"
        hint = "For a map of booleans, take y, x = np.nonzero(map)."
        raise ConfigError(f"{what}; expected whole numbers", where=where, hint=hint)
    return array.astype(np.intp)
