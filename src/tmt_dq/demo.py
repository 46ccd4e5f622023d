"""Demo: the life of a mask in one minute, on a simulated detector with defects."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.apply.apply import apply_dq
from tmt_dq.apply.output import Applied
from tmt_dq.delivery.deliver import deliver_mask
from tmt_dq.errors import OutputError
from tmt_dq.exposures.ramp import read_ramp
from tmt_dq.fits.encoding import read_plane
from tmt_dq.fits.file import open_input
from tmt_dq.masks.make import make_mask
from tmt_dq.report.colours import by_flag
from tmt_dq.report.figures import new_figure, save_figure
from tmt_dq.report.maps import draw_map
from tmt_dq.report.parts import around
from tmt_dq.report.summary import Summary, summarize
from tmt_dq.simulate import simulate_defects, simulate_ramp

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None] | None]]
"""Opens a progress display for a step of the demo, given its name and size in bytes."""

DETECTOR = "IRIS1"
_BRIGHT_DN_PER_READ = 400.0


@dataclass(frozen=True, slots=True)
class Demo:
    """Files of a demo, in the order in which they are made."""

    ramp: Path
    mask: Path
    cache: Path
    flagged: Path
    picture: Path
    page: Path

    @classmethod
    def of(cls, folder: Path) -> "Demo":
        """Return the names of a demo's files in a folder."""
        names = ("uncal.fits", "mask.fits", "cache", "dqinit.fits", "flags.png", "flags.html")
        return cls(*(folder / f"iris_demo_{name}" for name in names))


def run_demo(demo: Demo, *, ngroups: int, watch: Watch) -> Applied:
    """Simulate a ramp and deliver a mask, flag the ramp by CRDS' rules, draw and explore the flags.

    The cache starts as a copy of the one in the package, whatever CRDS_PATH is.
    """
    folder = demo.ramp.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if demo.cache.exists():
            shutil.rmtree(demo.cache)
    except OSError as error:
        raise OutputError(f"the folder cannot be made: {error.strerror}", where=folder) from error
    defects = simulate_defects(DETECTOR)
    size = ngroups * 2 * 4096 * 4096
    with watch("simulating a ramp", size) as progress:
        simulate_ramp(
            demo.ramp,
            detector=DETECTOR,
            ngroups=ngroups,
            defects=defects,
            overwrite=True,
            progress=progress,
        )
    with watch("delivering its mask", 0):
        make_mask(
            defects,
            demo.mask,
            detector=DETECTOR,
            useafter="2026-11-01",
            pedigree="SIMULATION",
            author="tmt-dq demo",
            description="Simulated defects of IRIS1",
            overwrite=True,
        )
        deliver_mask(demo.mask, cache=demo.cache, create=True, yes=True)
    with watch("initializing data quality", size) as progress:
        applied = apply_dq(
            demo.ramp,
            demo.flagged,
            crds_path=demo.cache,
            context="latest",
            overwrite=True,
            progress=progress,
        )
    with watch("drawing", 0):
        summary = summarize(demo.flagged)
        save_figure(_figure(demo.flagged, summary), demo.picture, overwrite=True)
        summary.write_html(demo.page, overwrite=True)
    return applied


def _figure(flagged: Path, summary: Summary) -> Any:
    """Draw the signal of a ramp, and its flags over it: all of it, a cluster, a bad column."""
    from matplotlib.patches import Patch

    signal, frame = _signal(flagged), summary.image.window
    classes = by_flag(summary.image.dq, frame, summary.flags)
    cluster = next(one for one in summary.largest_clusters if max(one.width, one.height) < 40)
    column, middle = summary.bad_columns[0].position, cluster.y + cluster.height // 2
    parts = {
        "the detector": frame,
        "a cluster": around(middle, cluster.x + cluster.width // 2, 64, frame),
        "a bad column": around(middle, column, 64, frame),
    }
    size, pitch, top = 512, 740, 190
    figure = new_figure(3 * pitch + 40, 2 * 690 + top + 170, f"{flagged.name}: raw, and flagged")
    for number, (name, part) in enumerate(parts.items()):
        cut = classes.cut(part)
        none = replace(cut, pixels=np.zeros_like(cut.pixels))
        for row, (layer, what, base) in enumerate(((none, "raw", 0), (cut, "flagged", 0.5))):
            corner = (200 + number * pitch, top + row * 690)
            title = f"{name}, {what}"
            # Under the flags the signal is brighter, so that their colours stand out.
            grey = base + (1 - base) * signal[part.slices(frame)]
            draw_map(figure, corner, size, layer, title=title, signal=grey)
    handles = [
        Patch(color=colour, label=f"{name} {count:,}") for name, count, colour in classes.bars
    ]
    figure.legend(handles=handles, ncols=4, loc="lower center", fontsize=9, frameon=False)
    return figure


def _signal(ramp: Path) -> npt.NDArray[np.float64]:
    """Return how fast the signal grows, from dark (0) to bright (1)."""
    with open_input(ramp) as file:
        unit = read_ramp(file).sci
        reads = unit.shape[-3]
        first, last = (read_plane(file, unit, read).astype(np.float64) for read in (0, reads - 1))
    rate = (last - first) / max(reads - 1, 1)
    return np.sqrt(np.clip(rate / _BRIGHT_DN_PER_READ, 0, 1))
