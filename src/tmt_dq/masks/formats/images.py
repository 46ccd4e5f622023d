"""Images of bad pixels: maps where one value means bad, and maps of bits."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import embed
from tmt_dq.core.geometry import Window
from tmt_dq.core.values import as_flags
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.fits.encoding import read_plane, scaling
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit
from tmt_dq.masks.dq_image import size_text
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["image_flags", "place_on_detector"]

_SHOWN = 8


def image_flags(file: FitsInput, unit: Unit, reading: Reading) -> npt.NDArray[np.uint32]:
    """Return the flags of an image that does not itself state what its values mean."""
    values = _numbers(file, unit)
    if reading.values is None:
        return _polarity_flags(values, reading, file.path)
    if bool((values < 0).any()) or bool((values > 0xFFFF_FFFF).any()):  # type: ignore[operator]
        raise MaskFormatError(
            f"has values that are no flags: {_census(values)}",
            where=file.path,
            hint="Flags lie between 0 and 2^32 - 1.",
        )
    return reading.translated(as_flags(values, where=file.path), file.path)


def _numbers(file: FitsInput, unit: Unit) -> npt.NDArray[np.generic]:
    """Return an image's whole numbers, negative ones too, in native byte order."""
    values = read_plane(file, unit, 0)
    undefined = 0
    blank = unit.header.get("BLANK")
    if isinstance(blank, int):
        zero, scale = scaling(unit, file.path)
        undefined = int(np.count_nonzero(values == blank * scale + zero))
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = np.isfinite(values) & (values == np.floor(values))
        undefined += int(np.count_nonzero(~whole))
    if undefined:
        raise MaskFormatError(
            f"{unit.label} has {undefined} pixels that are undefined or no whole numbers",
            where=file.path,
            hint="A map of bad pixels has a value in every pixel; give these one.",
        )
    return values


def _polarity_flags(
    values: npt.NDArray[np.generic], reading: Reading, where: Path
) -> npt.NDArray[np.uint32]:
    """Return the flags of a map where one value means bad."""
    if not reading.has_polarity:
        raise ConfigError(
            f"does not state which of its values are bad; found {_census(values)}",
            where=where,
            hint="Give the value of bad or of good pixels and a flag; if the values are flags, "
            "their meaning.",
            options=("bad", "good", "flag", "values"),
        )
    if reading.flag is None:
        raise ConfigError(
            f"does not state which flag its bad pixels get; found {_census(values)}",
            where=where,
            hint="Give a flag, for example HOT.",
            options=("flag",),
        )
    number = reading.bad
    bad = values != 0 if number == "nonzero" else values == number
    if reading.good is not None:
        good = values == reading.good
        if number is None:
            bad = ~good
        elif not bool((bad | good).all()):
            raise MaskFormatError(
                f"has values besides bad={number} and good={reading.good}: {_census(values)}",
                where=where,
                hint="Give only one of the two, if all other values are the opposite.",
            )
    return np.asarray(bad, bool).astype(np.uint32) * reading.flag_value


def place_on_detector(
    mask: Mask, window: Window | None, shape: tuple[int, int], *, at: tuple[int, int] | None
) -> Mask:
    """Return a mask of the whole detector with the pixels of an image in their place."""
    ny, nx = mask.dq.shape
    if at is not None:
        given = Window.from_fits(xstart=at[0], ystart=at[1], xsize=nx, ysize=ny)
        if window is not None and window != given:
            raise ConfigError(
                f"lies at {window.describe()} by its header, but at {given.describe()} by the "
                "position given",
                where=mask.path,
                hint="Leave the position out.",
                options=("at",),
            )
        window = given
    frame = Window.full(*shape)
    if window is None and mask.dq.shape != shape:
        raise GeometryError(
            f"is {size_text(mask.dq.shape)} and does not state where it lies; expected the "
            f"detector's {size_text(shape)}",
            where=mask.path,
            hint="Give the 1-based detector position of its first pixel.",
            options=("at",),
        )
    window = frame if window is None else window
    if not frame.contains(window):
        raise GeometryError(
            f"lies at {window.describe()}, which is not on the detector: {frame.describe()}",
            where=mask.path,
            hint="Correct its position, or name the right detector.",
            options=("at",),
        )
    dq = embed(mask.dq, window.slices(frame), shape)
    dq.flags.writeable = False
    return dataclasses.replace(mask, dq=dq, window=frame, placed=True)


def _census(values: npt.NDArray[np.generic]) -> str:
    """List the values of an image and how many pixels have each."""
    numbers, counts = np.unique(values, return_counts=True)
    shown = ", ".join(
        f"{int(number)} ({count:,} pixels)"
        for number, count in zip(numbers[:_SHOWN], counts[:_SHOWN], strict=True)
    )
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more values"
