"""What DQ initialization must know of an exposure, from its headers alone."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, RampFormatError, SelectionError, TmtDqError
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.problems import Problems
from tmt_dq.instruments import Detector, Instrument, load

__all__ = [
    "Ramp",
    "RampFile",
    "describe_ramp",
    "merged_header",
    "read_pixeldq",
    "read_ramp",
    "read_selectors",
]

_FORMS = "4-D (nints, ngroups, ny, nx), 3-D (ngroups, ny, nx) or 2-D (ny, nx)"
_PLACE = ("SUBSTRT1", "SUBSTRT2")
_SIZE = ("SUBSIZE1", "SUBSIZE2")
_DETECTOR_SIZE = (("DETXSIZE", "DETXSIZ"), ("DETYSIZE", "DETYSIZ"))
_SELECTORS = ("INSTRUME", "DETECTOR", "SUBARRAY", "DATE-OBS", "TIME-OBS")


@dataclass(frozen=True, slots=True)
class Ramp:
    """An exposure: whose it is, how large, and where on the detector.

    Parameters
    ----------
    instrument : Instrument
        INSTRUME.
    detector : Detector
        DETECTOR.
    shape : tuple of int
        (nints, ngroups, ny, nx) of the science data.
    window : Window
        The detector pixels that were read.
    selectors : mapping of str to object
        FITS keywords that reference selection looks at, as found.
    orientation : tuple of (int or None)
        FASTAXIS and SLOWAXIS, None where the header does not say.
    is_image : bool
        Whether the science data are one 2-D image, without groups; `shape` then is (1, 1, ny, nx).
    """

    instrument: Instrument
    detector: Detector
    shape: tuple[int, int, int, int]
    window: Window
    selectors: Mapping[str, object]
    orientation: tuple[int | None, int | None] = (None, None)
    is_image: bool = False


@dataclass(frozen=True, slots=True)
class RampFile:
    """A ramp in a file.

    Parameters
    ----------
    ramp : Ramp
        What the headers say.
    file : FitsInput
        The open file.
    sci : Unit
        Extension SCI.
    pixeldq, groupdq : Unit or None
        Extensions PIXELDQ (DQ in an image) and GROUPDQ, None where they do not exist.
    """

    ramp: Ramp
    file: FitsInput
    sci: Unit
    pixeldq: Unit | None
    groupdq: Unit | None

    @property
    def pixel_name(self) -> str:
        """Name of the extension with the flags of the pixels."""
        return "DQ" if self.ramp.is_image else "PIXELDQ"


def read_ramp(file: FitsInput, *, start: tuple[int, int] | None = None) -> RampFile:
    """Return the ramp that an open file holds, checked.

    `start` is the 1-based x and y of its first pixel, for a header without it. All problems of a
    file are listed in one error, of the class of the first.
    """
    problems = Problems(file.path)
    sci = _only(file, "SCI", problems)
    if sci is None:
        if not problems:
            found = ", ".join(unit.label for unit in file.units)
            what, hint = wrong_kind(file, "an exposure") or (
                f"has no SCI extension; found {found}",
                "A ramp has its reads in an image extension SCI (nints, ngroups, ny, nx).",
            )
            problems.add(RampFormatError, what, hint)
        problems.raise_any()
        raise AssertionError("unreachable")
    header = _merged(file, [sci])
    if not sci.is_image:
        problems.add(
            RampFormatError, f"SCI is a table; expected {_FORMS}", "Write it as an image extension."
        )
        problems.raise_any()
    ramp = describe_ramp(header, sci.shape, where=file.path, start=start, problems=problems)
    _check_names(file, ramp, problems)
    pixeldq = _only(file, "DQ" if ramp.is_image else "PIXELDQ", problems)
    groupdq = None if ramp.is_image else _only(file, "GROUPDQ", problems)
    for unit, expected in ((pixeldq, sci.shape[-2:]), (groupdq, sci.shape)):
        if unit is not None:
            _check_flags(unit, expected, sci, problems)
    problems.raise_any()
    return RampFile(ramp, file, sci, pixeldq, groupdq)


def _check_names(file: FitsInput, ramp: Ramp, problems: Problems) -> None:
    """Note flags under a name that SCI's number of axes rules out: they would be passed over."""
    kind, own = ("an image", "DQ") if ramp.is_image else ("a ramp", "PIXELDQ and GROUPDQ")
    for name in ("PIXELDQ", "GROUPDQ") if ramp.is_image else ("DQ",):
        if file.named(name):
            problems.add(
                RampFormatError,
                f"SCI is {kind}, whose flags are in {own}, but there is an extension {name}",
                f"Move its flags into {own}, or remove the extension.",
            )


def _check_flags(unit: Unit, expected: tuple[int, ...], sci: Unit, problems: Problems) -> None:
    """Note what keeps the flags of an exposure from being read, or written again."""
    if unit.index == 0:
        problems.add(
            RampFormatError,
            f"the primary HDU is called {unit.name}; expected an extension of that name",
            "Move its flags into an extension, or call it otherwise.",
        )
    if not unit.is_image or unit.shape != expected:
        problems.add(
            GeometryError,
            f"{unit.label} has the shape {unit.shape}; SCI {sci.shape} needs {expected}",
            "Flags cannot be moved to another shape without loss: make the extension anew.",
        )
    if unit.is_image and unit.bitpix < 0:
        problems.add(
            RampFormatError,
            f"{unit.label} holds floating-point numbers (BITPIX {unit.bitpix}); flags are integers",
            "Write the extension as integers.",
        )
    try:
        zero, scale, _ = (unit.header.get(key) for key in ("BZERO", "BSCALE", "BLANK"))
    except RampFormatError as error:
        problems.add(RampFormatError, f"{unit.label}: {error.what}", "Correct this card.")
        return
    zero, scale = 0 if zero is None else zero, 1 if scale is None else scale
    if unit.name == "GROUPDQ" and (unit.bitpix not in {8, -32, -64} or zero != 0 or scale != 1):
        problems.add(
            RampFormatError,
            f"GROUPDQ is not uint8: BITPIX {unit.bitpix}, BZERO {zero}, BSCALE {scale}; "
            "expected 8, 0 and 1",
            "Write the extension as uint8.",
        )


def read_pixeldq(path: Path) -> npt.NDArray[np.uint32]:
    """Return the flags of a ramp that has been initialized."""
    with open_input(path, scratch=Path(tempfile.gettempdir())) as file:
        problems = Problems(path)
        unit = _only(file, "PIXELDQ", problems)
        if unit is None or not unit.is_image or len(unit.shape) != 2:
            problems.add(RampFormatError, "has no 2-D image extension PIXELDQ")
        problems.raise_any()
        assert unit is not None
        return read_rows(file, unit, 0, unit.shape[0])


def read_selectors(file: FitsInput) -> tuple[Instrument, dict[str, object]]:
    """Return what reference selection must know of an exposure, whatever its geometry."""
    problems = Problems(file.path)
    header = _merged(file, file.named("SCI"))
    instrument, _ = _instrument(header, problems)
    problems.raise_any()
    assert instrument is not None
    return instrument, _selectors(header, instrument)


def merged_header(exposure: RampFile) -> Keywords:
    """Return the keywords of an exposure: the primary header's, then those only in SCI's."""
    return _merged(exposure.file, [exposure.sci])


def _merged(file: FitsInput, sci: list[Unit]) -> Keywords:
    """Return the keywords of the primary header, then those only in SCI's."""
    return Keywords(file.path, file.units[0], *sci[:1])


def _selectors(header: Mapping[str, object], instrument: Instrument) -> dict[str, object]:
    """Return the keywords that rules may ask for: the usual ones, and those of the description."""
    described = (word for words in instrument.keywords.values() for word in words.split())
    return {key: header[key] for key in dict.fromkeys((*_SELECTORS, *described)) if key in header}


def _only(file: FitsInput, name: str, problems: Problems) -> Unit | None:
    """Return the one unit called `name`, None where there is none."""
    found = file.named(name)
    if len(found) > 1:
        problems.add(
            RampFormatError,
            f"has {len(found)} extensions {name} (HDUs "
            f"{', '.join(str(unit.index) for unit in found)}); expected one",
            f"Decide which one counts: rename or remove the other {name}.",
        )
    return found[0] if len(found) == 1 else None


def describe_ramp(
    header: Mapping[str, object],
    shape: tuple[int, ...],
    *,
    where: object,
    start: tuple[int, int] | None = None,
    problems: Problems | None = None,
) -> Ramp:
    """Work out whose a ramp is and where on the detector it lies."""
    problems = Problems(where) if problems is None else problems
    if not 2 <= len(shape) <= 4:
        problems.add(
            RampFormatError,
            f"SCI is {len(shape)}-D {shape}; expected {_FORMS}",
            "Give the array these axes, with length 1 where there is one of a kind.",
        )
        problems.raise_any()
    if min(shape) < 1:
        problems.add(
            RampFormatError,
            f"SCI has the shape {shape}; expected no length of zero",
            "There is nothing to initialize in an empty ramp.",
        )
        problems.raise_any()
    nints, ngroups, ny, nx = (1,) * (4 - len(shape)) + shape
    instrument, detector = _instrument(header, problems)
    orientation = (
        _integer(header, "FASTAXIS", problems),
        _integer(header, "SLOWAXIS", problems),
    )
    window = None
    if detector is not None:
        window = _window(header, (ny, nx), detector, start, problems)
    problems.raise_any()
    assert instrument is not None
    assert detector is not None
    assert window is not None
    return Ramp(
        instrument=instrument,
        detector=detector,
        shape=(nints, ngroups, ny, nx),
        window=window,
        selectors=_selectors(header, instrument),
        orientation=orientation,
        is_image=len(shape) == 2,
    )


def _instrument(
    header: Mapping[str, object], problems: Problems
) -> tuple[Instrument | None, Detector | None]:
    """Look up INSTRUME and DETECTOR."""
    missing = [key for key in ("INSTRUME", "DETECTOR") if _text(header.get(key)) is None]
    if missing:
        problems.add(
            RampFormatError,
            f"has no {' and no '.join(missing)} keyword in its primary header",
            "The mask is chosen by instrument and detector: add the keywords.",
        )
    name = _text(header.get("INSTRUME"))
    if name is None:
        return None, None
    try:
        instrument = load(name)
    except ConfigError as error:
        problems.add(SelectionError, f"INSTRUME: {error.what}", error.hint)
        return None, None
    if "DETECTOR" in missing:
        return instrument, None
    try:
        return instrument, instrument.detector(str(header["DETECTOR"]))
    except TmtDqError as error:
        problems.note(error)
        return instrument, None


def _text(value: object) -> str | None:
    """Return a keyword's value as text, None where it is absent or blank."""
    text = "" if value is None else str(value).strip()
    return text or None


def _integer(header: Mapping[str, object], key: str, problems: Problems) -> int | None:
    """Return a keyword's value as an integer, None where it is absent."""
    value = header.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_whole(value):
        problems.add(
            GeometryError, f"{key} is {value!r}; expected a whole number", f"Correct {key}."
        )
        return None
    return int(value)


def _is_whole(value: float) -> bool:
    return isinstance(value, int) or value.is_integer()  # infinity is not


def _window(
    header: Mapping[str, object],
    shape: tuple[int, int],
    detector: Detector,
    start: tuple[int, int] | None,
    problems: Problems,
) -> Window | None:
    """Work out the detector pixels that were read; note every contradiction."""
    ny, nx = shape
    frame = Window.full(*detector.shape)
    _check_detector_size(header, frame, problems)
    sizes = [_integer(header, key, problems) for key in _SIZE]
    for key, size, axis in zip(_SIZE, sizes, (nx, ny), strict=True):
        if size is not None and size != axis:
            problems.add(
                GeometryError,
                f"{key} is {size}, but the SCI array is {nx} × {ny} (x × y)",
                f"Correct {key}, or find out why the array has another size.",
            )
    starts = [_integer(header, key, problems) for key in _PLACE]
    if start is not None:
        for key, found, said in zip(_PLACE, starts, start, strict=True):
            if found is not None and found != said:
                problems.add(
                    GeometryError,
                    f"{key} is {found} in the header, but the caller says {said}",
                    "--subarray (subarray=) is for headers that do not say where the data lie.",
                )
        starts = list(start)
    missing = [key for key, found in zip(_PLACE, starts, strict=True) if found is None]
    if missing and shape != frame.shape:
        all_missing = missing + [k for k, s in zip(_SIZE, sizes, strict=True) if s is None]
        problems.add(
            GeometryError,
            f"the data are {nx} × {ny}, not the full frame {frame.nx} × {frame.ny} of "
            f"{detector.name}, and the keywords {', '.join(all_missing)} that say where on the "
            "detector they lie are missing",
            "Add them, or use --subarray X,Y (subarray=(x, y)), the 1-based detector position of "
            "the first pixel.",
        )
        return None
    x, y = (1 if found is None else found for found in starts)
    if min(x, y) < 1:
        problems.add(
            GeometryError,
            f"the subarray starts at x = {x}, y = {y}; SUBSTRT1 and SUBSTRT2 count from 1",
            "Correct the start: the first pixel of the detector is 1, 1.",
        )
        return None
    window = Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny)
    if not frame.contains(window):
        problems.add(
            GeometryError,
            f"the subarray {window.describe()} leaves the detector {detector.name}, "
            f"{frame.describe()}",
            "Correct SUBSTRT1 and SUBSTRT2, or DETECTOR.",
        )
    return window


def _check_detector_size(header: Mapping[str, object], frame: Window, problems: Problems) -> None:
    for keys, expected in zip(_DETECTOR_SIZE, (frame.nx, frame.ny), strict=True):
        for key in keys:
            found = _integer(header, key, problems)
            if found is not None and found != expected:
                problems.add(
                    GeometryError,
                    f"{key} is {found}, but the detector is {frame.nx} × {frame.ny}",
                    f"Correct {key}, or DETECTOR.",
                )
