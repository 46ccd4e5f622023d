"""Shapes of bad pixels (boxes, ellipses, polygons, annuli, points), drawn as pixels.

A pixel belongs to a shape if its centre lies inside, not on, the outline, as in the bitmaps of
astropy-regions; to a point, if the point lies in the pixel.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import GeometryError

__all__ = ["Shape", "draw", "outlines_of"]

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.bool_]
Outline = tuple[str, Sequence[float]]
"""A "box" (x, y, half width, half height), "ellipse" (and radians) or "polygon" (x, y, x, y, …)."""

_LARGEST = 1e9
"""Numbers of pixels from here on are nonsense, and their squares would lose digits."""


class Shape(NamedTuple):
    """What lies inside an outline, and outside another one if it is an annulus."""

    name: str  # what it is and where in the file, for messages
    outline: Outline
    hole: Outline | None = None
    flags: int = 0
    include: bool = True


def outlines_of(name: str, numbers: Sequence[float]) -> tuple[Outline, Outline | None]:
    """Return outline and hole of a shape as DS9 gives it: centre, sizes, an angle in degrees.

    ValueError if the numbers do not fit the name. Annuli have several sizes, the outermost last.
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
    inner, outer = [
        _box(x, y, *pair, angle)
        if name == "box"
        else ("ellipse", (x, y, *pair, math.radians(angle)))
        for pair in (pairs[0], pairs[-1])
    ]
    return outer, inner if len(pairs) > 1 else None


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
    """Return the flags of shapes, (ny, nx); the excluded ones are taken away from all others.

    GeometryError if one covers no pixel.
    """
    dq, excluded = np.zeros(shape, np.uint32), np.zeros(shape, np.bool_)
    x, y = (np.arange(size, dtype=float) - by for size, by in zip(shape[::-1], shift, strict=True))
    for each in shapes:
        place = _bounds(each.outline, x, y)
        rows, columns = y[place[0]], x[place[1]]
        inside = _inside(each.outline, rows, columns)
        if each.hole is not None:
            inside &= ~_inside(each.hole, rows, columns)
        if not inside.any():
            raise GeometryError(
                f"{each.name} covers no pixel of the detector: no centre of a pixel lies inside it",
                where=path,
                hint=f"The detector has {shape[1]} × {shape[0]} pixels (x × y).",
            )
        if each.include:
            dq[place] |= inside * np.uint32(each.flags)
        else:
            excluded[place] |= inside
    dq[excluded] = 0
    return dq


def _bounds(outline: Outline, x: Floats, y: Floats) -> tuple[slice, slice]:
    """Return rows and columns that an outline can reach."""
    kind, numbers = outline
    if kind == "polygon":
        edges = [(min(each), max(each)) for each in (numbers[1::2], numbers[::2])]
    else:
        reach = max(numbers[2:4])
        edges = [(numbers[axis] - reach, numbers[axis] + reach) for axis in (1, 0)]
    rows, columns = (
        slice(*np.searchsorted(axis, each)) for axis, each in zip((y, x), edges, strict=True)
    )
    return rows, columns


def _inside(outline: Outline, rows: Floats, columns: Floats) -> Plane:
    """Return which of some pixels, in rows and columns, lie inside an outline."""
    kind, numbers = outline
    if kind == "polygon":
        return _inside_polygon(numbers, rows, columns)
    x, y, a, b, *angle = numbers
    dy = rows - y
    middle, half = np.full(len(dy), x), np.where(abs(dy) < b, a, 0)
    if kind == "ellipse":
        sine, cosine = math.sin(angle[0]), math.cos(angle[0])
        square = (cosine * b) ** 2 + (sine * a) ** 2
        middle = x + sine * cosine * (a**2 - b**2) / square * dy
        half = a * b / square * np.sqrt(np.maximum(square - dy**2, 0))
    inside: Plane = columns > (middle - half)[:, np.newaxis]
    return inside & (columns < (middle + half)[:, np.newaxis])


def _inside_polygon(numbers: Sequence[float], rows: Floats, columns: Floats) -> Plane:
    """Return which of some pixels lie inside a polygon: an odd number of edges is left of them."""
    crossed = np.zeros((len(rows), len(columns) + 1), np.bool_)
    corners = list(zip(numbers[::2], numbers[1::2], strict=True))
    for (x0, y0), (x1, y1) in itertools.pairwise([*corners, corners[0]]):
        # The lower end of an edge is part of it, the upper end is not.
        (along,) = np.nonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
        crossing = x0 + (rows[along] - y0) * (x1 - x0) / (y1 - y0)
        crossed[along, np.searchsorted(columns, crossing)] ^= True
    inside: Plane = np.logical_xor.accumulate(crossed, axis=1)[:, :-1]
    return inside
