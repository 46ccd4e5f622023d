"""Parts of a detector and what is bad in them: quadrants, channels, rows, columns, clusters."""

from dataclasses import dataclass

import numpy as np

from tmt_dq.core.clusters import Clusters
from tmt_dq.core.counts import Planes
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError
from tmt_dq.tables import number

_SIZES = (1, 2, 3, 5, 10, 25, 100, 1000)


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the detector; `defects` and `do_not_use` count pixels that can see light."""

    name: str
    place: str  # in FITS terms, 1-based, both ends included
    pixels: int  # that can see light
    flagged: int  # with any flag, reference pixels included
    defects: int
    do_not_use: int
    fraction: float  # defects per pixel that can see light


@dataclass(frozen=True, slots=True)
class BadLine:
    """A row or column, counted from 1, in which many of the pixels that see light are defects."""

    position: int
    defects: int
    fraction: float


@dataclass(frozen=True, slots=True)
class ClusterSizes:
    """Clusters of `smallest` to `largest` pixels (None: no limit), and the pixels in them."""

    smallest: int
    largest: int | None
    clusters: int
    pixels: int

    @property
    def label(self) -> str:
        """The sizes in words: "1", "3–4", "≥ 1,000"."""
        if self.largest is None:
            return f"≥ {number(self.smallest)}"
        if self.smallest == self.largest:
            return number(self.smallest)
        return f"{number(self.smallest)}–{number(self.largest)}"


@dataclass(frozen=True, slots=True)
class LargeCluster:
    """A cluster and the smallest rectangle around it, its lower left corner counted from 1."""

    pixels: int
    x: int
    y: int
    width: int
    height: int


def quadrants(frame: Window) -> list[tuple[str, Window]]:
    """Return the quadrants of a detector; the middle row and column of odd ones are upper right."""
    y, x = frame.ny // 2, frame.nx // 2
    return [
        ("lower left", Window(0, 0, y, x)),
        ("lower right", Window(0, x, y, frame.nx - x)),
        ("upper left", Window(y, 0, frame.ny - y, x)),
        ("upper right", Window(y, x, frame.ny - y, frame.nx - x)),
    ]


def channels(frame: Window, count: int, *, along_y: bool) -> list[tuple[str, Window]]:
    """Return the readout channels: stripes of equal width across the fast axis (y if `along_y`)."""
    length = frame.ny if along_y else frame.nx
    if count < 1 or length % count:
        raise ConfigError(
            f"{count} readout channels do not divide the {length} pixels of the fast axis evenly",
            where="channels",
            hint="Give the number of channels of this detector: --channels N (channels=N).",
        )
    width = length // count
    stripes = [
        Window(first, 0, width, frame.nx) if along_y else Window(0, first, frame.ny, width)
        for first in range(0, length, width)
    ]
    return [(f"channel {place}", stripe) for place, stripe in enumerate(stripes, start=1)]


def measure(window: Window, planes: Planes, parts: list[tuple[str, Window]]) -> tuple[Area, ...]:
    """Count the pixels of each part; parts outside the window of the planes are left out."""
    areas = []
    for name, part in parts:
        common = intersection(part, window)
        if common is None:
            continue
        cut = common.slices(window)
        pixels, flagged, defects, do_not_use = (
            int(np.count_nonzero(plane[cut]))
            for plane in (planes.sky, planes.flagged, planes.defects, planes.do_not_use)
        )
        share = defects / pixels if pixels else 0.0
        areas.append(Area(name, common.describe(), pixels, flagged, defects, do_not_use, share))
    return tuple(areas)


def bad_lines(planes: Planes, *, axis: int, first: int, fraction: float) -> tuple[BadLine, ...]:
    """Return the rows (`axis` 1) or columns (`axis` 0) with at least `fraction` defects.

    `first` is the 1-based detector position of the first one.
    """
    defects = np.count_nonzero(planes.defects, axis=axis)
    pixels = np.count_nonzero(planes.sky, axis=axis)
    shares = defects / np.maximum(pixels, 1)
    return tuple(
        BadLine(first + int(line), int(defects[line]), float(shares[line]))
        for line in np.flatnonzero((shares >= fraction) & (defects > 0))
    )


def intersection(a: Window, b: Window) -> Window | None:
    """Return the pixels that two windows have in common, None if there are none."""
    y, x = max(a.y, b.y), max(a.x, b.x)
    ny = min(a.y + a.ny, b.y + b.ny) - y
    nx = min(a.x + a.nx, b.x + b.nx) - x
    return Window(y, x, ny, nx) if ny > 0 and nx > 0 else None


def around(y: int, x: int, side: int, frame: Window) -> Window:
    """Return a square with a pixel (0-based) in its middle, moved and cut to be in a window."""
    ny, nx = min(side, frame.ny), min(side, frame.nx)
    first_y = min(max(frame.y, y - ny // 2), frame.y + frame.ny - ny)
    first_x = min(max(frame.x, x - nx // 2), frame.x + frame.nx - nx)
    return Window(first_y, first_x, ny, nx)


def cluster_sizes(clusters: Clusters) -> tuple[ClusterSizes, ...]:
    """Count clusters in classes of size; classes without any are left out."""
    place = np.searchsorted(_SIZES, clusters.size, side="right") - 1
    count = np.bincount(place, minlength=len(_SIZES))
    pixels = np.bincount(place, weights=clusters.size, minlength=len(_SIZES))
    limits: list[int | None] = [larger - 1 for larger in _SIZES[1:]]
    return tuple(
        ClusterSizes(smallest, largest, int(n), int(size))
        for smallest, largest, n, size in zip(_SIZES, [*limits, None], count, pixels, strict=True)
        if n
    )


def largest_clusters(clusters: Clusters, window: Window, most: int) -> tuple[LargeCluster, ...]:
    """Return the `most` largest clusters, largest first."""
    bounds = clusters.bounds
    # Of equal sizes the first: lower rows, then columns further left.
    order = np.argsort(-clusters.size, kind="stable")[:most]
    return tuple(
        LargeCluster(
            pixels=int(clusters.size[place]),
            x=int(bounds.x[place]) + window.xstart,
            y=int(bounds.y[place]) + window.ystart,
            width=int(bounds.nx[place]),
            height=int(bounds.ny[place]),
        )
        for place in order
    )
