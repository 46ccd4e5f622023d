"""Panels of pictures: maps, densities, bars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window

__all__ = ["CELLS", "draw_bars", "draw_classes", "draw_columns", "draw_counts", "draw_density"]

CELLS = 256
"""At most so many cells a side: each must be at least one pixel of the picture."""

_COARSE_CELLS = 64
_SLOTS = 6
"""Bars get at least so many places, so that a single one does not fill the axis."""
_COLOUR = "#7b2d8b"


def _cells(values: npt.NDArray[Any], cell: int, fill: float = 0) -> npt.NDArray[Any]:
    """Return an image as (rows, cell, columns, cell), filled up at its upper and right edges."""
    ny, nx = values.shape
    rows, columns = -(-ny // cell), -(-nx // cell)
    whole = values
    if (rows * cell, columns * cell) != values.shape:
        whole = np.full((rows * cell, columns * cell), fill, values.dtype)
        whole[:ny, :nx] = values
    return whole.reshape(rows, cell, columns, cell)


def _show(axes: Any, image: npt.NDArray[Any], window: Window, cell: int, **options: Any) -> Any:
    # FITS pixels count from 1 and pixel 1 reaches from 0.5 to 1.5.
    x, y = window.x + 0.5, window.y + 0.5
    extent = (x, x + image.shape[1] * cell, y, y + image.shape[0] * cell)
    shown = axes.imshow(image, origin="lower", extent=extent, interpolation="nearest", **options)
    # Room around the image: the axes' own lines would hide the first and last pixels.
    margin = max(window.nx, window.ny) / 100
    axes.set_xlim(x - margin, x + window.nx + margin)
    axes.set_ylim(y - margin, y + window.ny + margin)
    axes.set_xlabel("x (pixel)")
    axes.set_ylabel("y (pixel)")
    return shown


def draw_classes(
    axes: Any,
    classes: npt.NDArray[np.uint8],
    window: Window,
    names: Sequence[tuple[str, str]],
    *,
    title: str,
    cells: int = CELLS,
) -> None:
    """Draw a map of classes of pixels, at most `cells` cells a side: pixels would not be seen.

    Class 0 is nothing, class 1, 2, … have the name and colour in `names`; of several classes in a
    cell the highest is shown.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    cell = max(1, -(-max(classes.shape) // cells))
    # The inner axis first: half of the bytes are gone when the outer one is looked at.
    highest = _cells(classes, cell).max(axis=1).max(axis=2)
    colours = ListedColormap(["white", *(colour for _, colour in names)])
    _show(axes, highest, window, cell, cmap=colours, vmin=-0.5, vmax=len(names) + 0.5)
    axes.set_title(f"{title}, in cells of {cell} × {cell} pixels" if cell > 1 else title)
    patches = [
        Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=name)
        for place, (name, colour) in enumerate(names, start=1)
        if (highest == place).any()
    ]
    if len(names) > 1 and patches:
        axes.legend(
            handles=patches,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.11),
            ncols=len(patches),
            fontsize=8,
            frameon=False,
        )


def draw_density(
    axes: Any, marked: npt.NDArray[np.bool_], valid: npt.NDArray[np.bool_], window: Window
) -> None:
    """Draw the share of marked pixels among the valid ones, in per cent."""
    cell = max(1, -(-max(marked.shape) // _COARSE_CELLS))
    count = np.count_nonzero(_cells(marked, cell), axis=(1, 3))
    among = np.count_nonzero(_cells(valid, cell), axis=(1, 3))
    percent = np.ma.masked_array(100 * count / np.maximum(among, 1), mask=among == 0)
    highest = float(percent.max()) if percent.count() else 0.0
    shown = _show(axes, percent, window, cell, cmap="viridis", vmin=0, vmax=highest or 1)
    axes.figure.colorbar(shown, ax=axes, label="defects (%)", shrink=0.85)
    axes.set_title(f"density, in cells of {cell} × {cell} pixels")


def draw_counts(axes: Any, counts: Mapping[str, int], title: str) -> None:
    """Draw a horizontal bar for each flag, on a logarithmic scale."""
    draw_bars(axes, list(counts), [("", _COLOUR, list(counts.values()))], title)


def draw_bars(
    axes: Any, names: Sequence[str], series: Sequence[tuple[str, str, Sequence[int]]], title: str
) -> None:
    """Draw horizontal bars of numbers of pixels, on a logarithmic scale.

    `names` is what is counted, the first on top; `series` has name, colour and numbers of each set.
    """
    slots = max(len(names), _SLOTS)
    height = 0.8 / len(series)
    for index, (label, colour, values) in enumerate(series):
        places = [
            slots - 1 - place - (index - (len(series) - 1) / 2) * height
            for place in range(len(names))
        ]
        axes.barh(places, values, height=height * 0.9, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            axes.annotate(f" {value:,}", (max(value, 0.8), place), va="center", fontsize=8)
    axes.set_yticks([slots - 1 - place for place in range(len(names))], names, fontsize=8)
    axes.set_ylim(-0.6, slots - 0.4)
    axes.set_xscale("log")
    axes.set_xlim(0.8, max([10, *(value for _, _, values in series for value in values)]) * 30)
    axes.set_xlabel("pixels")
    axes.set_title(title)
    if len(series) > 1:
        axes.legend(loc="lower right", fontsize=8)


def draw_columns(
    axes: Any, names: Sequence[str], values: Sequence[float], *, title: str, ylabel: str, log: bool
) -> None:
    """Draw upright bars; their numbers stand above them if there are few."""
    places = range(len(names))
    step = max(1, -(-len(names) // 8))
    axes.bar(places, values, color=_COLOUR, width=0.8)
    # The names of many areas are numbers: every fourth says enough.
    axes.set_xticks(places[::step], names[::step], fontsize=7)
    axes.set_xlim(-0.7, max(len(names), _SLOTS) - 0.3)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(0.5, max([10, *values]) * 3)
        for place, value in zip(places, values, strict=True):
            axes.annotate(f"{value:,.0f}", (place, value), ha="center", va="bottom", fontsize=8)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
