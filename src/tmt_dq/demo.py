"""The main job on a simulated full-frame ramp, for those who see tmt-dq for the first time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.apply import Applied, apply_dq
from tmt_dq.errors import OutputError
from tmt_dq.io.ramps import read_pixeldq
from tmt_dq.pictures import draw_flags
from tmt_dq.references import embedded
from tmt_dq.simulate import simulate_ramp

__all__ = ["Demo", "run_demo"]

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None] | None]]
"""Opens a progress display for a step of the demo, given its name and size in bytes."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Files of a demo.

    Attributes
    ----------
    ramp : Path
        The simulated raw ramp.
    applied : Applied
        What DQ initialization did.
    picture : Path
        The picture of the flags.
    """

    ramp: Path
    applied: Applied
    picture: Path


def run_demo(folder: Path, *, ngroups: int, watch: Watch) -> Demo:
    """Simulate a full-frame IRIS ramp, initialize its data quality, draw the flags.

    The mask comes from the rules and references in the package, whatever CRDS_PATH says.

    Parameters
    ----------
    folder : Path
        Where to put the files; made if it does not exist. A demo's files in it are replaced.
    ngroups : int
        Number of reads.
    watch : callable
        Opens a progress display.

    Returns
    -------
    Demo
        What was made.

    Raises
    ------
    OutputError
        Raised if the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made: {error.strerror}", where=folder) from error
    size = ngroups * 4096 * 4096 * 2
    with watch("simulating a ramp", size) as progress:
        ramp = simulate_ramp(
            folder / "iris_demo_uncal.fits", ngroups=ngroups, overwrite=True, progress=progress
        )
    with watch("initializing its data quality", size) as progress:
        applied = apply_dq(
            ramp,
            crds_path=embedded.cache_path(),
            context="latest",
            overwrite=True,
            progress=progress,
        )
    picture = draw_flags(
        folder / "iris_demo_flags.png",
        read_pixeldq(applied.output),
        title=f"{applied.output.name}: flags of {applied.mask}",
        overwrite=True,
    )
    return Demo(ramp, applied, picture)
