"""Mask files and user DQ images, read into flags of the convention."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown, translate, translation
from tmt_dq.core.geometry import Window
from tmt_dq.errors import GeometryError, MaskFormatError
from tmt_dq.exposures.ramp import Ramp
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

__all__ = ["MASK_TYPES", "Mask", "check_belongs", "cut_out", "read_dq_image", "read_mask"]


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

    The result is kept for the life of the process and given again as long as the file's size and
    time of change stay the same: a night's exposures read their mask once.
    """
    return _cached(path, _state(path), "mask", unknown)


def read_dq_image(path: Path, *, unknown: Unknown = "error") -> Mask:
    """Read an image of flags of any name, kept in memory as `read_mask` does."""
    return _cached(path, _state(path), "user", unknown)


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
    if not frame.contains(mask.window):
        raise GeometryError(
            f"the mask covers {mask.window.describe()}, but the detector {ramp.detector.name} is "
            f"{size_text(frame.shape)}",
            where=mask.path,
            hint="A mask larger than the detector is one of another.",
        )
    if not mask.window.contains(ramp.window):
        raise GeometryError(
            f"the mask covers {mask.window.describe()}, but the data of {where} lie at "
            f"{ramp.window.describe()}",
            where=mask.path,
            hint="Use a mask that covers the data; a full-frame mask always does.",
        )


def cut_out(mask: Mask, window: Window) -> npt.NDArray[np.uint32]:
    """Return the mask's flags inside a window, as a read-only view."""
    return mask.dq[window.slices(mask.window)]


def _state(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise MaskFormatError(
            f"cannot be read: {error.strerror}",
            where=path,
            hint="Check the path and its permissions.",
        ) from error
    return str(path.resolve()), status.st_size, status.st_mtime_ns


# A batch meets IRIS' five detectors in turns: all their masks must have room, and a user's files.
@functools.lru_cache(maxsize=8)
def _cached(path: Path, state: tuple[str, int, int], kind: str, unknown: Unknown) -> Mask:
    del state  # part of the key only
    with open_mask_file(path) as file:
        if kind == "user":
            return _read(file, find_dq_image(file, ambiguous=MaskFormatError), unknown)
        _check_reftype(file)
        return _read(file, find_dq_image(file, names=("DQ",), only_named=True), unknown)


def _check_reftype(file: FitsInput) -> None:
    reftype = name_of(file.units[0].header.get("REFTYPE"))
    if reftype is not None and reftype.upper() not in MASK_TYPES:
        raise MaskFormatError(
            f"REFTYPE is {reftype}; expected MASK",
            where=file.path,
            hint="The file is a reference of another type.",
        )


def _read(file: FitsInput, unit: Unit, unknown: Unknown) -> Mask:
    header = Keywords(file.path, file.units[0], unit)
    dq = read_rows(file, unit, 0, unit.shape[0])
    window, placed = place_of_image(header, dq.shape, file.path)
    dq, left_out = _translated(file, dq, unknown)
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


def _translated(
    file: FitsInput, dq: npt.NDArray[np.uint32], unknown: Unknown
) -> tuple[npt.NDArray[np.uint32], dict[int, int]]:
    """Translate flags by the file's DQ_DEF, if there is one; return the bits left out, too."""
    tables = file.named("DQ_DEF")
    if not tables:
        return dq, {}
    if len(tables) > 1:
        raise MaskFormatError(
            f"has {len(tables)} tables DQ_DEF; expected one",
            where=file.path,
            hint="Leave the table that gives the meaning of the bits.",
        )
    meaning = translation(read_dq_def(file, tables[0]), where=file.path, unknown=unknown)
    return translate(dq, meaning, where=file.path, unknown=unknown)
