"""Any file with someone's bad pixels, read into flags of the detector."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, RampFormatError
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.masks.dq_image import find_dq_image
from tmt_dq.masks.images import image_flags, on_detector
from tmt_dq.masks.lists import is_list, list_flags
from tmt_dq.masks.mask import Mask, read_mask
from tmt_dq.masks.reading import Reading
from tmt_dq.masks.regions import region_flags
from tmt_dq.masks.text_tables import fits_columns, text_columns

__all__ = ["FileKind", "file_kind", "read_flags"]

FileKind = Literal["fits", "ds9", "crtf", "list"]
"""FITS (an image or a table), region files, or a list of pixels or boxes as text."""

_MASK_TYPES = {"MASK", "DQ", "BPM"}


def file_kind(path: Path) -> FileKind:
    """Tell the format of a file by its first bytes; region files also by their name.

    Raises
    ------
    MaskFormatError
        Raised if the file cannot be read, or is neither FITS nor text.
    """
    try:
        if path.exists() and not path.is_file():
            raise MaskFormatError("is not a regular file; expected a file", where=path)
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise MaskFormatError(
            f"cannot be read: {error.strerror}", where=path, hint="Check the name and the rights."
        ) from error
    if head.startswith((b"SIMPLE", b"\x1f\x8b")):
        return "fits"
    if b"\0" in head:
        raise MaskFormatError(
            "is neither FITS nor text",
            where=path,
            hint="Bad pixels may come as FITS, text, CSV, ECSV, and DS9 or CRTF regions.",
        )
    first = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if first.startswith(b"#crtf") or path.suffix.lower() == ".crtf":
        return "crtf"
    if first.startswith(b"# region file format: ds9") or path.suffix.lower() == ".reg":
        return "ds9"
    return "list"


def read_flags(
    path: Path,
    *,
    shape: tuple[int, int],
    reading: Reading | None = None,
    data: Window | None = None,
) -> Mask:
    r"""Read bad pixels from a file of any format that people keep them in.

    - FITS images: masks of this convention (REFTYPE = MASK, or a DQ_DEF table); any other image
      of whole numbers, once it is said what its values mean.
    - FITS tables, text, CSV and ECSV: lists of pixels and boxes (`tmt_dq.masks.lists`).
    - DS9 and CRTF regions (`tmt_dq.masks.regions`).

    Parameters
    ----------
    path : Path
        The file; FITS may be compressed.
    shape : tuple of int
        Rows and columns of the detector.
    reading : Reading, optional
        What the user says about the file.
    data : Window, optional
        The exposure that the flags are for: an image as large as it lies where it lies, unless
        the file or the user says otherwise.

    Returns
    -------
    Mask
        Flags of the whole detector; `Mask.dq` is read-only.

    Raises
    ------
    ConfigError
        Raised if the file does not say what its numbers mean and nobody else does, or both do and
        contradict each other.
    MaskFormatError
        Raised if the file cannot be understood.
    UnknownFlagError
        Raised if a flag or a bit has no meaning.
    GeometryError
        Raised if it does not fit the detector.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "hot.txt")
    >>> _ = path.write_text("# base: 1\nx y flag\n3 1 HOT\n1:2 2 DEAD\n")
    >>> read_flags(path, shape=(2, 4)).dq
    array([[   0,    0, 2048,    0],
           [1024, 1024,    0,    0]], dtype=uint32)
    """
    reading = Reading() if reading is None else reading
    kind = file_kind(path)
    if kind == "fits":
        return _from_fits(path, reading, shape, data)
    text = _text(path)
    if kind == "list":
        reading.refuse(path, "this is a list, not FITS", "extension")
        dq = list_flags(text_columns(path, text, reading.columns), reading, shape)
    else:
        dq = region_flags(path, text, kind, reading, shape)
    return _whole(path, dq)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MaskFormatError(
            f"is no UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
            where=path,
            hint="Save it as UTF-8 or ASCII.",
        ) from error


def _whole(path: Path, dq: npt.NDArray[np.uint32], like: Mask | None = None) -> Mask:
    """Return flags of a whole detector as a mask."""
    if like is not None and like.dq is dq:
        return like
    dq.flags.writeable = False
    window = Window.full(*dq.shape)
    if like is None:
        return Mask(path, dq, window, placed=True)
    return Mask(
        path, dq, window, like.instrument, like.detector, like.orientation, like.left_out, True
    )


def _from_fits(path: Path, reading: Reading, shape: tuple[int, int], data: Window | None) -> Mask:
    try:
        with open_input(path, scratch=Path(tempfile.gettempdir())) as file:
            table = _list_unit(file, reading)
            if table is not None:
                reading.refuse(path, "the columns of this table have names", "columns")
                dq = list_flags(fits_columns(file, table), reading, shape)
                return _whole(path, dq, _names(file))
            if not _says_flags(file, reading):
                unit = find_dq_image(file, extension=reading.extension)
                flags = image_flags(file, unit, reading)
                window = _place(file, unit)
                if window is None and data is not None and reading.at is None:
                    window = data if flags.shape == data.shape else None
                dq = on_detector(flags, window, shape, at=reading.at, where=path)
                return _whole(path, dq, _names(file))
    except RampFormatError as error:
        # The file holds a mask, so it is the keeper of the mask who has to act.
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error
    except fits.VerifyError as error:
        raise MaskFormatError(f"has a damaged header: {error}", where=path) from error
    mask = read_mask(path, unknown=reading.unknown)
    window = mask.window if mask.placed else None
    dq = on_detector(mask.dq, window, shape, at=reading.at, where=path)
    return _whole(path, dq, mask)


def _list_unit(file: FitsInput, reading: Reading) -> Unit | None:
    """Return the table of a FITS file that is a list; None where the file is an image."""
    tables = [
        unit for unit in file.units if not unit.is_image and _is_list(Keywords(file.path, unit))
    ]
    if reading.extension is not None:
        wanted = str(reading.extension).strip().upper()
        return next((unit for unit in tables if wanted in {unit.name, str(unit.index)}), None)
    images = [unit for unit in file.units if unit.is_image and len(unit.shape) == 2]
    if len(tables) > 1 or (tables and images):
        listing = ", ".join(unit.label for unit in (*tables, *images))
        raise ConfigError(
            f"has several extensions that could be meant: {listing}",
            where=file.path,
            hint="Say which: extension='NAME' or its number (--extension NAME).",
        )
    return tables[0] if tables else None


def _is_list(header: Mapping[str, object]) -> bool:
    """Whether a header is that of a table of pixels or boxes."""
    names = {str(header[key]).strip().lower() for key in header if key.startswith("TTYPE")}
    return _text_of(header, "XTENSION") == "BINTABLE" and is_list(names)


def _text_of(header: Mapping[str, object], key: str) -> str:
    """Return the value of a keyword in upper case, "" where there is none."""
    value = header.get(key)
    return "" if value is None else str(value).strip().upper()


def _says_flags(file: FitsInput, reading: Reading) -> bool:
    """Whether a FITS file itself says that its image DQ holds flags, and of which convention."""
    if reading.has_polarity or reading.values is not None or reading.extension is not None:
        return False
    named = file.named("DQ")
    reftype = _text_of(Keywords(file.path, file.units[0]), "REFTYPE")
    says = len(named) == 1 and (reftype in _MASK_TYPES or bool(file.named("DQ_DEF")))
    if says:
        why = "its image DQ holds flags already; say bad, good or values to read it as a map"
        reading.refuse(file.path, why, "flag")
        reading.refuse(file.path, "this is an image, not a list", "base", "columns")
    return says


def _names(file: FitsInput) -> Mask:
    """Return what a FITS file says about whose pixels they are, without any pixels."""
    header = Keywords(file.path, file.units[0])
    instrument, detector = (_text_of(header, key) or None for key in ("INSTRUME", "DETECTOR"))
    nothing = np.zeros((0, 0), np.uint32)
    return Mask(file.path, nothing, Window.full(0, 0), instrument, detector)


def _place(file: FitsInput, unit: Unit) -> Window | None:
    """Return where an image lies on the detector, None where its headers do not say so.

    Raises
    ------
    GeometryError
        Raised if the keywords are no positions.
    """
    header = Keywords(file.path, file.units[0], unit)
    xstart, ystart = header.get("SUBSTRT1"), header.get("SUBSTRT2")
    if xstart is None or ystart is None:
        return None
    if not (isinstance(xstart, int) and isinstance(ystart, int) and min(xstart, ystart) > 0):
        raise GeometryError(
            f"SUBSTRT1 and SUBSTRT2 are {xstart} and {ystart}; expected whole numbers from 1",
            where=file.path,
            hint="Correct the keywords.",
        )
    ny, nx = unit.shape
    return Window.from_fits(xstart=xstart, ystart=ystart, xsize=nx, ysize=ny)
