"""Pictures of flags. Needs matplotlib: the extra ``tmt-dq[plot]``."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError
from tmt_dq.io.atomic import AtomicOutput
from tmt_dq.io.copying import write_all

__all__ = ["draw_flags"]

_CELLS = 512


def draw_flags(
    path: Path,
    dq: npt.NDArray[np.uint32],
    *,
    title: str,
    corner: int = 24,
    overwrite: bool = False,
) -> Path:
    """Draw where on the detector pixels are flagged, a corner in detail, and the counts.

    Parameters
    ----------
    path : Path
        The picture to write; its ending says the format.
    dq : ndarray of uint32, (ny, nx)
        Flags.
    title : str
        Title.
    corner : int
        Size in pixels of the detail at the first row and column.
    overwrite : bool
        Whether an existing picture is replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConfigError
        Raised if matplotlib is not installed.
    OutputError
        Raised if the picture exists or cannot be written.
    """
    try:
        # Figure itself, not pyplot: no display, no state shared with the caller's own figures.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "a picture needs matplotlib, which is not installed",
            hint="Run: pip install 'tmt-dq[plot]'",
        ) from error
    counts = PIXEL.count(dq)
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    figure.suptitle(title)
    frame, detail, bars = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    _draw_map(frame, dq)
    _draw_detail(detail, dq[:corner, :corner])
    _draw_counts(bars, counts, dq.size)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip(".") or "png", dpi=110)
    with AtomicOutput(path, overwrite=overwrite, sync=False) as out:
        write_all(out.fd, buffer.getvalue(), 0)
    return path


def _draw_map(axes: Any, dq: npt.NDArray[np.uint32]) -> None:
    """Draw the share of flagged pixels, in cells: single pixels would not be seen."""
    ny, nx = dq.shape
    cell = max(1, -(-max(ny, nx) // _CELLS))
    rows, columns = -(-ny // cell), -(-nx // cell)
    flagged = np.zeros((rows * cell, columns * cell), np.float32)
    flagged[:ny, :nx] = dq != 0
    share = flagged.reshape(rows, cell, columns, cell).max(axis=(1, 3))
    # FITS pixels count from 1 and pixel 1 reaches from 0.5 to 1.5.
    extent = (0.5, columns * cell + 0.5, 0.5, rows * cell + 0.5)
    axes.imshow(
        share,
        origin="lower",
        extent=extent,
        cmap="magma_r",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_title(f"flagged, in cells of {cell} × {cell} pixels" if cell > 1 else "flagged")
    axes.set_xlabel("x (pixel)")
    axes.set_ylabel("y (pixel)")


def _draw_detail(axes: Any, dq: npt.NDArray[np.uint32]) -> None:
    ny, nx = dq.shape
    axes.imshow(
        dq != 0,
        origin="lower",
        extent=(0.5, nx + 0.5, 0.5, ny + 0.5),
        cmap="magma_r",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_title(f"the first {nx} × {ny} pixels")
    axes.set_xlabel("x (pixel)")
    axes.set_ylabel("y (pixel)")


def _draw_counts(axes: Any, counts: Mapping[str, int], size: int) -> None:
    names = [name for name in counts if name != "GOOD"][::-1]
    values = [counts[name] for name in names]
    axes.barh(names, values, color="#7b2d8b")
    for place, value in enumerate(values):
        axes.annotate(
            f" {value}",
            (value, place),
            va="center",
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.set_xlim(0.8, max([10, *values]) * 12)
    axes.set_xlabel("pixels")
    axes.set_title(f"flags of {size} pixels, {counts['GOOD']} good")
