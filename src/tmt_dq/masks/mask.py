"""Mask files and user DQ images, read into flags of the convention."""

import functools
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown, translate, translation
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import GeometryError, MaskFormatError, RampFormatError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.fits.encoding import is_uint32, read_rows, sum_flags
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.tables import read_dq_def
from tmt_dq.instruments.description import WILDCARDS

__all__ = ["Mask", "Stored", "check_belongs", "cut_out", "read_mask", "read_user_dq"]


class Stored:
    """Where on the disk a mask's flags lie in the very form in which PIXELDQ is stored.

    Parameters
    ----------
    path : Path
        The file.
    state : tuple
        Its state when it was read: what was read may be copied as long as that is the same.
    offset : int
        First byte of the data.
    dq : ndarray of uint32, (ny, nx)
        The flags that were read there.
    """

    def __init__(
        self, path: Path, state: tuple[int, int], offset: int, dq: npt.NDArray[np.uint32]
    ) -> None:
        self.path = path
        self.state = state
        self.offset = offset
        self.dq = dq

    @functools.cached_property
    def datasum(self) -> int:
        """Ones' complement sum of the stored data; computed once for all exposures."""
        return sum_flags(self.dq)

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Pixels per flag, GOOD included; counted once for all exposures."""
        return PIXEL.count(self.dq)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Flags of detector pixels, from a file.

    Parameters
    ----------
    path : Path
        The file.
    dq : ndarray of uint32, (ny, nx)
        Flags of the convention; read-only, shared by all who read the same file.
    window : Window
        The detector pixels that `dq` covers.
    instrument, detector : str or None
        INSTRUME and DETECTOR, None where the file does not say.
    orientation : tuple of (int or None)
        FASTAXIS and SLOWAXIS.
    left_out : mapping of int to int
        Bits dropped on request: bit number in the file to number of pixels.
    placed : bool
        Whether the file itself says where on the detector its pixels lie.
    stored : Stored or None
        Where the flags can be copied from; None where the file holds them in another form.
    """

    path: Path
    dq: npt.NDArray[np.uint32]
    window: Window
    instrument: str | None = None
    detector: str | None = None
    orientation: tuple[int | None, int | None] = (None, None)
    left_out: Mapping[int, int] = field(default_factory=dict)
    placed: bool = False
    stored: Stored | None = None


def read_mask(path: Path, *, unknown: Unknown = "error") -> Mask:
    """Read a MASK reference file.

    The result is kept for the life of the process and given again as long as the file's size and
    time of change stay the same: a night's exposures read their mask once.

    Parameters
    ----------
    path : Path
        FITS file with an image extension DQ and, optionally, a table DQ_DEF.
    unknown : {"error", "drop"}
        What to do about names and bits without a meaning.

    Returns
    -------
    Mask
        The flags, translated by DQ_DEF where there is one.

    Raises
    ------
    MaskFormatError
        Raised if the file is not FITS, is no mask, or holds values that are not flags.
    UnknownFlagError
        Raised if DQ_DEF has unknown names, or DQ has bits that DQ_DEF does not define.
    GeometryError
        Raised if SUBSTRT and SUBSIZE contradict the array.
    """
    return _cached(path, _state(path), "mask", unknown)


def read_user_dq(path: Path, ramp: Ramp, *, unknown: Unknown = "error") -> Mask:
    """Read a user's own flags: a FITS image as large as the data or as the detector.

    Parameters
    ----------
    path : Path
        FITS file with a 2-D integer image: an extension DQ, PIXELDQ or USER_DQ, or else the only
        2-D image of the file, the primary one included.
    ramp : Ramp
        The exposure that the flags are for.
    unknown : {"error", "drop"}
        What to do about names and bits without a meaning.

    Returns
    -------
    Mask
        The flags.

    Raises
    ------
    MaskFormatError
        Raised if there is no such image, or values are not flags.
    GeometryError
        Raised if the image is neither as large as the data nor as the detector.
    """
    user = _cached(path, _state(path), "user", unknown)
    if user.placed or user.dq.shape == ramp.detector.shape:
        return user
    if user.dq.shape == ramp.window.shape:
        return Mask(
            path,
            user.dq,
            ramp.window,
            user.instrument,
            user.detector,
            user.orientation,
            user.left_out,
        )
    raise GeometryError(
        f"the user DQ image is {_size(user.dq.shape)}; expected the size of the data, "
        f"{_size(ramp.window.shape)}, or of the detector, {_size(ramp.detector.shape)}",
        where=path,
        hint="Add SUBSTRT1 and SUBSTRT2 to its header if it covers another part of the detector.",
    )


def check_belongs(mask: Mask, ramp: Ramp, *, where: object) -> None:
    """Make sure that a mask is of the exposure's detector and covers it.

    Parameters
    ----------
    mask : Mask
        The mask.
    ramp : Ramp
        The exposure.
    where : object
        The exposure's file, named in errors.

    Raises
    ------
    MaskFormatError
        Raised if the mask is for another instrument or detector.
    GeometryError
        Raised if the mask does not cover the data, or was read out in another orientation.
    """
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
            f"{_size(frame.shape)}",
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
            f"cannot be read: {error.strerror}", where=path, hint="Check the name and the rights."
        ) from error
    return str(path.resolve()), status.st_size, status.st_mtime_ns


# A batch meets IRIS' five detectors in turns: all their masks must have room, and a user's files.
@functools.lru_cache(maxsize=8)
def _cached(path: Path, state: tuple[str, int, int], kind: str, unknown: Unknown) -> Mask:
    del state  # part of the key only
    try:
        with open_input(path, scratch=Path(tempfile.gettempdir())) as file:
            return _read(file, kind, unknown)
    except RampFormatError as error:
        # The file is a mask, so it is the keeper of the mask who has to act.
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error


def _read(file: FitsInput, kind: str, unknown: Unknown) -> Mask:
    unit = _mask_unit(file) if kind == "mask" else _user_unit(file)
    header = Keywords(file.path, file.units[0], unit)
    stored_dq = dq = read_rows(file, unit, 0, unit.shape[0])
    window, placed = _place(header, dq.shape, file.path)
    left_out: dict[int, int] = {}
    tables = file.named("DQ_DEF")
    if len(tables) > 1:
        raise MaskFormatError(
            f"has {len(tables)} tables DQ_DEF; expected one",
            where=file.path,
            hint="Leave the one that says what the bits mean.",
        )
    if tables:
        rows = read_dq_def(file, tables[0])
        meaning = translation(rows, where=file.path, unknown=unknown)
        dq, left_out = translate(dq, meaning, where=file.path, unknown=unknown)
    dq.flags.writeable = False
    stored = None
    if dq is stored_dq and is_uint32(unit) and not file.compressed:
        status = os.fstat(file.fd)
        state = (status.st_size, status.st_mtime_ns)
        stored = Stored(file.path.resolve(), state, unit.data_offset, dq)
    return Mask(
        path=file.path,
        dq=dq,
        window=window,
        instrument=_name(header.get("INSTRUME")),
        detector=_name(header.get("DETECTOR")),
        orientation=(_axis(header.get("FASTAXIS")), _axis(header.get("SLOWAXIS"))),
        left_out=left_out,
        placed=placed,
        stored=stored,
    )


def _mask_unit(file: FitsInput) -> Unit:
    """Find the DQ extension of a mask."""
    reftype = _name(file.units[0].header.get("REFTYPE"))
    if reftype is not None and reftype.upper() not in {"MASK", "DQ", "BPM"}:
        raise MaskFormatError(
            f"REFTYPE is {reftype}; expected MASK",
            where=file.path,
            hint="The file is a reference of another type.",
        )
    found = file.named("DQ")
    if len(found) != 1 or not found[0].is_image:
        listing = ", ".join(unit.label for unit in file.units)
        raise MaskFormatError(
            f"has {len(found) or 'no'} image extension{'s' if len(found) > 1 else ''} DQ; "
            f"expected one, found {listing}",
            where=file.path,
            hint="A mask has its flags in an image extension DQ.",
        )
    return _two_dimensional(found[0], file)


def _user_unit(file: FitsInput) -> Unit:
    """Find the image that holds a user's flags."""
    for name in ("DQ", "PIXELDQ", "USER_DQ"):
        named = file.named(name)
        if len(named) == 1 and named[0].is_image:
            return _two_dimensional(named[0], file)
    images = [unit for unit in file.units if unit.is_image and len(unit.shape) == 2]
    if len(images) != 1:
        listing = ", ".join(f"{unit.label} {unit.shape}" for unit in file.units)
        raise MaskFormatError(
            f"has {len(images) or 'no'} 2-D image{'s' if len(images) > 1 else ''}; expected one, "
            f"or an extension DQ; found {listing}",
            where=file.path,
            hint="Put the flags into a 2-D image extension named DQ.",
        )
    return images[0]


def _two_dimensional(unit: Unit, file: FitsInput) -> Unit:
    if len(unit.shape) != 2 or min(unit.shape) < 1:
        raise MaskFormatError(
            f"{unit.label} has the shape {unit.shape}; expected (ny, nx), none of them zero: a "
            "2-D image",
            where=file.path,
            hint="A mask has one plane, the same for all reads.",
        )
    return unit


def _place(header: Mapping[str, object], shape: tuple[int, ...], path: Path) -> tuple[Window, bool]:
    """Work out the detector pixels that a reference covers, and whether the file says so."""
    ny, nx = shape
    numbers = {}
    for key, fallback in (("SUBSTRT1", 1), ("SUBSTRT2", 1), ("SUBSIZE1", nx), ("SUBSIZE2", ny)):
        value = header.get(key)
        number = _axis(value)
        if value is not None and number is None:
            raise GeometryError(
                f"{key} is {value!r}; expected a whole number", where=path, hint=f"Correct {key}."
            )
        numbers[key] = fallback if number is None else number
    if (numbers["SUBSIZE2"], numbers["SUBSIZE1"]) != shape:
        raise GeometryError(
            f"SUBSIZE1 and SUBSIZE2 are {numbers['SUBSIZE1']} and {numbers['SUBSIZE2']}, but the "
            f"DQ array is {_size((ny, nx))}",
            where=path,
            hint="Correct the keywords of the mask.",
        )
    if min(numbers["SUBSTRT1"], numbers["SUBSTRT2"]) < 1:
        raise GeometryError(
            f"SUBSTRT1 and SUBSTRT2 are {numbers['SUBSTRT1']} and {numbers['SUBSTRT2']}; they "
            "count from 1",
            where=path,
            hint="Correct the keywords of the mask.",
        )
    window = Window.from_fits(
        xstart=numbers["SUBSTRT1"], ystart=numbers["SUBSTRT2"], xsize=nx, ysize=ny
    )
    return window, _axis(header.get("SUBSTRT1")) is not None and _axis(
        header.get("SUBSTRT2")
    ) is not None


def _name(value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _axis(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if float(value).is_integer() else None


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} × {shape[0]} (x × y)"
