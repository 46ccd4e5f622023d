"""Rectangles of pixels: what pixel lists, defect tables and DS9 regions hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Boxes", "Integers", "cover", "paint"]

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Rectangles of pixels: 0-based row and column of each first pixel, rows and columns of each.

    Single pixels are rectangles of one.
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


def cover(image: npt.NDArray[np.generic]) -> Boxes:
    """Cover the pixels of an image that are not zero, and no others, with boxes of equal pixels.

    A box is a stretch of neighbouring equal pixels in one row, and its equals in the rows that
    follow. Boxes do not overlap.
    """
    # A zero on either side of each row keeps stretches from crossing to the next.
    width = image.shape[1] + 2
    line = np.pad(image, ((0, 0), (1, 1))).reshape(-1)
    edges = np.flatnonzero(line[1:] != line[:-1])
    value = line[edges + 1]
    (stretches,) = np.nonzero(value)
    value = value[stretches]
    y, x = np.divmod(edges[stretches], width)
    end = edges[stretches + 1] - y * width
    order = np.lexsort((y, end, x))
    y, x, end, value = y[order], x[order], end[order], value[order]
    starts = np.ones(y.size, np.bool_)
    starts[1:] = (x[1:] != x[:-1]) | (end[1:] != end[:-1]) | (y[1:] != y[:-1] + 1)
    starts[1:] |= value[1:] != value[:-1]
    first = np.flatnonzero(starts)
    rows = np.diff(np.append(first, y.size))
    return Boxes(y[first], x[first], rows, end[first] - x[first])


def paint(
    boxes: Boxes, flags: npt.NDArray[np.uint32], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return an array of `shape` with the flags of each box; where boxes overlap, combined.

    Callers check `Boxes.misplaced` first, with a message that names their file.

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
    np.bitwise_or.at(dq, (boxes.y[single], boxes.x[single]), flags[single])
    large = (column[~single] for column in (boxes.y, boxes.x, boxes.ny, boxes.nx, flags))
    for y, x, ny, nx, value in zip(*large, strict=True):
        dq[y : y + ny, x : x + nx] |= value
    return dq
