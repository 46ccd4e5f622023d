"""Figures made and saved without a display, and without pyplot's state."""

import io
from pathlib import Path
from typing import Any

from tmt_dq.errors import ConfigError
from tmt_dq.files.atomic import write_file

__all__ = ["new_figure", "png_bytes", "save_figure"]

_DPI = 150


def new_figure(width: float, height: float, title: str) -> Any:
    """Return an empty matplotlib Figure of this size in inches, with a title above everything."""
    try:
        # Figure itself, not pyplot: no display, no state shared with the caller's own figures.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "a picture needs matplotlib, which is not installed",
            hint="Run: pip install matplotlib",
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    # A name may hold dollar signs; they are no formulas.
    figure.suptitle(title, parse_math=False)
    return figure


def png_bytes(figure: Any) -> bytes:
    """Return a figure as PNG."""
    return _rendered(figure, "png")


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
    write_file(path, _rendered(figure, kind), overwrite=overwrite, sync=False)
    return path


def _rendered(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=_DPI)
    return buffer.getvalue()
