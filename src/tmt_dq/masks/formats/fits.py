"""FITS files of bad pixels: masks, maps where a value means bad, and tables."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from astropy.io import fits

from tmt_dq.core.dq_def import translation
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.tables import read_columns, read_dq_def
from tmt_dq.masks.dq_image import find_dq_image, name_of, open_mask_file, place_of_image
from tmt_dq.masks.formats.columns import Columns
from tmt_dq.masks.formats.format import Format, Target
from tmt_dq.masks.formats.images import image_flags, place_on_detector
from tmt_dq.masks.formats.lists import LIST_OPTIONS, is_list, list_mask
from tmt_dq.masks.mask import MASK_TYPES, Mask, read_mask
from tmt_dq.masks.reading import Reading

__all__ = ["FITS"]

_IMAGE_OPTIONS = frozenset({"flag", "bad", "good", "values", "at", "extension"})


def _read(path: Path, reading: Reading, target: Target) -> Mask:
    try:
        with open_mask_file(path) as file:
            header = Keywords(path, file.units[0])
            instrument, detector = (name_of(header.get(key)) for key in ("INSTRUME", "DETECTOR"))
            table = _list_unit(file, reading)
            if table is not None:
                mask = _read_table(file, table, reading, target)
            elif not _states_flags(file, reading):
                mask = _read_map(file, reading, target)
            else:
                mask = None
    except fits.VerifyError as error:
        raise MaskFormatError(f"has a damaged header: {error}", where=path) from error
    if mask is not None:
        return dataclasses.replace(mask, instrument=instrument, detector=detector)
    mask = read_mask(path, unknown=reading.unknown)
    window = mask.window if mask.placed else None
    return place_on_detector(mask, window, target.shape, at=reading.at)


def _read_table(file: FitsInput, unit: Unit, reading: Reading, target: Target) -> Mask:
    unused = _IMAGE_OPTIONS - LIST_OPTIONS - {"extension"}
    reading.refuse(file.path, "this is a list, not an image", *sorted(unused))
    columns = {name.lower(): values for name, values in read_columns(file, unit, needed=()).items()}
    rows = range(1, len(next(iter(columns.values()))) + 1)
    table = Columns(file.path, columns, rows, f"{unit.label} row")
    return list_mask(table, reading, target)


def _read_map(file: FitsInput, reading: Reading, target: Target) -> Mask:
    unused = LIST_OPTIONS - _IMAGE_OPTIONS
    reading.refuse(file.path, "this is an image, not a list", *sorted(unused))
    unit = find_dq_image(file, extension=reading.extension)
    flags = image_flags(file, unit, reading)
    place, placed = place_of_image(Keywords(file.path, file.units[0], unit), flags.shape, file.path)
    window = place if placed else None
    if window is None and target.data is not None and reading.at is None:
        window = target.data if flags.shape == target.data.shape else None
    mask = Mask(path=file.path, dq=flags, window=place)
    return place_on_detector(mask, window, target.shape, at=reading.at)


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
            hint="Name one of them, or give its number.",
            options=("extension",),
        )
    return tables[0] if tables else None


def _is_list(header: Mapping[str, object]) -> bool:
    """Whether a header is that of a table of pixels or boxes."""
    names = {str(header[key]).strip().lower() for key in header if key.startswith("TTYPE")}
    return (name_of(header.get("XTENSION")) or "").upper() == "BINTABLE" and is_list(names)


def _states_flags(file: FitsInput, reading: Reading) -> bool:
    """Whether a FITS file itself states that its image DQ holds flags, and of which convention."""
    if reading.values is not None:
        _check_values(file, reading)
    if reading.has_polarity or reading.values is not None or reading.extension is not None:
        return False
    reftype = (name_of(Keywords(file.path, file.units[0]).get("REFTYPE")) or "").upper()
    named = len(file.named("DQ")) == 1
    states = named and (reftype in MASK_TYPES or bool(file.named("DQ_DEF")))
    if states:
        why = "its image DQ holds flags already; to read it as a map, give bad, good or values"
        reading.refuse(file.path, why, "flag")
        unused = LIST_OPTIONS - _IMAGE_OPTIONS
        reading.refuse(file.path, "this is an image, not a list", *sorted(unused))
    return states


def _check_values(file: FitsInput, reading: Reading) -> None:
    """Refuse meanings of bits that contradict the file's own table DQ_DEF."""
    given = reading.meanings
    for unit in file.named("DQ_DEF"):
        own = translation(read_dq_def(file, unit), where=file.path, unknown="drop")
        meant = dict(given.pairs) if given is not None else {}
        wrong = [bit for bit, flag in own.pairs if flag and meant.get(bit, flag) != flag]
        if wrong:
            raise ConfigError(
                f"has a table DQ_DEF, which contradicts the values given for the bits "
                f"{', '.join(map(str, wrong))}",
                where=file.path,
                hint="Leave the values out: the table gives the meaning of the bits.",
                options=("values",),
            )


FITS = Format(
    name="a FITS file",
    recognizes=lambda _path, head: head.startswith((b"SIMPLE", b"\x1f\x8b")),
    read=_read,
    options=_IMAGE_OPTIONS | LIST_OPTIONS,
    positions=False,
)
