"""Figures with panels at whole pixels, made and saved without a display and pyplot's state."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmt_dq.errors import ConfigError
from tmt_dq.files.atomic import write_file

LEFT, TOP, BAR = 210, 240, 82
"""Pixels of the screen: margins with the numbers and labels of axes, and a bar with its name."""

_DPI = 200


def new_figure(width: int, height: int, title: str) -> Any:
    """Return an empty matplotlib Figure of this size in pixels, with a title at its upper left."""
    try:
        # Figure itself, not pyplot: no display, no state shared with the caller's own figures.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "a picture needs matplotlib, which is not installed",
            hint="Run: pip install matplotlib",
        ) from error
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    # A name may hold dollar signs; they are no formulas.
    place = (60 / width, 1 - 40 / height)
    figure.text(*place, title, va="top", fontsize=12, weight="bold", parse_math=False)
    return figure


def add_panel(figure: Any, place: tuple[float, float], width: float, height: float) -> Any:
    """Return new axes with their upper left corner at these pixels of the figure."""
    across, up = figure.get_size_inches() * _DPI
    left, top = place
    axes = figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))
    axes.tick_params(labelsize=9)
    return axes


def draw_counts(
    figure: Any,
    place: tuple[float, float],
    width: int,
    bars: Sequence[tuple[str, int, str]],
) -> int:
    """Draw bars (name, pixels, colour), each under its name, and return their height."""
    if not bars:
        return 0
    axes = add_panel(figure, place, width, BAR * len(bars))
    for number, (name, count, colour) in enumerate(bars):
        edge = "#5a5f66" if colour == "#ffffff" else colour
        axes.barh(number, count, height=0.3, color=colour, edgecolor=edge, linewidth=0.6)
        axes.annotate(
            f"{name}  {count:,}",
            (0, number - 0.15),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set(ylim=(len(bars) - 0.6, -0.8), yticks=[], xscale="log", xlabel="pixels")
    axes.set_xlim(0.5, 2 * max(10, *(count for _, count, _ in bars)))
    axes.spines[["top", "right"]].set_visible(False)
    return BAR * len(bars) + 210


def save_figure(figure: Any, path: Path, *, overwrite: bool = False) -> Path:
    """Write a figure in the format that the ending of `path` names, PNG without one."""
    kind = path.suffix.lstrip(".").lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ConfigError(
            f"{path.suffix!r} is not the ending of a picture; expected one of {', '.join(known)}",
            where=path,
            hint="Name the picture something.png.",
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=_DPI)
    write_file(path, buffer.getvalue(), overwrite=overwrite, sync=False)
    return path
