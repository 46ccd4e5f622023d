"""Maps of a detector: cells of whole pixels, whose ink grows with the share that is flagged."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.report.colours import Classes
from tmt_dq.report.figures import add_panel

__all__ = ["POWER", "SPARSE", "draw_density", "draw_map", "grid", "mark_lines", "shade"]

POWER = 0.3
"""Ink is the share of flagged pixels to this power: one of 2 × 2 has 66 %, one of 8 × 8 29 %."""

_DENSITY_CELLS = 64
SPARSE = (0.003, 0.0003)
"""Shares of dots with ink below which dots are enlarged."""


def grid(window: Window, size: int, cells: int | None = None) -> tuple[int, int]:
    """Return detector pixels a cell, and screen pixels a cell, of a map of at most `size`."""
    longest = max(window.shape)
    cell = -(-longest // (cells or size))
    return cell, max(1, size // -(-longest // cell))


def shade(classes: Classes, cell: int) -> npt.NDArray[np.float64]:
    """Return a picture, (rows, columns, 4) of 0 to 1, of classes of pixels in cells.

    A cell has the mean colour of its flagged pixels. Each flagged pixel is seen, and only a cell
    of which all pixels are flagged is opaque.
    """
    from matplotlib.colors import to_rgb

    places = range(1, len(classes.names) + 1)
    counts = [_total(classes.pixels == place, cell) for place in places]
    area = _total(np.ones(classes.pixels.shape, np.bool_), cell)
    total = np.sum([np.zeros(area.shape), *counts], axis=0)
    image = np.zeros((*total.shape, 4))
    for count, name in zip(counts, classes.colours, strict=True):
        image[..., :3] += (count / np.maximum(total, 1))[..., None] * np.array(to_rgb(name))
    image[..., 3] = (total / area) ** POWER
    return image


def draw_map(
    figure: Any,
    place: tuple[float, float],
    size: int,
    classes: Classes,
    window: Window,
    *,
    title: str,
    signal: npt.NDArray[np.float64] | None = None,
) -> Any:
    """Draw classes of pixels with the upper left corner at `place`, at most `size` pixels a side.

    `window` is where on the detector the pixels are. Under them, in grey, is the `signal`, 0 to 1.
    """
    cell, screen = grid(window, size)
    image = shade(classes, cell)
    axes = add_panel(figure, *place, image.shape[1] * screen, image.shape[0] * screen)
    if signal is not None:
        grey = _total(signal, cell) / _total(np.ones(signal.shape), cell)
        # Few levels of grey: noise would make the file large.
        _show(axes, np.round(32 * grey) / 32, window, cell, cmap="gray", vmin=0, vmax=1)
    _show(axes, _spread(image) if cell > 1 else image, window, cell)
    if cell > 1:
        title = f"{title}, {cell} × {cell} pixels a dot"
    axes.set_title(title, fontsize=10, loc="left")
    return axes


def _spread(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Enlarge the dots of a map to 3 × 3 or 5 × 5 where they are so few that they would be lost."""
    ink = image[..., 3]
    y, x = np.nonzero(ink)
    reach = sum(y.size < limit * ink.size for limit in SPARSE)
    if reach == 0:
        return image
    spread = image.copy()
    # The one with most ink last: it stays on top.
    for place in np.argsort(ink[y, x], kind="stable"):
        rows = slice(max(0, y[place] - reach), y[place] + reach + 1)
        columns = slice(max(0, x[place] - reach), x[place] + reach + 1)
        spread[rows, columns] = image[y[place], x[place]]
    return spread


def mark_lines(axes: Any, columns: Sequence[int], rows: Sequence[int]) -> None:
    """Point at bad columns from the upper edge and at bad rows from the right, with numbers."""
    if columns:
        axes.set_title(axes.get_title("left"), fontsize=10, loc="left", pad=34)
    for lines, transform, shape, offset, turned in (
        (columns, axes.get_xaxis_transform(), "v", (0, 5), True),
        (rows, axes.get_yaxis_transform(), "<", (5, 0), False),
    ):
        places = [(line, 1) if turned else (1, line) for line in lines]
        named = set(_apart(lines, np.ptp(axes.get_xlim() if turned else axes.get_ylim())))
        for line, place in zip(lines, places, strict=True):
            style = {"markersize": 4, "clip_on": False, "color": "black"}
            axes.plot(*place, shape, transform=transform + _points(axes, *offset), **style)
            if line in named:
                axes.annotate(
                    line,
                    place,
                    xycoords=transform,
                    xytext=(offset[0] * 2, offset[1] * 2),
                    textcoords="offset points",
                    rotation=90 if turned else 0,
                    ha="center" if turned else "left",
                    va="bottom" if turned else "center",
                    fontsize=8,
                )


def _points(axes: Any, x: float, y: float) -> Any:
    """Return a shift by this many points."""
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(x / 72, y / 72, axes.figure.dpi_scale_trans)


def _apart(lines: Sequence[int], length: float) -> Iterator[int]:
    """Yield the lines whose numbers do not cover each other."""
    last = -length
    for line in lines:
        if line - last > length / 60:
            yield line
            last = line


def draw_density(
    figure: Any,
    place: tuple[float, float],
    size: int,
    marked: npt.NDArray[np.bool_],
    valid: npt.NDArray[np.bool_],
    window: Window,
) -> Any:
    """Draw the share of marked pixels among the valid ones, in per cent, on a logarithmic scale."""
    from matplotlib.colors import LogNorm

    cell, screen = grid(window, size, _DENSITY_CELLS)
    count, among = _total(marked, cell), _total(valid, cell)
    percent = np.ma.masked_array(100 * count / np.maximum(among, 1), mask=count == 0)
    lowest, highest = float(percent.min()), float(percent.max())
    axes = add_panel(figure, *place, count.shape[1] * screen, count.shape[0] * screen)
    scale = LogNorm(lowest, max(highest, 1.01 * lowest))
    shown = _show(axes, percent, window, cell, cmap="viridis_r", norm=scale)
    bar = add_panel(figure, place[0] + count.shape[1] * screen + 24, place[1], 20, size)
    ticks = np.unique(np.geomspace(lowest, highest, 3))
    colours = axes.figure.colorbar(shown, cax=bar, ticks=ticks, format="%.2g")
    colours.ax.minorticks_off()
    axes.set_title(f"defects, % of {cell} × {cell} pixels", fontsize=10, loc="left")
    return axes


def _total(plane: npt.NDArray[Any], cell: int) -> npt.NDArray[np.float64]:
    """Sum up an image in cells; those at the upper and right edges may be smaller."""
    ny, nx = plane.shape
    rows, columns = -(-ny // cell), -(-nx // cell)
    if (rows * cell, columns * cell) != plane.shape:
        plane = np.pad(plane, ((0, rows * cell - ny), (0, columns * cell - nx)))
    # Rows first: sums along whole rows are fast, and few numbers are left for the columns.
    thin = plane.reshape(rows, cell, -1).sum(axis=1, dtype=np.float32)
    total: npt.NDArray[np.float64] = thin.reshape(rows, columns, cell).sum(axis=2, dtype=np.float64)
    return total


def _show(axes: Any, image: npt.NDArray[Any], window: Window, cell: int, **options: Any) -> Any:
    # FITS pixels count from 1 and pixel 1 reaches from 0.5 to 1.5.
    x, y = window.x + 0.5, window.y + 0.5
    extent = (x, x + image.shape[1] * cell, y, y + image.shape[0] * cell)
    shown = axes.imshow(
        image, origin="lower", extent=extent, interpolation="none", aspect="auto", **options
    )
    # The frame is drawn outside of the image: it would hide the first and last pixels.
    axes.spines[:].set_position(("outward", 2))
    axes.set(xlabel="x (detector pixel)", ylabel="y (detector pixel)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    return shown
