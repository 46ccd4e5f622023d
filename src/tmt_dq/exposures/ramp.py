"""What DQ initialization must know of an exposure, from its headers alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from tmt_dq.core.geometry import Window
from tmt_dq.core.values import whole_number
from tmt_dq.errors import ConfigError, GeometryError, RampFormatError, SelectionError, TmtDqError
from tmt_dq.exposures.layouts import LayoutKeywords, find_layout, possible_layouts
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.problems import Problems
from tmt_dq.instruments import Detector, Instrument, Layout, load

_FORMS = "4-D (nints, ngroups, ny, nx), 3-D (ngroups, ny, nx) or 2-D (ny, nx)"
_PLACE = ("SUBSTRT1", "SUBSTRT2")
_SIZE = ("SUBSIZE1", "SUBSIZE2")
_DETECTOR_SIZE = (("DETXSIZE", "DETXSIZ"), ("DETYSIZE", "DETYSIZ"))
_SELECTORS = ("INSTRUME", "DETECTOR", "SUBARRAY", "DATE-OBS", "TIME-OBS")


@dataclass(frozen=True, slots=True)
class Ramp:
    """An exposure: whose it is, how large, and where on the detector."""

    instrument: Instrument
    detector: Detector
    shape: tuple[int, int, int, int]  # (nints, ngroups, ny, nx); of an image (1, 1, ny, nx)
    window: Window  # the detector pixels that were read
    selectors: Mapping[str, object]  # keywords that reference selection looks at, as found
    orientation: tuple[int | None, int | None] = (None, None)  # FASTAXIS and SLOWAXIS
    is_image: bool = False  # whether SCI is one 2-D image, without groups
    layout: Layout | None = None  # of the file, where it is another pipeline's

    @property
    def pixel_name(self) -> str:
        """Name of the extension with the flags of the pixels."""
        return "DQ" if self.is_image else self.detector.pixel_flags.upper()

    @property
    def group_name(self) -> str:
        """Name of the extension with the flags of the samples, "" for an image."""
        if self.layout is not None:
            return self.layout.flags.upper()
        return "" if self.is_image else "GROUPDQ"


@dataclass(frozen=True, slots=True)
class RampFile:
    """A ramp in an open file: its units SCI, PIXELDQ (DQ in an image) and GROUPDQ.

    In another pipeline's layout, `sci` and `groupdq` are what that has for them.
    """

    ramp: Ramp
    file: FitsInput
    sci: Unit
    pixeldq: Unit | None
    groupdq: Unit | None

    @property
    def header(self) -> Mapping[str, object]:
        """The keywords of the primary header and of SCI's."""
        return _keywords(self.file, self.sci, self.ramp.layout)


def read_ramp(file: FitsInput, *, start: tuple[int, int] | None = None) -> RampFile:
    """Return the ramp that an open file holds, checked.

    `start` is the 1-based x and y of its first pixel, for a header without it. All problems of a
    file are listed in one error, of the class of the first.
    """
    problems = Problems(file.path)
    sci, layout = find_layout(file.units)
    sci = sci or _only(file, "SCI", problems)
    if sci is None and not problems:
        _note_no_reads(file, problems)
    elif sci is not None and not sci.is_image:
        problems.add(
            RampFormatError, f"SCI is a table; expected {_FORMS}", "Write it as an image extension."
        )
    problems.raise_any()
    assert sci is not None
    shape = sci.shape if layout is None else tuple(sci.shape[axis] for axis in layout.order)
    header = _keywords(file, sci, layout)
    ramp = describe_ramp(header, shape, where=file.path, start=start, layout=layout)
    _check_names(file, ramp, problems)
    pixeldq, groupdq = (
        _only(file, name, problems) if name else None for name in (ramp.pixel_name, ramp.group_name)
    )
    if pixeldq is not None:
        _check_flags(pixeldq, shape[-2:], sci, problems)
    if groupdq is not None and layout is None:
        _check_flags(groupdq, sci.shape, sci, problems, of_samples=True)
    problems.raise_any()
    return RampFile(ramp, file, sci, pixeldq, groupdq)


def _keywords(file: FitsInput, sci: Unit | None, layout: Layout | None) -> Mapping[str, object]:
    units = (file.units[0],) if sci is None else (file.units[0], sci)
    keywords = Keywords(file.path, *units)
    return keywords if layout is None else LayoutKeywords(keywords, layout)


def _note_no_reads(file: FitsInput, problems: Problems) -> None:
    """Note that a file has no reads, neither as we hold them nor in a layout."""
    found = ", ".join(unit.label for unit in file.units)
    what, hint = wrong_kind(file, "an exposure") or (
        f"has no SCI extension; found {found}",
        "A ramp has its reads in an image extension SCI (nints, ngroups, ny, nx).",
    )
    layouts = possible_layouts(file.units)
    for layout in layouts:
        what += (
            f"; DATAMODL is {layout.datamodl}, as in the layout {layout.name}, which has 4-D "
            f"images of one shape, {layout.data} and {layout.flags}, the latter of 16 or 32 bits "
            "without sign"
        )
    if len(layouts) > 1:
        what += "; expected those of one layout alone"
    problems.add(RampFormatError, what, hint)


def _check_names(file: FitsInput, ramp: Ramp, problems: Problems) -> None:
    """Note flags under a name that is not the exposure's: they would be passed over."""
    kind = "SCI is an image" if ramp.is_image else "SCI is a ramp"
    if ramp.layout is not None:
        kind = f"the file has the layout {ramp.layout.name}"
    own = [name for name in (ramp.pixel_name, ramp.group_name) if name]
    for name in ("PIXELDQ", "GROUPDQ", "DQ"):
        if file.named(name) and name not in own:
            problems.add(
                RampFormatError,
                f"{kind}, whose flags are in {' and '.join(own)}, but there is an extension {name}",
                f"Move its flags into {' and '.join(own)}, or remove the extension.",
            )


def _check_flags(
    unit: Unit,
    expected: tuple[int, ...],
    sci: Unit,
    problems: Problems,
    *,
    of_samples: bool = False,
) -> None:
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
            f"{unit.label} has the shape {unit.shape}; {sci.label} {sci.shape} needs {expected}",
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
    if of_samples and (unit.bitpix not in {8, -32, -64} or zero != 0 or scale != 1):
        problems.add(
            RampFormatError,
            f"GROUPDQ is not uint8: BITPIX {unit.bitpix}, BZERO {zero}, BSCALE {scale}; "
            "expected 8, 0 and 1",
            "Write the extension as uint8.",
        )


def read_selectors(file: FitsInput) -> tuple[Instrument, dict[str, object]]:
    """Return what reference selection must know of an exposure, whatever its geometry."""
    problems = Problems(file.path)
    sci, layout = find_layout(file.units)
    header = _keywords(file, sci or next(iter(file.named("SCI")), None), layout)
    instrument, _ = _instrument(header, problems)
    problems.raise_any()
    assert instrument is not None
    return instrument, _selectors(header, instrument)


def _selectors(header: Mapping[str, object], instrument: Instrument) -> dict[str, object]:
    """Return the keywords that rules may ask for: the usual ones, and those of the description."""
    names = dict.fromkeys((*_SELECTORS, *instrument.selectors))
    return {name: header[name] for name in names if name in header}


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
    layout: Layout | None = None,
) -> Ramp:
    """Work out whose a ramp is and where on the detector it lies."""
    problems = Problems(where)
    if not 2 <= len(shape) <= 4:
        problems.add(
            RampFormatError,
            f"SCI is {len(shape)}-D {shape}; expected {_FORMS}",
            "Give the array these axes, with length 1 where there is one of a kind.",
        )
    elif min(shape) < 1:
        problems.add(
            RampFormatError,
            f"SCI has the shape {shape}; expected no length of zero",
            "There is nothing to initialize in an empty ramp.",
        )
    problems.raise_any()
    nints, ngroups, ny, nx = (1,) * (4 - len(shape)) + shape
    instrument, detector = _instrument(header, problems)
    fast, slow = (_integer(header, key, problems) for key in ("FASTAXIS", "SLOWAXIS"))
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
        orientation=(fast, slow),
        is_image=len(shape) == 2,
        layout=layout,
    )


def _instrument(
    header: Mapping[str, object], problems: Problems
) -> tuple[Instrument | None, Detector | None]:
    """Look up INSTRUME and DETECTOR."""
    name, detector = (str(header.get(key) or "").strip() for key in ("INSTRUME", "DETECTOR"))
    missing = [key for key, text in (("INSTRUME", name), ("DETECTOR", detector)) if not text]
    if missing:
        problems.add(
            RampFormatError,
            f"has no {' and no '.join(missing)} keyword in its primary header",
            "The mask is chosen by instrument and detector: add the keywords.",
        )
    instrument = None
    try:
        instrument = load(name) if name else None
        if instrument is not None and detector:
            return instrument, instrument.detector(detector, header)
    except ConfigError as error:
        telescope = str(header.get("TELESCOP") or "TMT").strip()
        is_of = "" if telescope == "TMT" else f"is an exposure of {telescope}; "
        problems.add(SelectionError, f"{is_of}INSTRUME: {error.what}", error.hint)
    except TmtDqError as error:
        problems.note(error)
    return instrument, None


def _integer(header: Mapping[str, object], key: str, problems: Problems) -> int | None:
    """Return a keyword's value as an integer, None where it is absent."""
    value = header.get(key)
    number = whole_number(value)
    if number is None and value is not None:
        problems.add(
            GeometryError, f"{key} is {value!r}; expected a whole number", f"Correct {key}."
        )
    return number


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
    # A file may give the size of the detector with a frame of another size.
    whole = detector.pixels if shape == detector.shape else None
    own = (None, None) if whole is None else whole[::-1]
    for key, size, axis, stated in zip(_SIZE, sizes, (nx, ny), own, strict=True):
        if size not in (None, axis) and size != stated:
            problems.add(
                GeometryError,
                f"{key} is {size}, but the data are {nx} × {ny} (x × y)",
                f"Correct {key}, or find out why the array has another size.",
            )
    starts = [_integer(header, key, problems) for key in _PLACE]
    for key, found, given in zip(_PLACE, starts, start or starts, strict=True):
        if found not in (None, given):
            problems.add(
                GeometryError,
                f"{key} is {found} in the header, but the caller says {given}",
                "--subarray (subarray=) is for headers that do not say where the data lie.",
            )
    starts = list(start or starts)
    if None in starts and shape != frame.shape:
        places = zip(_PLACE + _SIZE, starts + sizes, strict=True)
        missing = ", ".join(key for key, found in places if found is None)
        problems.add(
            GeometryError,
            f"the data are {nx} × {ny}, not the full frame {frame.nx} × {frame.ny} of "
            f"{detector.name}, and the keywords {missing} that say where on the detector they lie "
            "are missing",
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
            if _integer(header, key, problems) not in (None, expected):
                problems.add(
                    GeometryError,
                    f"{key} is {header[key]}, but the detector is {frame.nx} × {frame.ny}",
                    f"Correct {key}, or DETECTOR.",
                )
