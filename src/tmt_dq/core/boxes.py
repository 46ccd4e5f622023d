"""Rectangles of pixels: what pixel lists, defect tables and DS9 regions hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Boxes", "Integers", "cover", "embed", "paint"]

Integers = npt.NDArray[np.int64]

_SMALL = 64
"""Boxes of up to this many pixels are painted together, larger ones one by one."""

_MANY = 64
"""More large boxes of the same flags than this are painted by their corners."""

_TOGETHER = 16384
"""Small boxes that are painted at a time: bounds the memory, a few tens of MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Rectangles of pixels; single pixels are rectangles of one.

    Parameters
    ----------
    y, x : ndarray of int64, (n,)
        0-based row and column of each first pixel.
    ny, nx : ndarray of int64, (n,)
        Rows and columns of each.
    """

    y: Integers
    x: Integers
    ny: Integers
    nx: Integers

    def __len__(self) -> int:
        return len(self.y)

    def misplaced(self, shape: tuple[int, int]) -> npt.NDArray[np.intp]:
        """Return the numbers of the boxes that are empty or leave an array of `shape`."""
        rows, columns = shape
        # Compared without adding, which could overflow for nonsense in a file.
        bad = (self.y < 0) | (self.x < 0) | (self.ny < 1) | (self.nx < 1)
        bad |= (self.y > rows - self.ny) | (self.x > columns - self.nx)
        return np.flatnonzero(bad)


def cover(flagged: npt.NDArray[np.bool_]) -> Boxes:
    """Cover the True pixels of an image, and no others, with boxes that do not overlap.

    A box is a stretch of neighbouring pixels in one row, and its equals in the rows that follow.
    """
    # A False pixel on either side of each row keeps stretches from crossing to the next.
    width = flagged.shape[1] + 2
    line = np.pad(flagged, ((0, 0), (1, 1))).reshape(-1)
    edges = np.flatnonzero(line[1:] != line[:-1])
    y, x = np.divmod(edges[::2], width)
    end = edges[1::2] - y * width
    order = np.lexsort((y, end, x))
    y, x, end = y[order], x[order], end[order]
    starts = np.ones(y.size, np.bool_)
    starts[1:] = (x[1:] != x[:-1]) | (end[1:] != end[:-1]) | (y[1:] != y[:-1] + 1)
    first = np.flatnonzero(starts)
    rows = np.diff(np.append(first, y.size))
    return Boxes(y[first], x[first], rows, end[first] - x[first])


def paint(
    boxes: Boxes, flags: npt.NDArray[np.uint32], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return an array of `shape` with the flags of each box; where boxes overlap, combined.

    Callers check `Boxes.misplaced` first, with a message that names their file: a box that leaves
    the array is a ValueError.

    Examples
    --------
    >>> one = np.ones(1, np.int64)
    >>> paint(Boxes(0 * one, one, one, 2 * one), np.array([1024], np.uint32), (2, 4))
    array([[   0, 1024, 1024,    0],
           [   0,    0,    0,    0]], dtype=uint32)
    """
    if boxes.misplaced(shape).size:
        raise ValueError(f"boxes leave the array of shape {shape}")
    dq = np.zeros(shape, np.uint32)
    small = boxes.ny * boxes.nx <= _SMALL
    numbers = np.flatnonzero(small)
    for first in range(0, numbers.size, _TOGETHER):
        _paint_small(boxes, flags, numbers[first : first + _TOGETHER], dq)
    large = np.flatnonzero(~small)
    for value in np.unique(flags[large]):
        chosen = large[flags[large] == value]
        if chosen.size > _MANY:
            np.bitwise_or(dq, value, out=dq, where=_union(boxes, chosen, shape))
            continue
        for number in chosen.tolist():
            y, x = boxes.y[number], boxes.x[number]
            dq[y : y + boxes.ny[number], x : x + boxes.nx[number]] |= value
    return dq


def _union(
    boxes: Boxes, numbers: npt.NDArray[np.intp], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return the pixels of large boxes, at a cost that does not grow with their sizes.

    The corners of a box are steps of 1 and -1; summed along both axes they are the number of boxes
    that cover a pixel.
    """
    steps = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
    y, x = boxes.y[numbers], boxes.x[numbers]
    y_end, x_end = y + boxes.ny[numbers], x + boxes.nx[numbers]
    for rows, columns, step in ((y, x, 1), (y, x_end, -1), (y_end, x, -1), (y_end, x_end, 1)):
        np.add.at(steps, (rows, columns), np.int32(step))
    np.cumsum(steps, axis=0, out=steps)
    np.cumsum(steps, axis=1, out=steps)
    return np.asarray(steps[:-1, :-1] > 0)


def _paint_small(
    boxes: Boxes,
    flags: npt.NDArray[np.uint32],
    numbers: npt.NDArray[np.intp],
    dq: npt.NDArray[np.uint32],
) -> None:
    """Paint many small boxes with a few array operations instead of one each."""
    area = (boxes.ny * boxes.nx)[numbers]
    owner = np.repeat(numbers, area)
    # Number of each pixel within its box.
    within = np.arange(owner.size) - np.repeat(np.cumsum(area) - area, area)
    width = boxes.nx[owner]
    place = (boxes.y[owner] + within // width) * dq.shape[1] + boxes.x[owner] + within % width
    given = flags[owner]
    flat = dq.reshape(-1)
    # An indexed |= forgets all but one of the entries for the same pixel; with one value at a
    # time that does not matter, and there are few values.
    for value in np.unique(given):
        flat[place[given == value]] |= value


def embed(
    flags: npt.NDArray[np.uint32], place: Sequence[slice], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return an array of `shape` with `flags` at `place` and none around; `flags` if it fits."""
    if flags.shape == shape:
        return flags
    dq = np.zeros(shape, np.uint32)
    dq[tuple(place)] = flags
    return dq
