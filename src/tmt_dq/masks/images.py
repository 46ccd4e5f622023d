"""Bad pixels in FITS images: masks with flags, and maps where one value means bad."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.boxes import embed
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.fits.encoding import read_plane, scaling
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit
from tmt_dq.masks.reading import Reading

__all__ = ["image_flags", "on_detector", "polarity_flags", "read_numbers"]

_SHOWN = 8


def read_numbers(file: FitsInput, unit: Unit) -> npt.NDArray[np.generic]:
    """Return an image's numbers, negative ones too, in native byte order.

    Parameters
    ----------
    file : FitsInput
        The open file.
    unit : Unit
        Its image.

    Returns
    -------
    ndarray, (ny, nx)
        Integers where they are stored as such, else float64.

    Raises
    ------
    MaskFormatError
        Raised if a pixel is undefined, not finite or not a whole number.
    """
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


def polarity_flags(
    values: npt.NDArray[np.generic], reading: Reading, where: object
) -> npt.NDArray[np.uint32]:
    """Return the flags of a map where one value means bad.

    Parameters
    ----------
    values : ndarray, (ny, nx)
        Whole numbers.
    reading : Reading
        What is bad or good, and the flag of the bad pixels.
    where : object
        Named in errors.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        `reading.flag` where pixels are bad.

    Raises
    ------
    ConfigError
        Raised if it is not said what is bad, or which flag bad pixels get.
    MaskFormatError
        Raised if both are said, and there are other values.
    """
    if not reading.has_polarity:
        raise ConfigError(
            f"does not say which of its values are bad; found {_census(values)}",
            where=where,
            hint="Say bad=V, bad='nonzero' or good=V (--bad V, --bad nonzero, --good V) with a "
            "flag; if the values are flags, values='convention' or values={16: 'HOT', …}.",
        )
    if reading.flag is None:
        raise ConfigError(
            f"does not say which flag its bad pixels get; found {_census(values)}",
            where=where,
            hint="Say flag='HOT' or another name of the convention (--flag HOT).",
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
                hint="Say only one of the two, if all other values are the opposite.",
            )
    return np.asarray(bad, bool).astype(np.uint32) * reading.flag_value


def image_flags(file: FitsInput, unit: Unit, reading: Reading) -> npt.NDArray[np.uint32]:
    """Return the flags of an image that does not itself say what its values mean.

    Raises
    ------
    ConfigError, MaskFormatError
        Raised as by `polarity_flags` and `read_numbers`.
    UnknownFlagError
        Raised if a value has a bit without a meaning.
    """
    reading.refuse(file.path, "this is an image, not a list", "base", "columns")
    values = read_numbers(file, unit)
    if reading.values is None:
        return polarity_flags(values, reading, file.path)
    if bool((values < 0).any()) or bool((values > 0xFFFF_FFFF).any()):  # type: ignore[operator]
        raise MaskFormatError(
            f"has values that are no flags: {_census(values)}",
            where=file.path,
            hint="Flags lie between 0 and 2^32 - 1.",
        )
    return reading.translated(values.astype(np.uint32), file.path)


def on_detector(
    flags: npt.NDArray[np.uint32],
    window: Window | None,
    shape: tuple[int, int],
    *,
    at: tuple[int, int] | None,
    where: Path,
) -> npt.NDArray[np.uint32]:
    """Put an image into its place on the detector.

    Parameters
    ----------
    flags : ndarray of uint32, (ny, nx)
        The image.
    window : Window or None
        Its place, where the file says so.
    shape : tuple of int
        Rows and columns of the detector.
    at : tuple of int, optional
        Its place as the user says: 1-based x, y.
    where : Path
        The file.

    Returns
    -------
    ndarray of uint32, `shape`
        Flags of the detector.

    Raises
    ------
    ConfigError
        Raised if the file and the user say different places.
    GeometryError
        Raised if the place of a smaller image is not known, or it is not on the detector.
    """
    ny, nx = flags.shape
    if at is not None:
        said = Window.from_fits(xstart=at[0], ystart=at[1], xsize=nx, ysize=ny)
        if window is not None and window != said:
            raise ConfigError(
                f"lies at {window.describe()} by its header, but at {said.describe()} by 'at'",
                where=where,
                hint="Leave at out.",
            )
        window = said
    frame = Window.full(*shape)
    if window is None and flags.shape != shape:
        raise GeometryError(
            f"is {nx} × {ny} (x × y) and does not say where it lies; expected the detector's "
            f"{shape[1]} × {shape[0]}",
            where=where,
            hint="Say the 1-based detector position of its first pixel: at=(x, y) (--at X,Y).",
        )
    window = frame if window is None else window
    if not frame.contains(window):
        raise GeometryError(
            f"lies at {window.describe()}, which is not on the detector: {frame.describe()}",
            where=where,
            hint="Correct its place (--at X,Y), or name the right detector.",
        )
    return embed(flags, window.slices(frame), shape)


def _census(values: npt.NDArray[np.generic]) -> str:
    """List the values of an image and how many pixels have each."""
    numbers, counts = np.unique(values, return_counts=True)
    shown = ", ".join(
        f"{int(number)} ({count} pixels)"
        for number, count in zip(numbers[:_SHOWN], counts[:_SHOWN], strict=True)
    )
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more values"
