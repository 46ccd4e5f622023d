"""Mask files and user DQ images, read into flags of the convention."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown, translate, translation
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.files.identity import Identity
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.tables import read_dq_def
from tmt_dq.instruments.description import WILDCARDS
from tmt_dq.masks.dq_image import (
    axis_of,
    find_dq_image,
    name_of,
    open_mask_file,
    place_of_image,
    size_text,
)

__all__ = [
    "MASK_TYPES",
    "Mask",
    "check_belongs",
    "cut_out",
    "flags_of",
    "place_on_detector",
    "read_mask",
]

MASK_TYPES = frozenset({"MASK", "DQ", "BPM"})
"""REFTYPEs of bad-pixel masks."""


@dataclass(frozen=True, eq=False)
class Mask:
    """Flags of detector pixels, from a file; `dq`, (ny, nx), covers `window` and is read-only."""

    path: Path
    dq: npt.NDArray[np.uint32]
    window: Window
    instrument: str | None = None
    detector: str | None = None
    orientation: tuple[int | None, int | None] = (None, None)  # FASTAXIS and SLOWAXIS
    left_out: Mapping[int, int] = field(default_factory=dict)  # bit of the file to pixels
    placed: bool = False  # whether the file itself states where on the detector its pixels lie
    remarks: tuple[str, ...] = ()  # what else a report has to mention about the file


def read_mask(path: Path, *, unknown: Unknown = "error") -> Mask:
    """Read a MASK reference file.

    The result is kept for the life of the process and given again as long as the file does not
    change: a night's exposures read their mask once.
    """
    try:
        identity = Identity.of(path.stat())
    except OSError:
        identity = None  # what is wrong, the error of opening the file tells
    return _cached(path, identity, unknown)


def check_belongs(mask: Mask, ramp: Ramp, *, where: object) -> None:
    """Make sure that a mask is of the exposure's detector and covers it."""
    for key, found, names in (
        ("INSTRUME", mask.instrument, (ramp.instrument.name,)),
        ("DETECTOR", mask.detector, (ramp.detector.name, *ramp.detector.aliases)),
    ):
        if found is None or found.upper() in WILDCARDS:
            continue
        if found.upper() not in {name.upper() for name in names}:
            raise MaskFormatError(
                f"the mask is for {key} {found}; {where} is of {names[0]}",
                where=mask.path,
                hint="Choose the mask that belongs to the exposure.",
            )
    for key, found_axis, expected_axis in zip(
        ("FASTAXIS", "SLOWAXIS"), mask.orientation, ramp.orientation, strict=True
    ):
        if found_axis is not None and expected_axis is not None and found_axis != expected_axis:
            raise GeometryError(
                f"the mask was read out with {key} {found_axis}, {where} with {expected_axis}",
                where=mask.path,
                hint="A mask must have the orientation of the data; make one in it.",
            )
    frame = Window.full(*ramp.detector.shape)
    if not frame.contains(mask.window) or not mask.window.contains(ramp.window):
        raise GeometryError(
            f"the mask covers {mask.window.describe()}; the data of {where} lie at "
            f"{ramp.window.describe()}, on a detector of {size_text(frame.shape)}",
            where=mask.path,
            hint="Use a mask that covers the data; a full-frame mask always does.",
        )


def cut_out(mask: Mask, window: Window) -> npt.NDArray[np.uint32]:
    """Return the mask's flags inside a window, as a read-only view."""
    return mask.dq[window.slices(mask.window)]


# A batch meets IRIS' five detectors in turns: all their masks must have room.
@functools.lru_cache(maxsize=8)
def _cached(path: Path, _identity: Identity | None, unknown: Unknown) -> Mask:
    with open_mask_file(path) as file:
        reftype = name_of(file.units[0].header.get("REFTYPE"))
        if reftype is not None and reftype.upper() not in MASK_TYPES:
            raise MaskFormatError(
                f"REFTYPE is {reftype}; expected MASK",
                where=file.path,
                hint="The file is a reference of another type.",
            )
        return flags_of(file, find_dq_image(file, is_mask=True), unknown)


def flags_of(file: FitsInput, unit: Unit, unknown: Unknown) -> Mask:
    """Return an image of flags, which the file's table DQ_DEF gives a meaning if there is one."""
    header = Keywords(file.path, file.units[0], unit)
    dq = read_rows(file, unit, 0, unit.shape[0])
    window, placed = place_of_image(header, dq.shape, file.path)
    left_out: dict[int, int] = {}
    tables = file.named("DQ_DEF")
    if len(tables) > 1:
        raise MaskFormatError(
            f"has {len(tables)} tables DQ_DEF; expected one",
            where=file.path,
            hint="Leave the table that gives the meaning of the bits.",
        )
    for table in tables:
        meaning = translation(read_dq_def(file, table), where=file.path, unknown=unknown)
        dq, left_out = translate(dq, meaning, where=file.path, unknown=unknown)
    dq.flags.writeable = False
    return Mask(
        path=file.path,
        dq=dq,
        window=window,
        instrument=name_of(header.get("INSTRUME")),
        detector=name_of(header.get("DETECTOR")),
        orientation=(axis_of(header.get("FASTAXIS")), axis_of(header.get("SLOWAXIS"))),
        left_out=left_out,
        placed=placed,
    )


def place_on_detector(
    mask: Mask,
    shape: tuple[int, int],
    *,
    at: tuple[int, int] | None = None,
    data: Window | None = None,
) -> Mask:
    """Return a mask of the whole detector, of `shape`, with the flags of an image in their place.

    `at` is the 1-based position (x, y) of the first pixel, where the file does not state it; `data`
    what the flags are for, for the error.
    """
    ny, nx = mask.dq.shape
    window, frame = mask.window, Window.full(*shape)
    if at is not None:
        window = Window.from_fits(xstart=at[0], ystart=at[1], xsize=nx, ysize=ny)
        if mask.placed and window != mask.window:
            raise ConfigError(
                f"lies at {mask.window.describe()} by its header, but at {window.describe()} by "
                "the position given",
                where=mask.path,
                hint="Leave the position out.",
                options=("at",),
            )
    elif not mask.placed and mask.dq.shape != shape:
        raise GeometryError(
            f"is {size_text(mask.dq.shape)} and does not state where it lies; expected the "
            f"detector's {size_text(shape)}{f' or {size_text(data.shape)}' if data else ''}",
            where=mask.path,
            hint="Give the 1-based detector position of its first pixel.",
            options=("at",),
        )
    if not frame.contains(window):
        raise GeometryError(
            f"lies at {window.describe()}, which is not on the detector: {frame.describe()}",
            where=mask.path,
            hint="Correct its position, or name the right detector.",
            options=("at",),
        )
    dq = mask.dq
    if dq.shape != shape:
        dq = np.zeros(shape, np.uint32)
        dq[window.slices(frame)] = mask.dq
        dq.flags.writeable = False
    return dataclasses.replace(mask, dq=dq, window=frame, placed=True)
