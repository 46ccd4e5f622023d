"""Maps of a detector: dots of whole pixels, whose ink grows with the share that is flagged."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.cells import totals
from tmt_dq.core.counts import Planes
from tmt_dq.core.geometry import Window
from tmt_dq.report.colours import Classes
from tmt_dq.report.figures import add_panel
from tmt_dq.report.parts import BadLine

POWER = 0.3
"""Ink is the share of flagged pixels to this power: one of 2 × 2 has 66 %, one of 8 × 8 29 %."""

SPARSE = (0.003, 0.0003)
"""Shares of dots with ink below which dots are enlarged."""

_DENSITY_CELLS = 64


def shade(classes: Classes, cell: int) -> npt.NDArray[np.float64]:
    """Return a picture, (rows, columns, 4) of 0 to 1, of classes of pixels in cells.

    A cell has the mean colour of its flagged pixels. Each flagged pixel is seen, and only a cell
    of which all pixels are flagged is opaque.
    """
    from matplotlib.colors import to_rgb

    area = totals(np.ones(classes.pixels.shape, np.bool_), cell)
    total = totals(classes.pixels != 0, cell)
    image = np.zeros((*total.shape, 4))
    for place, name in enumerate(classes.colours, start=1):
        share = totals(classes.pixels == place, cell) / np.maximum(total, 1)
        image[..., :3] += share[..., None] * np.array(to_rgb(name))
    image[..., 3] = (total / area) ** POWER
    return image


def draw_map(
    figure: Any,
    place: tuple[float, float],
    size: int,
    classes: Classes,
    *,
    title: str,
    signal: npt.NDArray[np.float64] | None = None,
) -> Any:
    """Draw classes of pixels with the upper left corner at `place`, at most `size` pixels a side.

    Under them, in grey, is the `signal`, 0 to 1.
    """
    cell, screen = _grid(classes.window, size, size)
    image = shade(classes, cell)
    axes = add_panel(figure, place, image.shape[1] * screen, image.shape[0] * screen)
    if signal is not None:
        grey = totals(signal, cell) / totals(np.ones(signal.shape), cell)
        # Few levels of grey: noise would make the file large.
        _show(axes, np.round(32 * grey) / 32, classes.window, cell, cmap="gray", vmin=0, vmax=1)
    _show(axes, _spread(image) if cell > 1 else image, classes.window, cell)
    dots = f", {cell} × {cell} pixels a dot" if cell > 1 else ""
    axes.set_title(title + dots, fontsize=10, loc="left")
    return axes


def mark_lines(axes: Any, columns: Sequence[BadLine], rows: Sequence[BadLine]) -> None:
    """Point at bad columns from the upper edge and at bad rows from the right, with numbers."""
    if columns:
        axes.set_title(axes.get_title("left"), fontsize=10, loc="left", pad=40)
    style = {"ha": "center", "va": "center", "fontsize": 8, "textcoords": "offset points"}
    style |= {"arrowprops": {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}}
    across, up = axes.get_xaxis_transform(), axes.get_yaxis_transform()
    for line in _apart(columns, float(np.ptp(axes.get_xlim()))):
        axes.annotate(line, (line, 1), xycoords=across, xytext=(0, 24), rotation=90, **style)
    for line in _apart(rows, float(np.ptp(axes.get_ylim()))):
        axes.annotate(line, (1, line), xycoords=up, xytext=(24, 0), **style)


def _apart(lines: Sequence[BadLine], length: float) -> Iterator[int]:
    """Yield the lines whose numbers do not cover each other."""
    last = -length
    for line in lines:
        if line.position - last > length / 80:
            last = line.position
            yield line.position


def outline(axes: Any, window: Window, **style: Any) -> None:
    """Draw the edges of a window of detector pixels."""
    x, y = window.x + 0.5, window.y + 0.5
    corners = [x, x + window.nx, x + window.nx, x, x], [y, y, y + window.ny, y + window.ny, y]
    axes.plot(*corners, **{"color": "black", "linewidth": 1, **style})


def draw_density(
    figure: Any, place: tuple[float, float], size: int, planes: Planes, window: Window
) -> None:
    """Draw the share of defects in cells, in per cent, on a logarithmic scale."""
    from matplotlib.colors import LogNorm

    cell, screen = _grid(window, size, _DENSITY_CELLS)
    count, among = totals(planes.defects, cell), totals(planes.sky, cell)
    percent = np.ma.masked_array(100 * count / np.maximum(among, 1), mask=count == 0)
    lowest, highest = float(percent.min()), float(percent.max())
    width, height = count.shape[1] * screen, count.shape[0] * screen
    axes = add_panel(figure, place, width, height)
    scale = LogNorm(lowest, max(highest, 1.01 * lowest))
    shown = _show(axes, percent, window, cell, cmap="viridis_r", norm=scale)
    bar = add_panel(figure, (place[0] + width + 24, place[1]), 20, height)
    ticks = np.unique(np.geomspace(lowest, highest, 3))
    colours = axes.figure.colorbar(shown, cax=bar, ticks=ticks)
    # Two digits, and never as 1e+02.
    colours.set_ticks(ticks, labels=[f"{float(f'{tick:.2g}'):g} %" for tick in ticks])
    colours.minorticks_off()
    axes.set_title(f"defects, % of {cell} × {cell} pixels", fontsize=10, loc="left")


def _grid(window: Window, size: int, cells: int) -> tuple[int, int]:
    """Return detector pixels a cell, and screen pixels a cell, of a map of so many at most."""
    longest = max(window.shape)
    cell = -(-longest // cells)
    return cell, max(1, size // -(-longest // cell))


def _spread(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Enlarge the dots of a map to 3 × 3 or 5 × 5 where they are so few that they would be lost."""
    ink = image[..., 3]
    y, x = np.nonzero(ink)
    reach = sum(y.size < limit * ink.size for limit in SPARSE)
    spread = image.copy()
    # The one with most ink last: it stays on top.
    for place in np.argsort(ink[y, x], kind="stable") if reach else ():
        rows = slice(max(0, y[place] - reach), y[place] + reach + 1)
        columns = slice(max(0, x[place] - reach), x[place] + reach + 1)
        spread[rows, columns] = image[y[place], x[place]]
    return spread


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
