"""The image of a FITS file that holds flags, and its place on the detector."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, RampFormatError
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.fits.layout import Unit

__all__ = ["axis_of", "find_dq_image", "name_of", "open_mask_file", "place_of_image", "size_text"]

_NAMES = ("DQ", "PIXELDQ", "USER_DQ")
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
    extension: str | int | None = None,
    lists: Sequence[Unit] = (),
    is_mask: bool = False,
) -> Unit:
    """Return the 2-D image that holds the flags of a file, or one of `lists`.

    It is that of `extension` (a name or 0-based number), else the first of `_NAMES`, else the only
    2-D image or list. In a mask it is DQ.
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
    if len(chosen) == 1:
        raise MaskFormatError(
            f"has {chosen[0].label} of the shape {chosen[0].shape}; expected (ny, nx), a 2-D image",
            where=file.path,
            hint="Flags are one plane, the same for all reads.",
        )
    if extension is not None or (chosen and not is_mask):
        raise ConfigError(
            f"has {len(chosen) or 'no'} 2-D images or lists {extension or ''}; expected one; found "
            f"{found}",
            where=file.path,
            hint="Name one of them, or its 0-based number.",
            options=("extension",),
        )
    what = "image extensions DQ" if is_mask else "2-D images"
    finding, hint = (None if chosen else wrong_kind(file, "a mask")) or (
        f"has {len(chosen) or 'no'} {what}; expected one; found {found}",
        "A mask has its flags in a 2-D image extension DQ.",
    )
    raise MaskFormatError(finding, where=file.path, hint=hint)


def place_of_image(
    header: Mapping[str, object], shape: tuple[int, ...], path: Path
) -> tuple[Window, bool]:
    """Return the detector pixels that an image covers, and whether its header gives their place.

    Without SUBSTRT1 and SUBSTRT2 the image begins at the detector's first pixel.
    """
    ny, nx = shape
    numbers = []
    for key, fallback in (("SUBSTRT1", 1), ("SUBSTRT2", 1), ("SUBSIZE1", nx), ("SUBSIZE2", ny)):
        number = fallback if header.get(key) is None else axis_of(header[key])
        if number is None:
            raise GeometryError(
                f"{key} is {header[key]!r}; expected a whole number",
                where=path,
                hint=f"Correct {key}.",
            )
        numbers.append(number)
    xstart, ystart, xsize, ysize = numbers
    if (ysize, xsize) != shape or min(xstart, ystart) < 1:
        raise GeometryError(
            f"SUBSTRT1 and SUBSTRT2 are {xstart} and {ystart}, SUBSIZE1 and SUBSIZE2 are {xsize} "
            f"and {ysize}; the DQ array is {size_text(shape)}, and positions count from 1",
            where=path,
            hint="Correct the keywords of the mask.",
        )
    placed = header.get("SUBSTRT1") is not None and header.get("SUBSTRT2") is not None
    return Window.from_fits(xstart=xstart, ystart=ystart, xsize=nx, ysize=ny), placed


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
