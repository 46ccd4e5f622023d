"""Rectangles of pixels: what pixel lists, defect tables and DS9 regions hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Boxes", "Integers", "cover", "embed", "paint"]

Integers = npt.NDArray[np.int64]


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
    single = boxes.ny * boxes.nx == 1
    # An indexed |= forgets all but one of the entries for the same pixel; with one value at a
    # time that does not matter, and there are few values.
    for value in np.unique(flags[single]):
        chosen = single & (flags == value)
        dq[boxes.y[chosen], boxes.x[chosen]] |= value
    for number in np.flatnonzero(~single).tolist():
        y, x = boxes.y[number], boxes.x[number]
        dq[y : y + boxes.ny[number], x : x + boxes.nx[number]] |= flags[number]
    return dq


def embed(
    flags: npt.NDArray[np.uint32], place: Sequence[slice], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return an array of `shape` with `flags` at `place` and none around; `flags` if it fits."""
    if flags.shape == shape:
        return flags
    dq = np.zeros(shape, np.uint32)
    dq[tuple(place)] = flags
    return dq
