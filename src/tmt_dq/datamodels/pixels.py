"""Lists of pixel positions, checked, with their convention said aloud."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import ConfigError, GeometryError

__all__ = ["positions"]

_FORMS = (
    "Give positions in one of three forms: y= and x= (two lists, 0-based), yx= (pairs in NumPy's "
    "order, 0-based), or fits_xy= (pairs in the order of FITS and DS9, 1-based)."
)


def positions(
    shape: tuple[int, int], *, y: Any, x: Any, yx: Any, fits_xy: Any, where: str
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows and columns of a list of pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the array.
    y, x : array_like of int, 1-D, or None
        0-based rows and columns.
    yx : array_like of int, (n, 2), or None
        0-based pairs (row, column).
    fits_xy : array_like of int, (n, 2), or None
        1-based pairs (column, row).
    where : str
        Named in errors.

    Returns
    -------
    tuple of ndarray of int, (n,)
        0-based rows and columns: the index of exactly n pixels, never of a row.

    Raises
    ------
    ConfigError
        Raised if not exactly one form is used, or positions are not whole numbers.
    GeometryError
        Raised if a list has the wrong shape, or a position is not in the array.
    """
    forms = [y is not None or x is not None, yx is not None, fits_xy is not None]
    if sum(forms) != 1 or (y is None) != (x is None):
        raise ConfigError(
            f"found {sum(forms) or 'no'} lists of positions; expected one, complete"
            if sum(forms) != 1
            else "found only one of y= and x=; expected both",
            where=where,
            hint=_FORMS,
        )
    if yx is not None:
        rows, columns = _pairs(yx, "yx", where)
        offset = 0
    elif fits_xy is not None:
        columns, rows = _pairs(fits_xy, "fits_xy", where)
        offset = 1
    else:
        rows, columns = _line(y, "y", where), _line(x, "x", where)
        offset = 0
        if rows.shape != columns.shape:
            raise GeometryError(
                f"y has {rows.size} positions and x has {columns.size}; expected as many",
                where=where,
            )
    _check_inside(rows, columns, shape, offset, where)
    return rows - offset, columns - offset


def _whole(values: Any, name: str, where: str) -> npt.NDArray[np.intp]:
    """Return numbers as integers, if that is what they are."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise GeometryError(
            f"{name} is no regular list: {error}", where=where, hint=_FORMS
        ) from error
    if array.size == 0:
        return array.astype(np.intp)
    if array.dtype.kind not in "iuf" or (
        array.dtype.kind == "f" and not bool((np.isfinite(array) & (array % 1 == 0)).all())
    ):
        raise ConfigError(
            f"{name} holds {array.dtype} values that are no pixel numbers; expected whole numbers",
            where=where,
            hint="For a map of booleans, take y, x = np.nonzero(map).",
        )
    return array.astype(np.intp)


def _line(values: Any, name: str, where: str) -> npt.NDArray[np.intp]:
    array = np.atleast_1d(_whole(values, name, where))
    if array.ndim != 1:
        raise GeometryError(
            f"{name} has the shape {array.shape}; expected a list of numbers",
            where=where,
            hint=_FORMS,
        )
    return array


def _pairs(values: Any, name: str, where: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    if (
        isinstance(values, tuple)
        and values
        and all(isinstance(part, np.ndarray) for part in values)
    ):
        # np.nonzero's result. With two pixels it would pass for two pairs.
        raise GeometryError(
            f"{name} is a tuple of arrays; expected pairs, shape (n, 2)",
            where=where,
            hint="For the result of np.nonzero or np.where, say y=result[0], x=result[1].",
        )
    array = _whole(values, name, where)
    if array.size == 0:
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise GeometryError(
            f"{name} has the shape {array.shape}; expected pairs, shape (n, 2)",
            where=where,
            hint=_FORMS,
        )
    return array[:, 0], array[:, 1]


def _check_inside(
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    shape: tuple[int, int],
    first: int,
    where: str,
) -> None:
    ny, nx = shape
    outside = (rows < first) | (rows >= ny + first) | (columns < first) | (columns >= nx + first)
    if outside.any():
        index = int(np.argmax(outside))
        raise GeometryError(
            f"{int(np.count_nonzero(outside))} of {rows.size} positions are outside the array, the "
            f"first is y = {rows[index]}, x = {columns[index]}; expected y from {first} to "
            f"{ny - 1 + first} and x from {first} to {nx - 1 + first}",
            where=where,
            hint="fits_xy= counts from 1 and has x first; yx=, y= and x= count from 0.",
        )
