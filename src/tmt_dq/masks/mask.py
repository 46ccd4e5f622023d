"""Mask files and images of flags: found in a FITS file, read, and placed on the detector."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown, translate, translation
from tmt_dq.core.geometry import Window
from tmt_dq.core.values import whole_number
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, RampFormatError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.files.identity import Identity
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.tables import read_dq_def
from tmt_dq.instruments import available, load
from tmt_dq.instruments.description import WILDCARDS

_TYPES = frozenset({"mask", "dq", "bpm"})
"""Types of bad-pixel masks in well-known observatories."""

_NAMES = ("DQ", "PIXELDQ", "USER_DQ")
"""Extensions that hold flags, in the order in which they are looked for."""


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
    """Read a MASK reference file, once in the life of the process as long as it does not change."""
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
        belongs = {*WILDCARDS, *(name.upper() for name in names)}
        if found is not None and found.upper() not in belongs:
            what = f"the mask is for {key} {found}; {where} is of {names[0]}"
            raise MaskFormatError(what, where=mask.path, hint="Choose the exposure's own mask.")
    for ours, theirs in zip(mask.orientation, ramp.orientation, strict=True):
        if None not in (ours, theirs) and ours != theirs:
            raise GeometryError(
                f"the mask was read out with FASTAXIS, SLOWAXIS {mask.orientation}, {where} with "
                f"{ramp.orientation}",
                where=mask.path,
                hint="A mask must have the orientation of the data; make one in it.",
            )
    frame = Window.full(*ramp.detector.shape)
    if not frame.contains(mask.window) or not mask.window.contains(ramp.window):
        raise GeometryError(
            f"the mask covers {mask.window.describe()}; the data of {where} lie at "
            f"{ramp.window.describe()}, on a detector of {_size(frame.shape)}",
            where=mask.path,
            hint="Use a mask that covers the data; a full-frame mask always does.",
        )


def is_mask_type(reftype: str) -> bool:
    """Return whether a REFTYPE is that of bad-pixel masks, here or at an instrument described."""
    name = reftype.lower()
    return name in _TYPES or any(name in load(each).reftypes for each in available())


def cut_out(mask: Mask, window: Window) -> npt.NDArray[np.uint32]:
    """Return the mask's flags inside a window, as a read-only view."""
    return mask.dq[window.slices(mask.window)]


# A batch meets IRIS' five detectors in turns: all their masks must have room.
@functools.lru_cache(maxsize=8)
def _cached(path: Path, _identity: Identity | None, unknown: Unknown) -> Mask:
    with open_mask_file(path) as file:
        reftype = name_of(file.units[0].header.get("REFTYPE"))
        if reftype is not None and not is_mask_type(reftype):
            what, hint = f"REFTYPE is {reftype}; expected MASK", "Name a mask."
            raise MaskFormatError(what, where=file.path, hint=hint)
        return flags_of(file, find_dq_image(file, is_mask=True), unknown)


@contextlib.contextmanager
def open_mask_file(path: Path) -> Iterator[FitsInput]:
    """Open a FITS file with flags; what is wrong with it is a `MaskFormatError`."""
    try:
        with open_input(path, scratch=Path(tempfile.gettempdir())) as file:
            yield file
    except RampFormatError as error:
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error


def find_dq_image(
    file: FitsInput,
    *,
    extension: str | int | None = None,
    lists: Sequence[Unit] = (),
    is_mask: bool = False,
) -> Unit:
    """Return the 2-D image that holds the flags of a file, or one of `lists`.

    That is `extension`, DQ of a mask, the first of `_NAMES`, or the only 2-D image or list.
    """
    images = [unit for unit in file.units if unit.is_image]
    chosen = [*lists, *(unit for unit in images if len(unit.shape) == 2)]
    if extension is not None:
        wanted = str(extension).strip().upper()
        chosen = [unit for unit in chosen if wanted in {unit.name, str(unit.index)}][:1]
    elif is_mask:
        chosen = [unit for unit in images if unit.name == "DQ"]
    else:
        named = ([unit for unit in images if unit.name == name] for name in _NAMES)
        chosen = next(filter(None, named), chosen)
    if len(chosen) == 1:
        (unit,) = chosen
        if unit in lists or (len(unit.shape) == 2 and min(unit.shape) > 0):
            return unit
    found = ", ".join(f"{unit.label} {unit.shape}" for unit in file.units)
    number = len(chosen) or "no"
    if extension is not None or (len(chosen) > 1 and not is_mask):
        suffix = "" if extension is None else f" {extension}"
        raise ConfigError(
            f"has {number} 2-D images or lists{suffix}; expected one; found {found}",
            where=file.path,
            hint="Name one of them, or its 0-based number.",
            options=("extension",),
        )
    what = "image extensions DQ" if is_mask else "2-D images"
    finding, hint = (None if chosen else wrong_kind(file, "a mask")) or (
        f"has {number} {what}; expected one of the shape (ny, nx); found {found}",
        "A mask has its flags in a 2-D image extension DQ, the same for all reads.",
    )
    raise MaskFormatError(finding, where=file.path, hint=hint)


def _place(header: Mapping[str, object], shape: tuple[int, ...], path: Path) -> tuple[Window, bool]:
    """Return the pixels that an image covers, from the first one on if its header has no place."""
    ny, nx = shape
    expected = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": nx, "SUBSIZE2": ny}
    stated = {key: header[key] for key in expected if header.get(key) is not None}
    found = expected | {key: whole_number(value) or 0 for key, value in stated.items()}
    x, y, xsize, ysize = found.values()
    if (ysize, xsize) != shape or min(x, y) < 1:
        raise GeometryError(
            f"has {', '.join(f'{key} {value}' for key, value in stated.items())}; expected "
            f"positions that are whole numbers from 1, and the size of DQ, {_size(shape)}",
            where=path,
            hint="Correct the keywords of the mask.",
        )
    placed = stated.keys() >= {"SUBSTRT1", "SUBSTRT2"}
    return Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny), placed


def name_of(value: object) -> str | None:
    """Return a header value as a name; None where there is none."""
    text = "" if value is None else str(value).strip()
    return text or None


def _size(shape: tuple[int, ...]) -> str:
    """Describe a shape for people: x before y."""
    return f"{shape[1]} × {shape[0]} (x × y)"


def flags_of(file: FitsInput, unit: Unit, unknown: Unknown) -> Mask:
    """Return an image of flags, which the file's table DQ_DEF gives a meaning if there is one."""
    dq = read_rows(file, unit, 0, unit.shape[0])
    tables = file.named("DQ_DEF")
    if len(tables) > 1:
        what, hint = f"has {len(tables)} tables DQ_DEF; expected one", "Leave the right one."
        raise MaskFormatError(what, where=file.path, hint=hint)
    if not tables:
        return mask_of(file, unit, dq)
    meaning = translation(read_dq_def(file, tables[0]), where=file.path, unknown=unknown)
    return mask_of(file, unit, *translate(dq, meaning, where=file.path, unknown=unknown))


def mask_of(
    file: FitsInput,
    unit: Unit,
    dq: npt.NDArray[np.uint32],
    left_out: Mapping[int, int] | None = None,
) -> Mask:
    """Return the flags of an image with what its header states."""
    header = Keywords(file.path, file.units[0], unit)
    window, placed = _place(header, dq.shape, file.path)
    dq.flags.writeable = False
    return Mask(
        path=file.path,
        dq=dq,
        window=window,
        instrument=name_of(header.get("INSTRUME")),
        detector=name_of(header.get("DETECTOR")),
        orientation=(whole_number(header.get("FASTAXIS")), whole_number(header.get("SLOWAXIS"))),
        left_out=left_out or {},
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
            f"is {_size(mask.dq.shape)} and does not state where it lies; expected the "
            f"detector's {_size(shape)}{f' or {_size(data.shape)}' if data else ''}",
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
