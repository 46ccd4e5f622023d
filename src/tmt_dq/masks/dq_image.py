"""The image of a FITS file that holds flags, and its place on the detector."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tmt_dq.core.geometry import Window
from tmt_dq.errors import (
    ConfigError,
    GeometryError,
    MaskFormatError,
    RampFormatError,
    TmtDqError,
)
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.fits.layout import Unit

__all__ = [
    "DQ_NAMES",
    "axis_of",
    "find_dq_image",
    "name_of",
    "open_mask_file",
    "place_of_image",
    "size_text",
]

DQ_NAMES = ("DQ", "PIXELDQ", "USER_DQ")
"""Extensions that hold flags, in the order in which they are looked for."""


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
    names: Sequence[str] = DQ_NAMES,
    extension: str | int | None = None,
    only_named: bool = False,
    ambiguous: type[TmtDqError] = ConfigError,
) -> Unit:
    """Return the 2-D image that holds the flags of a file.

    It is the one of `extension` (a name or 0-based number), else the first of `names`, else, unless
    `only_named`, the only 2-D image. Several are an error of the class `ambiguous`.
    """
    images = [unit for unit in file.units if unit.is_image and _is_plane(unit)]
    listing = ", ".join(f"{unit.label} {unit.shape}" for unit in file.units)
    if extension is not None:
        wanted = str(extension).strip().upper()
        for unit in images:
            if wanted and wanted in {unit.name, str(unit.index)}:
                return unit
        raise ConfigError(
            f"has no 2-D image {extension}; found {listing}",
            where=file.path,
            hint="Name one of them, or its 0-based number.",
            options=("extension",),
        )
    for name in names:
        named = file.named(name)
        if len(named) == 1 and named[0].is_image:
            if not _is_plane(named[0]):
                raise MaskFormatError(
                    f"{named[0].label} has the shape {named[0].shape}; expected (ny, nx), none of "
                    "them zero: a 2-D image",
                    where=file.path,
                    hint="Flags are one plane, the same for all reads.",
                )
            return named[0]
        if named and only_named:
            raise MaskFormatError(
                f"has {len(named)} image extensions {name}; expected one, found {listing}",
                where=file.path,
                hint=f"Leave one image extension {name} with the flags.",
            )
    if only_named or not images:
        wanted = f"image extension {' or '.join(names)}" if only_named else "2-D image"
        what, hint = wrong_kind(file, "a mask") or (
            f"has no {wanted}; found {listing}",
            f"A mask has its flags in a 2-D image extension {names[0]}.",
        )
        raise MaskFormatError(what, where=file.path, hint=hint)
    if len(images) > 1:
        raise ambiguous(
            f"has {len(images)} 2-D images; expected one, or an extension {names[0]}: {listing}",
            where=file.path,
            hint="Name the extension that holds the flags, or give its number.",
            options=("extension",),
        )
    return images[0]


def _is_plane(unit: Unit) -> bool:
    return len(unit.shape) == 2 and min(unit.shape) > 0


def place_of_image(
    header: Mapping[str, object], shape: tuple[int, ...], path: Path
) -> tuple[Window, bool]:
    """Return the detector pixels that an image covers, and whether its header gives their place.

    Without SUBSTRT1 and SUBSTRT2 the image begins at the detector's first pixel.
    """
    ny, nx = shape
    numbers = {}
    for key, fallback in (("SUBSTRT1", 1), ("SUBSTRT2", 1), ("SUBSIZE1", nx), ("SUBSIZE2", ny)):
        value = header.get(key)
        number = axis_of(value)
        if value is not None and number is None:
            raise GeometryError(
                f"{key} is {value!r}; expected a whole number", where=path, hint=f"Correct {key}."
            )
        numbers[key] = fallback if number is None else number
    if (numbers["SUBSIZE2"], numbers["SUBSIZE1"]) != shape:
        raise GeometryError(
            f"SUBSIZE1 and SUBSIZE2 are {numbers['SUBSIZE1']} and {numbers['SUBSIZE2']}, but the "
            f"DQ array is {size_text(shape)}",
            where=path,
            hint="Correct the keywords of the mask.",
        )
    if min(numbers["SUBSTRT1"], numbers["SUBSTRT2"]) < 1:
        raise GeometryError(
            f"SUBSTRT1 and SUBSTRT2 are {numbers['SUBSTRT1']} and {numbers['SUBSTRT2']}; they "
            "count from 1 (expected whole numbers from 1)",
            where=path,
            hint="Correct the keywords of the mask.",
        )
    window = Window.from_fits(
        xstart=numbers["SUBSTRT1"], ystart=numbers["SUBSTRT2"], xsize=nx, ysize=ny
    )
    placed = all(axis_of(header.get(key)) is not None for key in ("SUBSTRT1", "SUBSTRT2"))
    return window, placed


def name_of(value: object) -> str | None:
    """Return a header value as a name; None where there is none."""
    text = "" if value is None else str(value).strip()
    return text or None


def axis_of(value: object) -> int | None:
    """Return a header value as a whole number; None where it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if float(value).is_integer() else None


def size_text(shape: tuple[int, ...]) -> str:
    """Describe a shape for people: x before y."""
    return f"{shape[1]} × {shape[0]} (x × y)"
