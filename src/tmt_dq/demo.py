"""Demo: a full-frame ramp simulated, initialized and drawn."""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.apply.apply import Applied, apply_dq
from tmt_dq.errors import OutputError
from tmt_dq.files.atomic import check_output
from tmt_dq.references import embedded
from tmt_dq.report.pictures import draw_flags
from tmt_dq.simulate import simulate_ramp

__all__ = ["Demo", "plan_demo", "run_demo"]

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None] | None]]
"""Opens a progress display for a step of the demo, given its name and size in bytes."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Files of a demo: the raw ramp, what was done to it, the picture of its flags."""

    ramp: Path
    applied: Applied
    picture: Path


_RAMP, _OUTPUT, _PICTURE = "iris_demo_uncal.fits", "iris_demo_dqinit.fits", "iris_demo_flags.png"
_FRAME = 4096 * 4096
_PER_READ, _PER_PIXEL = 2 * 2 * _FRAME, 4 * _FRAME
"""Bytes on the disk: counts of 16 bits, in two files, and PIXELDQ. GROUPDQ is a hole."""


def plan_demo(folder: Path, *, ngroups: int) -> tuple[Path, ...]:
    """Make sure that a demo could be written, and return its files."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            f"the folder cannot be made or written: {existing} is "
            + ("not writable" if existing.is_dir() else "not a folder"),
            where=folder,
            hint="Name another folder.",
        )
    for name in (_RAMP, _OUTPUT, _PICTURE):
        if folder.is_dir():
            check_output(folder / name, overwrite=True)
    needed = ngroups * _PER_READ + _PER_PIXEL
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free",
            where=folder,
            hint="Use fewer reads (--groups), or name another folder.",
        )
    return tuple(folder / name for name in (_RAMP, _OUTPUT, _PICTURE))


def run_demo(folder: Path, *, ngroups: int, watch: Watch) -> Demo:
    """Simulate a full-frame IRIS ramp, initialize its data quality, draw the flags.

    The mask comes from the rules and references in the package, whatever CRDS_PATH says.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made: {error.strerror}", where=folder) from error
    size = ngroups * 4096 * 4096 * 2
    with watch("simulating a ramp", size) as progress:
        ramp = simulate_ramp(folder / _RAMP, ngroups=ngroups, overwrite=True, progress=progress)
    with watch("initializing its data quality", size) as progress:
        applied = apply_dq(
            ramp,
            crds_path=embedded.cache_path(),
            context="latest",
            overwrite=True,
            progress=progress,
        )
    from astropy.io import fits

    picture = draw_flags(
        folder / _PICTURE,
        fits.getdata(applied.output, "PIXELDQ"),
        title=f"{Path(applied.output).name}: flags of {applied.mask}",
        overwrite=True,
    )
    return Demo(ramp, applied, picture)
