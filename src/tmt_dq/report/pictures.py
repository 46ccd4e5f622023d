"""Pictures of flags, of a summary, of a difference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import Planes
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.report import panels
from tmt_dq.report.figures import new_figure, save_figure

__all__ = ["difference_figure", "draw_flags", "summary_figure"]

_FEW = 2000
_FLAGGED = (("flagged", "#3b0f70"),)
_CLASSES = (
    ("reference or non-science", "#9bb8d3"),
    ("defect", "#f0a030"),
    ("defect with DO_NOT_USE", "#8c1d40"),
)
_CHANGES = (("changed", "#f0a030"), ("lost", "#2166ac"), ("gained", "#b2182b"))


def draw_flags(
    path: Path,
    dq: npt.NDArray[np.uint32],
    *,
    title: str,
    corner: int = 24,
    overwrite: bool = False,
) -> Path:
    """Draw where pixels are flagged, `corner` pixels of the first corner in detail, and counts."""
    counts = PIXEL.count(dq)
    good = counts.pop("GOOD")
    figure = new_figure(13, 4.8, title)
    frame, detail, bars = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    flagged = (dq != 0).view(np.uint8)
    panels.draw_classes(frame, flagged, Window.full(*dq.shape), _FLAGGED, title="flagged")
    first = flagged[:corner, :corner]
    panels.draw_classes(
        detail,
        first,
        Window.full(*first.shape),
        _FLAGGED,
        title=f"the first {first.shape[1]} × {first.shape[0]} pixels",
    )
    panels.draw_counts(bars, counts, f"flags of {dq.size:,} pixels, {good:,} good")
    return save_figure(figure, path, overwrite=overwrite)


def summary_figure(
    planes: Planes,
    window: Window,
    *,
    title: str,
    flags: Mapping[str, int],
    shares: Mapping[str, float],
    areas: str,
    sizes: Mapping[str, int],
) -> Any:
    """Return the picture of a mask: map, density, flags, areas and sizes of clusters.

    `flags` holds pixels per flag, `shares` the share of defects in each of the `areas` (a word:
    "quadrant"), `sizes` the number of clusters by size.
    """
    figure = new_figure(12.5, 9.5, title)
    grid = figure.add_gridspec(2, 6, height_ratios=(1.5, 1))
    classes = (planes.flagged & ~planes.sky).view(np.uint8)
    classes[planes.defects] = 2
    classes[planes.do_not_use & planes.defects] = 3
    panels.draw_classes(
        figure.add_subplot(grid[0, :3]),
        classes,
        window,
        _CLASSES,
        title="flagged pixels",
        cells=512,
    )
    panels.draw_density(figure.add_subplot(grid[0, 3:]), planes.defects, planes.sky, window)
    panels.draw_counts(figure.add_subplot(grid[1, :2]), flags, "flags")
    panels.draw_columns(
        figure.add_subplot(grid[1, 2:4]),
        list(shares),
        [100 * share for share in shares.values()],
        title=f"defects by {areas}",
        ylabel="defects (%)",
        log=False,
    )
    panels.draw_columns(
        figure.add_subplot(grid[1, 4:]),
        list(sizes),
        list(sizes.values()),
        title="clusters of defects by size (pixels)",
        ylabel="clusters",
        log=True,
    )
    return figure


def difference_figure(
    classes: npt.NDArray[np.uint8],
    window: Window,
    *,
    title: str,
    names: Sequence[str],
    gained: Sequence[int],
    lost: Sequence[int],
) -> Any:
    """Return the picture of a difference: where pixels changed, and how many per flag.

    `classes` is 1 where a flagged pixel has other flags, 2 where it became good, 3 where it became
    flagged; `gained` and `lost` count pixels for each of the flags `names`.
    """
    figure = new_figure(12, 6, title)
    place, bars = figure.subplots(1, 2, width_ratios=(1.15, 1))
    # A few pixels need large cells to be seen, many need small ones to be distinguished.
    cells = 512 if np.count_nonzero(classes) > _FEW else 128
    panels.draw_classes(place, classes, window, _CHANGES, title="pixels that differ", cells=cells)
    series = [("gained", _CHANGES[2][1], gained), ("lost", _CHANGES[1][1], lost)]
    panels.draw_bars(bars, names, series, "pixels that gained or lost a flag")
    return figure
