"""Rectangles of flagged pixels, painted into an array: what pixel lists and defect tables hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Boxes", "embed", "paint"]

_SMALL = 64
"""Boxes of up to this many pixels are painted together, larger ones one by one."""

_TOGETHER = 16384
"""Small boxes that are painted at a time: bounds the memory, a few tens of MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Rectangles of pixels and their flags; single pixels are rectangles of one.

    Parameters
    ----------
    y, x : ndarray of int64, (n,)
        0-based row and column of each first pixel.
    ny, nx : ndarray of int64, (n,)
        Rows and columns of each.
    flags : ndarray of uint32, (n,)
        Flags of each.
    """

    y: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    ny: npt.NDArray[np.int64]
    nx: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.flags)

    def misplaced(self, shape: tuple[int, int]) -> npt.NDArray[np.intp]:
        """Return the numbers of the boxes that are empty or leave an array of `shape`."""
        rows, columns = shape
        # Compared without adding, which could overflow for nonsense in a file.
        bad = (self.y < 0) | (self.x < 0) | (self.ny < 1) | (self.nx < 1)
        bad |= (self.y > rows - self.ny) | (self.x > columns - self.nx)
        return np.flatnonzero(bad)


def paint(boxes: Boxes, shape: tuple[int, int]) -> npt.NDArray[np.uint32]:
    """Return an array with the flags of boxes; where boxes overlap, flags are combined.

    Parameters
    ----------
    boxes : Boxes
        The boxes.
    shape : tuple of int
        Rows and columns of the array.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        The flags.

    Raises
    ------
    ValueError
        Raised if a box leaves the array; callers check `Boxes.misplaced` first, with a message
        that names their file.

    Examples
    --------
    >>> one = np.ones(1, np.int64)
    >>> paint(Boxes(0 * one, one, one, 2 * one, np.array([1024], np.uint32)), (2, 4))
    array([[   0, 1024, 1024,    0],
           [   0,    0,    0,    0]], dtype=uint32)
    """
    if boxes.misplaced(shape).size:
        raise ValueError(f"boxes leave the array of shape {shape}")
    dq = np.zeros(shape, np.uint32)
    small = boxes.ny * boxes.nx <= _SMALL
    numbers = np.flatnonzero(small)
    for first in range(0, numbers.size, _TOGETHER):
        _paint_small(boxes, numbers[first : first + _TOGETHER], dq)
    for number in np.flatnonzero(~small).tolist():
        y, x = boxes.y[number], boxes.x[number]
        dq[y : y + boxes.ny[number], x : x + boxes.nx[number]] |= boxes.flags[number]
    return dq


def _paint_small(boxes: Boxes, numbers: npt.NDArray[np.intp], dq: npt.NDArray[np.uint32]) -> None:
    """Paint many small boxes with a few array operations instead of one each."""
    area = (boxes.ny * boxes.nx)[numbers]
    owner = np.repeat(numbers, area)
    # Number of each pixel within its box.
    within = np.arange(owner.size) - np.repeat(np.cumsum(area) - area, area)
    width = boxes.nx[owner]
    place = (boxes.y[owner] + within // width) * dq.shape[1] + boxes.x[owner] + within % width
    flags = boxes.flags[owner]
    flat = dq.reshape(-1)
    # An indexed |= forgets all but one of the entries for the same pixel; with one value at a
    # time that does not matter, and there are few values.
    for value in np.unique(flags):
        flat[place[flags == value]] |= value


def embed(
    flags: npt.NDArray[np.uint32], place: Sequence[slice], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return an array of `shape` with `flags` at `place` and no flags elsewhere.

    Parameters
    ----------
    flags : ndarray of uint32
        Flags of a part; not modified.
    place : sequence of slice
        Rows and columns of the part.
    shape : tuple of int
        Rows and columns of the whole.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        `flags` itself where it is the whole.
    """
    if flags.shape == shape:
        return flags
    dq = np.zeros(shape, np.uint32)
    dq[tuple(place)] = flags
    return dq
