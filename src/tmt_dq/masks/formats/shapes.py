"""Shapes of bad pixels (circles, ellipses, boxes, polygons, annuli, points), drawn as pixels.

A pixel belongs to a shape if its centre lies inside, not on, the outline; to a point, if the point
lies in the pixel. That is what astropy-regions' bitmaps show; those take the area of each shape's
bounding box, these the number of rows, which is what files with many or large shapes need.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import GeometryError, MaskFormatError

__all__ = ["Shape", "draw"]

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_ROWS = 500_000
"""Rows of pixels that are drawn at a time: bounds the memory, some tens of MB."""

_FAR = float(1 << 40)
"""Columns beyond this are all the same: off the detector, and still whole numbers."""

_LARGEST = 4
"""A shape may be so many times as large as the detector; a larger one has wrong units."""


class Shape(NamedTuple):
    """A shape, 0-based: (x, y) of its centre and half sizes, or the corners of a polygon."""

    name: str  # what it is and where in the file, for messages
    kind: str  # "point", "ellipse", "box" or "polygon"
    numbers: Sequence[float]  # x, y; of ellipses and boxes half width, half height, radians, too
    flags: int = 0
    hole: tuple[float, float] | None = None  # half sizes of the inner outline of an annulus
    include: bool = True


def draw(
    path: Path,
    shapes: Sequence[Shape],
    shift: tuple[int, int],
    shape: tuple[int, int],
    *,
    closed: bool = False,
) -> npt.NDArray[np.uint32]:
    """Return the flags of shapes, (ny, nx); the excluded ones are taken away from all others.

    With `closed`, centres on the outline are inside, as CFITSIO has it for FITS region tables.
    """
    dq = np.zeros(shape, np.uint32)
    groups: dict[tuple[bool, int], list[int]] = {}
    for number, each in enumerate(shapes):
        groups.setdefault((each.include, each.flags if each.include else 0), []).append(number)
    for (include, flags), numbers in sorted(groups.items(), reverse=True):
        chosen = [shapes[number] for number in numbers]
        covered = _covered(path, chosen, shift, shape, closed=closed)
        if include:
            np.bitwise_or(dq, np.uint32(flags), out=dq, where=covered)
        else:
            dq[covered] = 0
    return dq


def _covered(
    path: Path,
    shapes: Sequence[Shape],
    shift: tuple[int, int],
    shape: tuple[int, int],
    *,
    closed: bool,
) -> npt.NDArray[np.bool_]:
    """Return the pixels that any of the shapes covers.

    Each row of a shape adds 1 where it begins and takes 1 away where it ends; the running sum along
    a row is the number of shapes that cover a pixel.
    """
    steps = np.zeros((shape[0], shape[1] + 1), np.int32)
    flat = steps.reshape(-1)
    for part in _parts(path, shapes, shape):
        area = np.zeros(len(part))
        for owner, row, first, stop, weight in _rows(part, shift, shape, closed=closed):
            begin, end = np.clip(first, 0, shape[1]), np.clip(stop, 0, shape[1])
            area += weight * np.bincount(owner, np.maximum(end - begin, 0), len(part))
            filled = end > begin
            place = row[filled] * steps.shape[1]
            np.add.at(flat, place + begin[filled], np.int32(weight))
            np.add.at(flat, place + end[filled], np.int32(-weight))
        if not area.all():
            raise GeometryError(
                f"{part[int(np.argmin(area != 0))].name} covers no pixel of the detector: no "
                "centre of a pixel lies inside it",
                where=path,
                hint=f"The detector has {shape[1]} × {shape[0]} pixels (x × y).",
            )
    np.cumsum(steps, axis=1, out=steps)
    return steps[:, :-1] > 0


def _parts(
    path: Path, shapes: Sequence[Shape], shape: tuple[int, int]
) -> Iterator[Sequence[Shape]]:
    """Yield shapes with together not too many rows, after a look at their sizes."""
    first, rows = 0, 0.0
    for number, each in enumerate(shapes):
        height = _height(path, each, shape)
        if rows + height > _ROWS:
            yield shapes[first:number]
            first, rows = number, 0.0
        rows += height
    if first < len(shapes):
        yield shapes[first:]


def _height(path: Path, shape: Shape, detector: tuple[int, int]) -> float:
    if shape.kind == "point":
        return 1
    if shape.kind == "polygon":
        if len(shape.numbers) < 6:
            raise MaskFormatError(f"{shape.name} has fewer than three corners", where=path)
        ys = np.asarray(shape.numbers[1::2])
        size = float(np.ptp(shape.numbers[::2])), float(np.ptp(ys))
        rows = float(np.abs(np.diff(ys, append=ys[:1])).sum())
    else:
        size = 2 * shape.numbers[2], 2 * shape.numbers[3]
        rows = 2 * max(size) if shape.hole else max(size)
    if not math.isfinite(sum(shape.numbers)):
        raise MaskFormatError(f"{shape.name} has a number that is not finite", where=path)
    if max(size) > _LARGEST * max(detector):
        raise GeometryError(
            f"{shape.name} is {size[0]:g} × {size[1]:g} pixels (x × y), far larger than the "
            f"detector's {detector[1]} × {detector[0]}",
            where=path,
            hint="Check its units: lengths are in pixels.",
        )
    return rows + 1


Rows = tuple[Numbers, Numbers, Numbers, Numbers, int]
"""Number of the shape, row, first column, column after the last one, and what the rows count."""


def _rows(
    shapes: Sequence[Shape], shift: tuple[int, int], shape: tuple[int, int], *, closed: bool
) -> Iterator[Rows]:
    """Yield the rows of pixels inside shapes, on the detector."""
    points = [number for number, each in enumerate(shapes) if each.kind == "point"]
    if points:
        place = np.array([shapes[number].numbers for number in points]) + shift
        x, y = np.floor(np.clip(place, -1, 2**31) + 0.5).astype(np.int64).T
        inside = (y >= 0) & (y < shape[0])
        yield np.array(points)[inside], y[inside], x[inside], x[inside] + 1, 1
    for kind in ("ellipse", "box"):
        chosen = [number for number, each in enumerate(shapes) if each.kind == kind]
        holes = [number for number in chosen if shapes[number].hole]
        for numbers, weight in ((chosen, 1), (holes, -1)):
            if not numbers:
                continue
            table = np.array([shapes[number].numbers for number in numbers], np.float64)
            if weight < 0:
                table[:, 2:4] = [shapes[number].hole for number in numbers]
            table[:, :2] += shift
            on_outline = closed and weight > 0
            owner, row, first, stop = _convex_rows(
                table, shape[0], box=kind == "box", closed=on_outline
            )
            yield np.array(numbers)[owner], row, first, stop, weight
    for number, each in enumerate(shapes):
        if each.kind == "polygon":
            corners = np.asarray(each.numbers, np.float64).reshape(-1, 2) + shift
            row, first, stop = _polygon_rows(corners, shape[0])
            yield np.full(row.size, number), row, first, stop, 1


def _convex_rows(
    table: Floats, count: int, *, box: bool, closed: bool
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return the rows of ellipses or boxes with x, y, half width, half height, angle."""
    x, y, a, b, angle = table.T
    sine, cosine = np.sin(angle), np.cos(angle)
    height = a * abs(sine) + b * abs(cosine) if box else np.hypot(a * sine, b * cosine)
    low = np.clip(np.ceil(y - height), 0, count).astype(np.int64)
    rows = np.clip(np.floor(y + height) + 1, 0, count).astype(np.int64) - low
    rows = np.maximum(rows, 0)
    owner = np.repeat(np.arange(len(table)), rows)
    row = np.arange(owner.size) - np.repeat(np.cumsum(rows) - rows, rows) + low[owner]
    x, a, b, sine, cosine = (each[owner] for each in (x, a, b, sine, cosine))
    dy = row - y[owner]
    with np.errstate(divide="ignore", invalid="ignore"):
        if box:
            across = np.sort([(-a - sine * dy) / cosine, (a - sine * dy) / cosine], axis=0)
            along = np.sort([(cosine * dy - b) / sine, (cosine * dy + b) / sine], axis=0)
            left, right = np.fmax(across[0], along[0]), np.fmin(across[1], along[1])
        else:
            square = (cosine * b) ** 2 + (sine * a) ** 2
            middle = sine * cosine * (a**2 - b**2) * dy / square
            half = a * b * np.sqrt(np.maximum(square - dy**2, 0)) / square
            left, right = middle - half, middle + half

    def inside(column: Numbers) -> npt.NDArray[np.bool_]:
        dx = column - x
        u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
        below = np.less_equal if closed else np.less
        if box:
            return np.asarray(below(abs(u), a) & below(abs(v), b))
        return np.asarray(below((u * b) ** 2 + (v * a) ** 2, (a * b) ** 2))

    first = np.clip(np.floor(np.nan_to_num(x + left)) + 1, -_FAR, _FAR).astype(np.int64)
    stop = np.clip(np.ceil(np.nan_to_num(x + right)), -_FAR, _FAR).astype(np.int64)
    # The ends are rounded; the definition decides about the pixels next to them.
    first += np.where(inside(first - 1), -1, np.where(inside(first), 0, 1))
    stop += np.where(inside(stop), 1, np.where(inside(stop - 1), 0, -1))
    return owner, row, first, np.where(inside(first), stop, first)


def _polygon_rows(corners: Floats, count: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return the rows of a polygon, by the rule of even and odd crossings of its edges."""
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    low = np.clip(np.ceil(np.minimum(y0, y1)), 0, count).astype(np.int64)
    rows = np.clip(np.ceil(np.maximum(y0, y1)), 0, count).astype(np.int64) - low
    edge = np.repeat(np.arange(len(corners)), rows)
    row = np.arange(edge.size) - np.repeat(np.cumsum(rows) - rows, rows) + low[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = x0[edge] + (row - y0[edge]) * slope
    order = np.lexsort((crossing, row))
    crossing = np.clip(np.ceil(crossing[order]), -_FAR, _FAR).astype(np.int64)
    row = row[order]
    return row[::2], crossing[::2], crossing[1::2]
