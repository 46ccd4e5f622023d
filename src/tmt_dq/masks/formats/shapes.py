"""Shapes of bad pixels (boxes, ellipses, polygons, annuli, points), drawn as pixels.

A pixel belongs to a shape if its centre lies inside, not on, the outline, as in the bitmaps of
astropy-regions; to a point, if the point lies in the pixel. All shapes are drawn as boxes, most of
them one row high, so that the cost is the number of rows and not the area.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import Boxes, Cover, separate
from tmt_dq.errors import GeometryError

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Outline = tuple[str, Sequence[float]]
"""A "box" (x, y, half width, half height), "ellipse" (and radians) or "polygon" (x, y, x, y, …)."""

_OUTLINES = 10_000
"""Outlines that are drawn at a time."""
_ROWS = 500_000
"""Rows of pixels that are drawn at a time: bounds the memory, some tens of MB."""
_LARGEST = 1e9
"""Numbers of pixels from here on are nonsense, and their squares would lose digits."""


class Shape(NamedTuple):
    """What lies inside an outline, and outside another one if it is an annulus."""

    name: str  # what it is and where in the file, for messages
    outline: Outline
    hole: Outline | None = None
    flags: int = 0
    include: bool = True


def outlines_of(
    name: str, numbers: Sequence[float], *, border: float = 0
) -> tuple[Outline, Outline | None]:
    """Return outline and hole of a shape as DS9 and FITS region tables give it, by its centre.

    Angles are in degrees; an annulus has several sizes, the outermost last, and outlines grow by
    `border`. ValueError if the numbers do not fit the name.
    """
    if not all(map(math.isfinite, numbers)) or max(map(abs, numbers)) > _LARGEST:
        raise ValueError(f"{name} has numbers that make no sense")
    if name == "polygon" and len(numbers) >= 6 and len(numbers) % 2 == 0:
        return ("polygon", numbers), None
    x, y, *sizes = numbers
    if name == "point" and not sizes:
        return ("box", (math.floor(x + 0.5), math.floor(y + 0.5), 0.5, 0.5)), None
    pairs, angle = [], 0.0
    if name in {"box", "ellipse"}:
        angle = sizes.pop() if len(sizes) % 2 else 0.0
        scale = 0.5 if name == "box" else 1.0
        pairs = [(scale * a, scale * b) for a, b in zip(sizes[::2], sizes[1::2], strict=True)]
    elif name == {1: "circle"}.get(len(sizes), "annulus"):
        pairs = [(size, size) for size in sizes]
    steps = itertools.pairwise([(0.0, 0.0), *pairs])
    if not pairs or not all(c > a and d > b for (a, b), (c, d) in steps):
        raise ValueError(f"{name} has sizes that make no sense")

    def outline(a: float, b: float) -> Outline:
        turned = math.radians(angle)
        return _box(x, y, a, b, angle) if name == "box" else ("ellipse", (x, y, a, b, turned))

    outer = outline(pairs[-1][0] + border, pairs[-1][1] + border)
    return outer, outline(*pairs[0]) if len(pairs) > 1 else None


def _box(x: float, y: float, a: float, b: float, angle: float) -> Outline:
    if angle % 90 == 0:
        return "box", (x, y, b, a) if angle % 180 else (x, y, a, b)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    corners = ((a, b), (-a, b), (-a, -b), (a, -b))
    turned = ((x + u * cosine - v * sine, y + u * sine + v * cosine) for u, v in corners)
    return "polygon", [number for corner in turned for number in corner]


def draw(
    path: Path, shapes: Sequence[Shape], shift: tuple[int, int], shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return the flags of shapes, (ny, nx); the excluded ones are taken away from all others."""
    dq = np.zeros(shape, np.uint32)
    included = [each for each in shapes if each.include]
    flags = np.array([each.flags for each in included], np.uint32)
    for value in separate(flags):
        has_value = (flags & value == value).tolist()
        chosen = list(itertools.compress(included, has_value))
        np.bitwise_or(dq, value, out=dq, where=_covered(path, chosen, shift, shape))
    excluded = [each for each in shapes if not each.include]
    if excluded:
        dq[_covered(path, excluded, shift, shape)] = 0
    return dq


def _covered(
    path: Path, shapes: Sequence[Shape], shift: tuple[int, int], shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Return the pixels that any of the shapes covers; GeometryError if one covers none."""
    cover = Cover(shape)
    area = np.zeros(len(shapes))
    outlines = [(number, 1, each.outline) for number, each in enumerate(shapes)]
    outlines += [(number, -1, each.hole) for number, each in enumerate(shapes) if each.hole]
    for kind, rows_of in _ROWS_OF.items():
        of_kind = [each for each in outlines if each[2][0] == kind]
        for first in range(0, len(of_kind), _OUTLINES):
            part = of_kind[first : first + _OUTLINES]
            owners, weights = np.array([each[:2] for each in part]).T
            for index, boxes in rows_of([each[2][1] for each in part], shift, shape):
                owner, weight = owners[index], weights[index]
                area += np.bincount(owner, weight * boxes.ny * boxes.nx, len(shapes))
                cover.add(boxes, weight)
    if not area.all():
        raise GeometryError(
            f"{shapes[int(np.argmin(area != 0))].name} covers no pixel of the detector: no centre "
            "of a pixel lies inside it",
            where=path,
            hint=f"The detector has {shape[1]} × {shape[0]} pixels (x × y).",
        )
    return cover.covered()


Rows = Iterator[tuple[Numbers, Boxes]]
"""Indices of outlines, and boxes inside them, on the detector."""


def _box_rows(
    outlines: Sequence[Sequence[float]], shift: tuple[int, int], shape: tuple[int, int]
) -> Rows:
    """Yield upright boxes."""
    x, y, a, b = np.array(outlines).T
    x, y = x + shift[0], y + shift[1]
    row, ny = _between(y - b, y + b, shape[0])
    column, nx = _between(x - a, x + a, shape[1])
    yield np.arange(len(x)), Boxes(row, column, ny, nx)


def _ellipse_rows(
    outlines: Sequence[Sequence[float]], shift: tuple[int, int], shape: tuple[int, int]
) -> Rows:
    """Yield the rows of ellipses."""
    x, y, a, b, angle = np.array(outlines).T
    x, y = x + shift[0], y + shift[1]
    sine, cosine = np.sin(angle), np.cos(angle)
    square = (cosine * b) ** 2 + (sine * a) ** 2
    height = np.hypot(a * sine, b * cosine)
    for owner, row in _bands(y - height, y + height, shape[0]):
        dy = row - y[owner]
        middle = x[owner] + (sine * cosine * (a**2 - b**2) / square)[owner] * dy
        inside = np.sqrt(np.maximum(square[owner] - dy**2, 0))
        half = (a * b / square)[owner] * inside
        column, nx = _between(middle - half, middle + half, shape[1])
        yield owner, Boxes(row, column, np.ones_like(row), nx)


def _polygon_rows(
    outlines: Sequence[Sequence[float]], shift: tuple[int, int], shape: tuple[int, int]
) -> Rows:
    """Yield the rows of polygons, by the rule of even and odd crossings of their edges."""
    corners = [np.reshape(outline, (-1, 2)) + shift for outline in outlines]
    polygon = np.repeat(np.arange(len(corners)), [len(each) for each in corners])
    x0, y0 = np.concatenate(corners).T
    x1, y1 = np.concatenate([np.roll(each, -1, axis=0) for each in corners]).T
    # The lower end of an edge is part of it, the upper end is not.
    for edge, row in _bands(np.minimum(y0, y1), np.maximum(y0, y1), shape[0], closed=True):
        slope = (x1 - x0)[edge] / (y1 - y0)[edge]
        crossing = x0[edge] + (row - y0[edge]) * slope
        order = np.lexsort((crossing, row, polygon[edge]))
        column = np.clip(np.ceil(crossing[order]), 0, shape[1]).astype(np.int64)
        first, stop, start = column[::2], column[1::2], order[::2]
        yield polygon[edge][start], Boxes(row[start], first, np.ones_like(start), stop - first)


_ROWS_OF: dict[str, Callable[..., Rows]] = {
    "box": _box_rows,
    "ellipse": _ellipse_rows,
    "polygon": _polygon_rows,
}


def _bands(
    low: Floats, high: Floats, count: int, *, closed: bool = False
) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield indices of intervals and rows of the detector in them, not too many at a time."""
    first = np.clip(np.ceil(low), 0, count).astype(np.int64)
    stop = np.clip(np.ceil(high) if closed else np.floor(high) + 1, 0, count).astype(np.int64)
    pieces = int(np.maximum(stop - first, 0).sum()) // _ROWS + 1
    for begin, end in itertools.pairwise(np.linspace(0, count, pieces + 1, dtype=np.int64)):
        start = np.maximum(first, begin)
        rows = np.maximum(np.minimum(stop, end) - start, 0)
        index = np.repeat(np.arange(len(rows)), rows)
        yield index, np.arange(index.size) - (np.cumsum(rows) - rows - start)[index]


def _between(low: Floats, high: Floats, count: int) -> tuple[Numbers, Numbers]:
    """Return the first whole number above `low`, and how many there are below `high`."""
    first = np.clip(np.floor(low) + 1, 0, count).astype(np.int64)
    stop = np.clip(np.ceil(high), 0, count).astype(np.int64)
    return first, np.maximum(stop - first, 0)
