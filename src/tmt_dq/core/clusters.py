"""Connected groups of pixels, found from the runs of their rows.

A run is a stretch of neighbouring True pixels in one row. There are as many runs as there are
isolated bad pixels, not as many as pixels: one percent of a 4096 x 4096 frame takes 0.05 s, and no
array of labels as large as the frame is needed. Runs are also what DS9 boxes are made of.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Boxes", "Clusters", "Connectivity", "Runs", "find_clusters", "find_runs", "merge_runs"]

Integers = npt.NDArray[np.int64]
Connectivity = Literal[4, 8]
"""Which pixels are neighbours: 4 share an edge, 8 share an edge or a corner."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Stretches of True pixels, row by row from the first, left to right.

    Parameters
    ----------
    y : ndarray of int64, (n,)
        0-based row of each run.
    x, end : ndarray of int64, (n,)
        0-based first column, and the column after the last.
    shape : tuple of int
        Rows and columns of the image.
    """

    y: Integers
    x: Integers
    end: Integers
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Rectangles of pixels.

    Parameters
    ----------
    y, x : ndarray of int64, (n,)
        0-based first row and column.
    ny, nx : ndarray of int64, (n,)
        Rows and columns.
    """

    y: Integers
    x: Integers
    ny: Integers
    nx: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Connected groups of pixels.

    Parameters
    ----------
    size : ndarray of int64, (n,)
        Pixels of each.
    bounds : Boxes
        The smallest rectangle around each.
    """

    size: Integers
    bounds: Boxes


def find_runs(flagged: npt.NDArray[np.bool_]) -> Runs:
    """Return the runs of an image.

    Parameters
    ----------
    flagged : ndarray of bool, (ny, nx)
        The image; not modified.

    Returns
    -------
    Runs
        Its runs.

    Examples
    --------
    >>> runs = find_runs(np.array([[True, True, False, True]]))
    >>> runs.x, runs.end
    (array([0, 3]), array([2, 4]))
    """
    ny, nx = flagged.shape
    # A False pixel on either side of each row keeps runs from crossing to the next.
    width = nx + 2
    fenced = np.zeros((ny, width), np.bool_)
    fenced[:, 1:-1] = flagged
    line = fenced.reshape(-1)
    edges = np.flatnonzero(line[1:] != line[:-1])
    y, x = np.divmod(edges[::2], width)
    return Runs(y, x, edges[1::2] - y * width, (ny, nx))


def find_clusters(runs: Runs, *, connectivity: Connectivity = 8) -> Clusters:
    """Join runs to connected groups.

    Parameters
    ----------
    runs : Runs
        From `find_runs`.
    connectivity : {8, 4}
        Which pixels are neighbours. 8 is what photutils and SExtractor use by default.

    Returns
    -------
    Clusters
        The groups, in the order of their first runs.

    Notes
    -----
    Each round hooks every group's first run to the smallest one that it touches, and shortens the
    chains (label equivalence with pointer jumping). Dense random images of 4096 x 4096 take 1.2 s,
    a chequerboard 2.5 s.
    """
    parent = _join(*_touching(runs, reach=1 if connectivity == 8 else 0), runs.y.size)
    first = np.flatnonzero(parent == np.arange(parent.size))
    number = np.empty(parent.size, np.int64)
    number[first] = np.arange(first.size)
    group = number[parent]
    # Sums of at most 2^53 pixels are exact in float64.
    size = np.bincount(group, weights=runs.end - runs.x, minlength=first.size).astype(np.int64)
    # A group's first run is in its lowest row, because runs are in the order of rows.
    y, top = runs.y[first], runs.y[first]
    x, end = runs.x[first], runs.end[first]
    np.maximum.at(top, group, runs.y)
    np.minimum.at(x, group, runs.x)
    np.maximum.at(end, group, runs.end)
    return Clusters(size, Boxes(y, x, top - y + 1, end - x))


def merge_runs(runs: Runs) -> Boxes:
    """Cover the pixels of runs with boxes: equal runs in consecutive rows become one.

    Parameters
    ----------
    runs : Runs
        From `find_runs`.

    Returns
    -------
    Boxes
        Boxes that do not overlap and hold exactly the pixels of the runs.
    """
    order = np.lexsort((runs.y, runs.end, runs.x))
    y, x, end = runs.y[order], runs.x[order], runs.end[order]
    starts = np.ones(y.size, np.bool_)
    starts[1:] = (x[1:] != x[:-1]) | (end[1:] != end[:-1]) | (y[1:] != y[:-1] + 1)
    first = np.flatnonzero(starts)
    rows = np.diff(np.append(first, y.size))
    return Boxes(y[first], x[first], rows, end[first] - x[first])


def _touching(runs: Runs, *, reach: int) -> tuple[Integers, Integers]:
    """Return the pairs of runs in consecutive rows that touch; `reach` 1 lets corners count."""
    width = runs.shape[1] + 2
    start, end = runs.y * width + runs.x, runs.y * width + runs.end
    # In the next row, those that end after this one begins and begin before it ends.
    low = np.searchsorted(end, start + width - reach, side="right")
    high = np.searchsorted(start, end + width + reach, side="left")
    count = np.maximum(high - low, 0)
    below = np.repeat(np.arange(count.size), count)
    skipped = np.repeat(np.cumsum(count) - count, count)
    return below, np.repeat(low, count) + np.arange(below.size) - skipped


def _join(a: Integers, b: Integers, count: int) -> Integers:
    """Return, for each of `count` things, the smallest one that pairs connect it with."""
    parent = np.arange(count)
    while True:
        a, b = parent[a], parent[b]
        apart = a != b
        if not apart.any():
            return parent
        a, b = np.minimum(a[apart], b[apart]), np.maximum(a[apart], b[apart])
        np.minimum.at(parent, b, a)
        while True:
            shorter = parent[parent]
            if np.array_equal(shorter, parent):
                break
            parent = shorter
