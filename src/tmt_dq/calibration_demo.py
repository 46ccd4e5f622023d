"""Demo of calibrations: a night's darks and flats, the mask that is made of them, and the truth."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.apply.apply import apply_dq
from tmt_dq.calibration.make import find_bad_pixels
from tmt_dq.calibration.simulation import Scene, write_exposure, write_night
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.delivery.certify import certify_mask
from tmt_dq.delivery.deliver import deliver_mask
from tmt_dq.errors import OutputError
from tmt_dq.masks.mask import read_mask
from tmt_dq.report.colours import by_flag
from tmt_dq.report.figures import draw_counts, new_figure, save_figure
from tmt_dq.report.maps import draw_map
from tmt_dq.report.summary import summarize
from tmt_dq.tables import Table

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None] | None]]

_SIZE = 512
_ZOOM = Window(200, 200, 96, 96)


@dataclass(frozen=True, slots=True)
class CalibrationDemo:
    """Files of the demo, in the order in which they are made, and what was found of the truth."""

    night: Path
    mask: Path
    maps: Path
    cache: Path
    ramp: Path
    flagged: Path
    picture: Path
    found: Table

    @property
    def files(self) -> dict[str, Path]:
        """What the files are, by a word for each."""
        words = {
            "night": "darks and flats",
            "mask": "mask",
            "maps": "maps",
            "cache": "CRDS cache",
            "ramp": "raw ramp",
            "flagged": "flagged ramp",
            "picture": "picture",
        }
        return {word: getattr(self, name) for name, word in words.items()}


def run_calibration_demo(folder: Path, *, watch: Watch) -> CalibrationDemo:
    """Simulate darks and flats, make, certify and deliver their mask, flag a ramp, draw the truth.

    The detector is a corner of IRIS1, 512 × 512 pixels, with defects of every kind.
    """
    names = ("night", "mask.fits", "maps.fits", "cache", "ramp_uncal.fits", "ramp_dqinit.fits")
    night, mask, maps, cache, ramp, flagged = (folder / f"calibrations_{name}" for name in names)
    picture = folder / "calibrations_truth.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (night, cache):
            shutil.rmtree(old, ignore_errors=True)
        ramp.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=folder) from error
    scene = Scene((_SIZE, _SIZE), seed=1, border=(4, 0, 4, 0))
    with watch("simulating darks and flats", 0):
        darks, flats = write_night(night, scene)
        write_exposure(ramp, scene.flat_ramp(99, reads=8, light_e_per_s=40.0))
    size = sum(path.stat().st_size for path in (*darks, *flats))
    with watch("making the mask", 2 * size) as progress:
        find_bad_pixels(
            darks,
            mask,
            flats=flats,
            detector="IRIS1",
            full_frame=True,
            keep_maps=maps,
            useafter="2026-11-01",
            pedigree="SIMULATION",
            author="tmt-dq demo",
            description="Simulated darks and flats of a corner of IRIS1",
            overwrite=True,
            progress=progress,
        )
    with watch("certifying and delivering it", 0):
        certify_mask(mask).raise_errors()
        deliver_mask(mask, cache=cache, create=True, yes=True)
    with watch("flagging a ramp", 0):
        apply_dq(ramp, flagged, crds_path=cache, context="latest", overwrite=True)
    with watch("drawing", 0):
        there = read_mask(mask).dq[:_SIZE, :_SIZE]
        save_figure(_figure(scene, there), picture, overwrite=True)
    found = _compare(scene, there)
    return CalibrationDemo(night, mask, maps, cache, ramp, flagged, picture, found)


def _compare(scene: Scene, found: npt.NDArray[np.uint32]) -> Table:
    """Return for each flag how many planted pixels were found, and how many good ones flagged."""
    planted = np.any([*scene.kinds.values(), *scene.truth.values()], axis=0)
    rows = []
    for kind, truth in scene.truth.items():
        flag = _flag_of(kind)
        there = (found & np.uint32(PIXEL[flag])) != 0
        hits = int(np.count_nonzero(there & truth))
        rows.append((flag, int(truth.sum()), hits, int(np.count_nonzero(there & ~planted))))
    return Table.of("Truth", ("flag", "planted", "found", "in good pixels"), rows)


def _flag_of(kind: str) -> str:
    """Return the flag of a kind of defect; inverse RC has none of its own."""
    return kind if kind in PIXEL else "OTHER_BAD_PIXEL"


def _figure(scene: Scene, found: npt.NDArray[np.uint32]) -> Any:
    """Draw what was planted beside what was found: the whole window, a part of it, the counts."""
    truth = np.zeros_like(found)
    for kind, planted in scene.truth.items():
        truth |= planted * np.uint32(PIXEL[_flag_of(kind)])
    truth &= ~np.uint32(PIXEL["REFERENCE_PIXEL"])
    shown = found & ~np.uint32(PIXEL["REFERENCE_PIXEL"] | PIXEL["DO_NOT_USE"])
    flags, frame = summarize(truth | shown).flags, Window.full(_SIZE, _SIZE)
    size, pitch, height, top = _SIZE, _SIZE + 240, _SIZE + 200, 190
    figure = new_figure(4 * pitch, 2 * height + top, "Planted, and found by tmt-dq make")
    for column, (name, dq) in enumerate((("planted", truth), ("found", shown))):
        classes = by_flag(dq, frame, flags)
        for row, part in enumerate((frame, _ZOOM)):
            place = (200 + column * pitch, top + row * height)
            draw_map(figure, place, size, classes.cut(part), title=name)
        counts = PIXEL.count(dq)
        bars = [(flag, counts.get(flag, 0), colour) for flag, _, colour in classes.bars]
        draw_counts(figure, (200 + (2 + column) * pitch, top), size, bars)
        figure.axes[-1].set_title(f"pixels {name}", fontsize=10, loc="left")
    return figure
