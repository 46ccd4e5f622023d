"""Figures with panels at whole pixels, made and saved without a display and pyplot's state."""

import io
from pathlib import Path
from typing import Any

from tmt_dq.errors import ConfigError
from tmt_dq.files.atomic import write_file

__all__ = ["add_panel", "new_figure", "save_figure"]

_DPI = 200


def new_figure(width: int, height: int, title: str) -> Any:
    """Return an empty matplotlib Figure of this size in pixels, with a title at its upper left."""
    try:
        # Figure itself, not pyplot: no display, no state shared with the caller's own figures.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "a picture needs matplotlib, which is not installed",
            hint='Run: pip install "tmt-dq[plot]"',
        ) from error
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    # A name may hold dollar signs; they are no formulas.
    place = (60 / width, 1 - 40 / height)
    figure.text(*place, title, va="top", fontsize=12, weight="bold", parse_math=False)
    return figure


def add_panel(figure: Any, left: float, top: float, width: float, height: float) -> Any:
    """Return new axes whose frame is at these pixels, counted from the upper left corner."""
    across, up = figure.get_size_inches() * _DPI
    axes = figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))
    axes.tick_params(labelsize=9)
    axes.xaxis.label.set_size(10)
    axes.yaxis.label.set_size(10)
    return axes


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
