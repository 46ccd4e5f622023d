"""FITS files of bad pixels: masks, maps where a value means bad, and tables."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import translate
from tmt_dq.core.values import as_flags
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.fits.encoding import read_plane
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Keywords, Unit
from tmt_dq.fits.tables import read_columns
from tmt_dq.masks.formats.format import Columns, Format, Target, flag_of, refuse
from tmt_dq.masks.formats.lists import LIST_OPTIONS, is_list, list_mask
from tmt_dq.masks.mask import (
    Mask,
    find_dq_image,
    flags_of,
    is_mask_type,
    mask_of,
    name_of,
    open_mask_file,
    place_on_detector,
)
from tmt_dq.masks.reading import Reading

_IMAGE_OPTIONS = frozenset({"flag", "bad", "good", "values", "at", "extension"})
_SHOWN = 8


def _read(path: Path, reading: Reading, target: Target) -> Mask:
    with open_mask_file(path) as file:
        header = file.units[0].header
        lists = [unit for unit in file.units if not unit.is_image and _is_list(unit.header)]
        unit = find_dq_image(file, extension=reading.extension, lists=lists)
        if unit in lists:
            unused = _IMAGE_OPTIONS - LIST_OPTIONS - {"extension"}
            refuse(reading, path, "this is a list, not an image", *sorted(unused))
            mask = _read_table(file, unit, reading, target)
            instrument, detector = (name_of(header.get(key)) for key in ("INSTRUME", "DETECTOR"))
            return dataclasses.replace(mask, instrument=instrument, detector=detector)
        unused = LIST_OPTIONS - _IMAGE_OPTIONS
        refuse(reading, path, "this is an image, not a list", *sorted(unused))
        return _read_image(file, unit, reading, target)


def _read_table(file: FitsInput, unit: Unit, reading: Reading, target: Target) -> Mask:
    columns = {name.lower(): values for name, values in read_columns(file, unit, needed=()).items()}
    rows = range(1, len(next(iter(columns.values()))) + 1)
    table = Columns(file.path, columns, rows, f"{unit.label} row")
    return list_mask(table, reading, target)


def _is_list(header: Mapping[str, object]) -> bool:
    """Whether a header is that of a table of pixels or boxes."""
    names = {str(header[key]).strip().lower() for key in header if key.startswith("TTYPE")}
    return (name_of(header.get("XTENSION")) or "").upper() == "BINTABLE" and is_list(names)


def _read_image(file: FitsInput, unit: Unit, reading: Reading, target: Target) -> Mask:
    header = Keywords(file.path, file.units[0], unit)
    has_meanings = bool(file.named("DQ_DEF"))
    if has_meanings:
        refuse(reading, file.path, "its table DQ_DEF gives the meaning of the bits", "values")
    reftype = name_of(header.get("REFTYPE")) or ""
    is_mask = unit.name == "DQ" and (has_meanings or is_mask_type(reftype))
    data, is_asked = target.data, reading.has_polarity or reading.values is not None
    # A user's image for an exposure holds flags of this convention, if nothing else is given.
    holds_flags = not is_asked and (is_mask or (data is not None and reading.flag is None))
    if holds_flags:
        why = "its image DQ holds flags already; to read it as a map, give bad or good"
        refuse(reading, file.path, why, "flag")
        mask = flags_of(file, unit, reading.unknown)
    else:
        mask = mask_of(file, unit, *_flags(file, unit, reading))
    if data is not None and reading.at is None:
        if mask.dq.shape == data.shape and not mask.placed:
            mask = dataclasses.replace(mask, window=data, placed=True)
        if holds_flags and mask.placed:
            return mask
    return place_on_detector(mask, target.shape, at=reading.at, data=data)


def _flags(
    file: FitsInput, unit: Unit, reading: Reading
) -> tuple[npt.NDArray[np.uint32], dict[int, int]]:
    """Return the flags of an image whose values the user gives a meaning, and bits left out."""
    values = _numbers(file, unit)
    if reading.meanings is not None:
        flags, unknown = as_flags(values, where=file.path), reading.unknown
        return translate(flags, reading.meanings, where=file.path, unknown=unknown)
    if not reading.has_polarity:
        raise ConfigError(
            f"does not state which of its values are bad; found {_census(values)}",
            where=file.path,
            hint="Give the value of bad or of good pixels and a flag; if the values are flags, "
            "their meaning.",
            options=("bad", "good", "flag", "values"),
        )
    good = None if reading.good is None else values == reading.good
    bad = values != 0 if reading.bad == "nonzero" else values == reading.bad
    if reading.bad is None:
        bad = ~np.asarray(good)
    elif good is not None and not bool((bad | good).all()):
        raise MaskFormatError(
            f"has values besides bad={reading.bad} and good={reading.good}: {_census(values)}",
            where=file.path,
            hint="Give only one of the two, if all other values are the opposite.",
        )
    flag = flag_of(reading, file.path, f"the image, whose values are {_census(values)},")
    return np.asarray(bad, bool).astype(np.uint32) * flag, {}


def _numbers(file: FitsInput, unit: Unit) -> npt.NDArray[np.generic]:
    """Return an image's whole numbers, negative ones too; undefined ones are NaN in `values`."""
    values = read_plane(file, unit, 0)
    wrong = 0
    if values.dtype.kind == "f":
        wrong = int(np.count_nonzero(~np.isfinite(values) | (values != np.trunc(values))))
    if wrong:
        raise MaskFormatError(
            f"{unit.label} has {wrong:,} pixels that are undefined or no whole numbers",
            where=file.path,
            hint="A map of bad pixels has a value in every pixel; give these one.",
        )
    return values


def _census(values: npt.NDArray[np.generic]) -> str:
    """List the values of an image and how many pixels have each."""
    numbers, counts = np.unique(values, return_counts=True)
    shown = ", ".join(
        f"{int(number)} ({count:,} pixels)"
        for number, count in zip(numbers[:_SHOWN], counts[:_SHOWN], strict=True)
    )
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more values"


FITS = Format(
    name="a FITS file",
    recognizes=lambda _path, head: head.startswith((b"SIMPLE", b"\x1f\x8b")),
    read=_read,
    options=_IMAGE_OPTIONS | LIST_OPTIONS,
    positions=False,
)
