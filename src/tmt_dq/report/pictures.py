"""Pictures of a summary, of a difference, of a pixel and its neighbours."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import Planes
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.report.colours import CHANGES, OTHERS, Classes, flag_colour
from tmt_dq.report.figures import add_panel, new_figure
from tmt_dq.report.maps import draw_density, draw_map, mark_lines
from tmt_dq.report.parts import intersection
from tmt_dq.report.report import flag_names

__all__ = ["Bars", "difference_figure", "pixel_figure", "summary_figure"]

# Pixels of the screen: margins hold the numbers and labels of the axes.
_LEFT, _TOP, _GAP = 210, 240, 190
_LARGE, _MIDDLE, _SMALL, _SIDE = 2048, 1024, 512, 720
_PITCH = 745
_BAR = 82
_NEUTRAL = "#5a5f66"


class Bars(NamedTuple):
    """Numbers to draw as bars: a title, the label of the axis, names and values."""

    title: str
    label: str
    names: Sequence[str]
    values: Sequence[float]


def summary_figure(
    title: str,
    dq: npt.NDArray[np.uint32],
    planes: Planes,
    window: Window,
    *,
    classes: Classes,
    flags: Classes,
    lines: tuple[Sequence[int], Sequence[int]],
    bars: Sequence[Bars],
) -> Any:
    """Draw a map of `classes` with bad `lines`, numbers beside it, and a small map of each flag."""
    size = _LARGE if max(window.shape) > _MIDDLE else _MIDDLE
    dense = bool(planes.defects.any()) and max(window.shape) > 64
    panels = dense + len(flags.names) if len(flags.names) > 1 else 0
    across = (_LEFT + size + _GAP + _SIDE) // _PITCH
    legends = [classes] if classes is flags else [classes, flags]
    height = max(size, _side_height(legends, bars))
    below = -(-panels // across) * (_SMALL + 230)
    width = _LEFT + size + _GAP + _SIDE + 80
    figure = new_figure(width, _TOP + height + 190 + below, title)
    axes = draw_map(figure, (_LEFT, _TOP), size, classes, window, title="flagged pixels")
    mark_lines(axes, *lines)
    _draw_side(figure, _LEFT + size + _GAP, legends, bars, height)
    places = [
        (_LEFT + place % across * _PITCH, _TOP + height + 220 + place // across * (_SMALL + 230))
        for place in range(panels)
    ]
    if places and dense:
        draw_density(figure, places.pop(0), _SMALL, planes.defects, planes.sky, window)
    for place, name, colour, count in zip(
        places, flags.names, flags.colours, flags.counts, strict=False
    ):
        one = ((dq & np.uint32(PIXEL[name])) != 0).view(np.uint8)
        layer = Classes(one, (name,), (colour,), (count,))
        draw_map(figure, place, _SMALL, layer, window, title=f"{name} {count:,}")
    return figure


def _side_height(legends: Sequence[Classes], bars: Sequence[Bars]) -> int:
    """Return how many pixels the numbers beside a map need at least."""
    entries = sum(sum(map(bool, legend.counts)) for legend in legends)
    return _BAR * entries + 210 * (len(legends) + len(bars)) + 200 * len(bars) - 210


def _draw_side(
    figure: Any, left: int, legends: Sequence[Classes], bars: Sequence[Bars], height: int
) -> None:
    """Draw numbers beside a map, first those that name its colours, as high as the map."""
    top = _TOP
    for classes in legends:
        top += _draw_counts(figure, (left, top), _SIDE, classes)
    for left_over, chart in zip(range(len(bars), 0, -1), bars, strict=True):
        each = (height + _TOP + 210 - top) // left_over - 210
        _draw_bars(add_panel(figure, left + 90, top, _SIDE - 90, each), chart)
        top += each + 210


def difference_figure(
    title: str,
    old: npt.NDArray[np.uint32],
    new: npt.NDArray[np.uint32],
    window: Window,
    *,
    flags: Sequence[tuple[str, int, int]],
) -> Any:
    """Draw where pixels differ, where most of them do, and flags (name, gained, lost)."""
    pixels = (old != new).view(np.uint8) * np.uint8(3)
    pixels[(old == 0) & (new != 0)] = 1
    pixels[(old != 0) & (new == 0)] = 2
    classes = Classes(
        pixels,
        tuple(CHANGES),
        tuple(CHANGES.values()),
        tuple(int(np.count_nonzero(pixels == place)) for place in (1, 2, 3)),
    )
    changes = [
        (f"{sign}{name}", count, CHANGES[kind])
        for name, *both in flags
        for sign, count, kind in zip("+−", both, ("gained", "lost"), strict=True)
        if count
    ]
    bottom = _TOP + _MIDDLE + 200
    height = bottom + _BAR * max(3, len(changes)) + 130
    figure = new_figure(2 * (_LEFT + _MIDDLE) + 80, height, title)
    whole = draw_map(figure, (_LEFT, _TOP), _MIDDLE, classes, window, title="pixels that differ")
    part = _busiest(pixels != 0)
    detail = Window(part.y + window.y, part.x + window.x, part.ny, part.nx)
    cut = classes.cut(part.slices(Window.full(*pixels.shape)))
    if cut.pixels.any() and detail != window:
        label = f"the part with most of them, {np.count_nonzero(cut.pixels):,} of "
        label += f"{np.count_nonzero(pixels):,}"
        draw_map(figure, (2 * _LEFT + _MIDDLE, _TOP), _MIDDLE, cut, detail, title=label)
        x, y = detail.x + 0.5, detail.y + 0.5
        corners = ((x, y), (x + detail.nx, y), (x + detail.nx, y + detail.ny), (x, y + detail.ny))
        whole.plot(*zip(*corners, corners[0], strict=True), color="black", linewidth=0.8)
    _draw_counts(figure, (_LEFT, bottom), _MIDDLE, classes)
    names, counts, colours = zip(*changes, strict=True) if changes else ((), (), ())
    both = Classes(pixels, names, colours, counts)
    _draw_counts(figure, (2 * _LEFT + _MIDDLE, bottom), _MIDDLE, both)
    return figure


def _busiest(differs: npt.NDArray[np.bool_], least: int = 24, most: int = 96) -> Window:
    """Return a square around all True pixels, or one of `most` pixels a side with most of them."""
    y, x = np.nonzero(differs)
    ny, nx = differs.shape
    if not y.size:
        return Window(0, 0, ny, nx)
    extent = max(int(np.ptp(y)), int(np.ptp(x))) + 1
    if extent > most:
        cells = np.ravel_multi_index((y // most, x // most), (ny // most + 1, nx // most + 1))
        inside = cells == np.bincount(cells).argmax()
        y, x = y[inside], x[inside]
    side = max(least, min(most, extent + extent // 4))
    side_y, side_x = min(side, ny), min(side, nx)
    middle_y, middle_x = (int(y.min()) + int(y.max())) // 2, (int(x.min()) + int(x.max())) // 2
    first_y = min(max(0, middle_y - side_y // 2), ny - side_y)
    first_x = min(max(0, middle_x - side_x // 2), nx - side_x)
    return Window(first_y, first_x, side_y, side_x)


def pixel_figure(
    title: str,
    dq: npt.NDArray[np.uint32],
    window: Window,
    *,
    x: int,
    y: int,
    reads: npt.NDArray[np.float64] | None,
    unit: str,
) -> Any:
    """Draw the flags within 10 pixels of a pixel, counted from 1, and `reads` of it if there are.

    `reads` is (reads, 3, 3): the pixel and its neighbours, NaN outside of the exposure.
    """
    near = intersection(window, Window(y - 11, x - 11, 21, 21))
    assert near is not None
    cut = dq[near.slices(window)]
    values, inverse, counts = np.unique(cut, return_inverse=True, return_counts=True)
    classes = Classes(
        (inverse.reshape(cut.shape) + 1).astype(np.uint8),
        tuple(flag_names(PIXEL.decode(value)) for value in values),
        tuple(_mixtures(values.tolist())),
        tuple(counts.tolist()),
    )
    size = 1050
    width = 2 * size + 3 * _LEFT if reads is not None else size + _LEFT + 120
    figure = new_figure(width, _TOP + size + 330 + _BAR * len(values), title)
    axes = draw_map(figure, (_LEFT, _TOP), size, classes, near, title="flags within 10 pixels")
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    axes.plot(*zip(*((x + dx / 2, y + dy / 2) for dx, dy in corners), strict=True), "k", lw=2)
    _draw_counts(figure, (_LEFT, _TOP + size + 190), size, classes)
    if reads is not None:
        _draw_reads(add_panel(figure, 2 * _LEFT + size, _TOP, size, size), reads, x, y, unit)
    return figure


def _mixtures(values: Sequence[int]) -> list[str]:
    """Return a colour of its own for each combination of flags, white for none."""
    colours: list[str] = []
    for value in values:
        names = [name for name in PIXEL.decode(value) if name != "DO_NOT_USE"] or ["DO_NOT_USE"]
        wanted = [*map(flag_colour, names), *OTHERS] if value else ["#ffffff"]
        colours.append(next((one for one in wanted if one not in colours), wanted[0]))
    return colours


def _draw_reads(axes: Any, reads: npt.NDArray[np.float64], x: int, y: int, unit: str) -> None:
    """Draw the signal of a pixel and its neighbours against the number of the read."""
    numbers = range(1, len(reads) + 1)
    around = reads.reshape(len(reads), 9)
    axes.plot(numbers, np.delete(around, 4, axis=1), color="#9aa0a6", linewidth=1)
    axes.plot([], [], color="#9aa0a6", linewidth=1, label="its neighbours")
    axes.plot(numbers, around[:, 4], "o-", color="#d55e00", ms=3, label=f"pixel {x}, {y}")
    axes.set_xlabel("group (from 1, all integrations)")
    axes.set_ylabel(f"signal ({unit})")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title("the ramp of the pixel", fontsize=10, loc="left")
    axes.legend(fontsize=9, frameon=False)


def _draw_counts(figure: Any, place: tuple[int, int], width: int, classes: Classes) -> int:
    """Draw bars for the classes that have pixels, each under name and number; return the height."""
    entries = [
        entry
        for entry in zip(classes.names, classes.counts, classes.colours, strict=True)
        if entry[1]
    ]
    if not entries:
        return 0
    names, counts, colours = zip(*entries, strict=True)
    axes = add_panel(figure, *place, width, _BAR * len(entries))
    edges = [colour if colour != "#ffffff" else _NEUTRAL for colour in colours]
    axes.barh(range(len(names)), counts, height=0.3, color=colours, edgecolor=edges, linewidth=0.6)
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        axes.annotate(
            f"{name}  {count:,}",
            (0, number - 0.15),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set(ylim=(len(names) - 0.6, -0.8), yticks=[], xscale="log", xlabel="pixels")
    axes.set_xlim(0.5, max([10, *counts]) * 2)
    axes.spines[["top", "right"]].set_visible(False)
    return _BAR * len(entries) + 210


def _draw_bars(axes: Any, chart: Bars) -> None:
    """Draw upright bars, those of counts on a logarithmic scale with their numbers above."""
    places = range(len(chart.names))
    step = max(1, -(-len(chart.names) // 8))
    axes.bar(places, chart.values, color=_NEUTRAL, width=0.8)
    # The names of many areas are numbers: every fourth is enough.
    axes.set_xticks(places[::step], chart.names[::step], fontsize=7)
    axes.set_xlim(-0.7, max(len(chart.names), 4) - 0.3)
    if all(isinstance(value, int) for value in chart.values):
        axes.set_yscale("log")
        axes.set_ylim(0.5, max([10, *chart.values]) * 3)
        for place, value in zip(places, chart.values, strict=True):
            axes.annotate(f"{value:,}", (place, value), ha="center", va="bottom", fontsize=8)
    axes.set_title(chart.title, fontsize=10, loc="left")
    axes.set_ylabel(chart.label)
    axes.spines[["top", "right"]].set_visible(False)
