"""Rectangles of pixels: what pixel lists, defect tables and DS9 regions hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Boxes":
        """Return some of the boxes."""
        return Boxes(self.y[chosen], self.x[chosen], self.ny[chosen], self.nx[chosen])

    def misplaced(self, shape: tuple[int, int]) -> npt.NDArray[np.intp]:
        """Return the numbers of the boxes that are empty or leave an array of `shape`."""
        rows, columns = shape
        # Compared without adding, which could overflow for nonsense in a file.
        bad = (self.y < 0) | (self.x < 0) | (self.ny < 1) | (self.nx < 1)
        bad |= (self.y > rows - self.ny) | (self.x > columns - self.nx)
        return np.flatnonzero(bad)


def cover(image: npt.NDArray[np.generic]) -> Boxes:
    """Cover the pixels that are not zero with boxes of equal pixels, which do not overlap."""
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


class Cover:
    """Boxes counted: how many of them cover each pixel of an array."""

    def __init__(self, shape: tuple[int, int]) -> None:
        # Second differences: a box changes the four corners alone, however large it is.
        self._steps = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)

    def add(self, boxes: Boxes, weight: int = 1) -> None:
        """Count boxes inside the array, `weight` times."""
        flat, width = self._steps.reshape(-1), self._steps.shape[1]
        top, bottom = boxes.y * width, (boxes.y + boxes.ny) * width
        left, right = boxes.x, boxes.x + boxes.nx
        for rows, columns, sign in (
            (top, left, 1),
            (top, right, -1),
            (bottom, left, -1),
            (bottom, right, 1),
        ):
            np.add.at(flat, rows + columns, np.int32(sign * weight))

    def covered(self) -> npt.NDArray[np.bool_]:
        """Return which pixels are covered; afterwards nothing more can be counted."""
        np.cumsum(self._steps, axis=0, out=self._steps)
        np.cumsum(self._steps, axis=1, out=self._steps)
        return self._steps[:-1, :-1] > 0


def separate(flags: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return values to paint one after the other: those that occur, or all bits if too many do."""
    values = np.unique(flags)
    return values if len(values) <= 32 else np.uint32(1) << np.arange(32, dtype=np.uint32)


def paint(
    boxes: Boxes, flags: npt.NDArray[np.uint32], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return an array with the flags of boxes inside it, combined where they overlap."""
    if boxes.misplaced(shape).size:
        raise ValueError(f"boxes leave the array of shape {shape}")
    dq = np.zeros(shape, np.uint32)
    single = boxes.ny * boxes.nx == 1
    np.bitwise_or.at(dq.reshape(-1), (boxes.y * shape[1] + boxes.x)[single], flags[single])
    for value in separate(flags[~single]):
        cover = Cover(shape)
        cover.add(boxes.only(~single & (flags & value == value)))
        np.bitwise_or(dq, value, out=dq, where=cover.covered())
    return dq
