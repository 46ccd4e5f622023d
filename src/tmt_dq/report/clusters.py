"""Clusters of defects: how many of which size, and the largest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmt_dq.core.clusters import Clusters
from tmt_dq.core.geometry import Window
from tmt_dq.tables import Table, number

__all__ = [
    "ClusterSizes",
    "LargeCluster",
    "cluster_sizes",
    "largest_clusters",
    "largest_table",
    "size_table",
]

_LARGEST = 10
"""How many clusters are listed one by one."""

_SIZES = (1, 2, 3, 5, 10, 25, 100, 1000)


@dataclass(frozen=True, slots=True)
class ClusterSizes:
    """Clusters of similar size.

    Attributes
    ----------
    smallest, largest : int
        Pixels; `largest` is None where there is no limit.
    clusters, pixels : int
        How many clusters, and pixels in them.
    """

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
    """One cluster.

    Attributes
    ----------
    pixels : int
        Its size.
    x, y : int
        1-based detector position of the lower left corner of the smallest rectangle around it.
    width, height : int
        Columns and rows of that rectangle.
    """

    pixels: int
    x: int
    y: int
    width: int
    height: int


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


def largest_clusters(clusters: Clusters, window: Window) -> tuple[LargeCluster, ...]:
    """Return the largest clusters of more than one pixel, largest first."""
    bounds = clusters.bounds
    # Of equal sizes the first: lower rows, then columns further left.
    order = np.argsort(-clusters.size, kind="stable")[:_LARGEST]
    return tuple(
        LargeCluster(
            pixels=int(clusters.size[place]),
            x=int(bounds.x[place]) + window.xstart,
            y=int(bounds.y[place]) + window.ystart,
            width=int(bounds.nx[place]),
            height=int(bounds.ny[place]),
        )
        for place in order
        if clusters.size[place] > 1
    )


def size_table(sizes: Sequence[ClusterSizes], *, clusters: int, connectivity: int) -> Table:
    """Return the classes of size as a table."""
    title = f"Clusters of defects ({connectivity} neighbours): {number(clusters)}"
    rows = [(size.label, size.clusters, size.pixels) for size in sizes]
    return Table.of(title, ("size", "clusters", "pixels"), rows, [0])


def largest_table(clusters: Sequence[LargeCluster]) -> Table:
    """Return the largest clusters as a table."""
    rows = [(one.pixels, str(one.x), str(one.y), one.width, one.height) for one in clusters]
    header = ("pixels", "x", "y", "width", "height")
    return Table.of("Largest clusters (1-based detector pixels)", header, rows, range(5))
