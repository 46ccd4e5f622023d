"""Bad pixels in DS9 and CRTF region files, through astropy-regions."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.masks.reading import Reading

__all__ = ["region_flags"]

_BASES = {"ds9": 1, "crtf": 0}
_SHOWN = 3


def region_flags(
    path: Path, text: str, kind: str, reading: Reading, shape: tuple[int, int]
) -> npt.NDArray[np.uint32]:
    """Return the flags of a region file.

    A pixel belongs to a region if its centre lies inside, not on, the outline; to a point, if the
    point lies in it. Regions that are excluded (with a minus sign) are taken away from all
    others. A region may stick out of the detector. Its flags are those that the user says, or
    those that its tags, text or label name: ``circle(10,20,3) # tag={HOT}``.

    Parameters
    ----------
    path : Path
        The file, named in errors.
    text : str
        Its content.
    kind : {"ds9", "crtf"}
        Its format, which also says where counting starts: DS9 with 1, CRTF with 0.
    reading : Reading
        What the user says about it.
    shape : tuple of int
        Rows and columns of the detector.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        Flags of the detector's pixels.

    Raises
    ------
    ConfigError
        Raised if a region's flag is neither in the file nor in `reading`, or in both and
        different.
    MaskFormatError
        Raised if anything in the file cannot be understood, is not in image coordinates, or is
        not an area or point.
    GeometryError
        Raised if a region covers no pixel of the detector.
    """
    why = f"this is a {kind.upper()} region file"
    reading.refuse(path, why, "bad", "good", "values", "columns", "extension")
    if reading.base not in (None, _BASES[kind]):
        raise ConfigError(
            f"is a {kind.upper()} region file, which counts from {_BASES[kind]}, but base is "
            f"{reading.base}",
            where=path,
            hint="Leave base out.",
        )
    regions = _parsed(path, text, kind)
    dq = np.zeros(shape, np.uint32)
    excluded = np.zeros(shape, bool)
    for number, region in enumerate(regions, start=1):
        where = f"region {number} ({type(region).__name__.removesuffix('PixelRegion').lower()})"
        place, inside = _covered(path, where, region, reading.shift, shape)
        if region.meta.get("include", True):
            dq[place] |= inside * _flags(path, where, region, reading)
        else:
            excluded[place] |= inside
    if not dq.any() and not any(region.meta.get("include", True) for region in regions):
        raise MaskFormatError("has only excluded regions; expected some to flag", where=path)
    dq[excluded] = 0
    return dq


def _parsed(path: Path, text: str, kind: str) -> list[Any]:
    """Return the regions of a file; what the parser would skip with a warning is an error."""
    from regions import PixelRegion, Regions

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            regions = list(Regions.parse(text, format=kind))
    except Exception as error:  # the parser raises whatever its conversions raise
        raise MaskFormatError(
            f"cannot be understood: {error}",
            where=path,
            hint="Save the regions in image coordinates, as circles, boxes, ellipses, polygons, "
            "annuli or points.",
        ) from error
    if not regions:
        raise MaskFormatError("has no regions", where=path, hint="Save it again from DS9.")
    sky = [
        number
        for number, region in enumerate(regions, start=1)
        if not isinstance(region, PixelRegion)
    ]
    if sky:
        raise MaskFormatError(
            f"has {len(sky)} regions in sky coordinates, the first is region {sky[0]}; expected "
            "image coordinates: bad pixels are places on the detector",
            where=path,
            hint="Save the regions in image coordinates.",
        )
    return regions


def _covered(
    path: Path, where: str, region: Any, shift: tuple[int, int], shape: tuple[int, int]
) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    """Return the part of the detector around a region, and which of its pixels it covers."""
    from regions import PointPixelRegion, RectanglePixelRegion

    if isinstance(region, PointPixelRegion):
        bottom, left = (int(np.floor(value + 0.5)) for value in (region.center.y, region.center.x))
        inside = np.ones((1, 1), bool)
    elif isinstance(region, RectanglePixelRegion) and region.angle.value == 0:
        # What a bitmap of it shows too, but a hundred times faster: lists have many upright boxes.
        left, nx = _within(region.center.x, region.width)
        bottom, ny = _within(region.center.y, region.height)
        _check_size(path, where, (ny, nx), shape)
        inside = np.ones((ny, nx), bool)
    else:
        _check_size(path, where, _extent(path, where, region), shape)
        try:
            mask = region.to_mask(mode="center")
        except NotImplementedError as error:
            raise MaskFormatError(
                f"{where} has no area, and is no point",
                where=path,
                hint="Use a box for rows and columns of pixels.",
            ) from error
        except ValueError as error:
            raise MaskFormatError(f"{where} cannot be drawn: {error}", where=path) from error
        inside, bottom, left = mask.data != 0, mask.bbox.iymin, mask.bbox.ixmin
    bottom, left = bottom + shift[1], left + shift[0]
    rows = slice(max(bottom, 0), max(min(bottom + inside.shape[0], shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + inside.shape[1], shape[1]), 0))
    part = inside[
        rows.start - bottom : max(rows.stop - bottom, 0),
        columns.start - left : max(columns.stop - left, 0),
    ]
    if not part.any():
        raise GeometryError(
            f"{where} covers no pixel of the detector: no centre of a pixel lies inside it",
            where=path,
            hint=f"The detector has {shape[1]} × {shape[0]} pixels (x × y), the first is "
            "(1, 1) in DS9.",
        )
    return (rows, columns), part


def _within(centre: float, length: float) -> tuple[int, int]:
    """Return the first whole number inside a stretch, and how many there are."""
    first = int(np.floor(centre - length / 2)) + 1
    return first, max(0, int(np.ceil(centre + length / 2)) - first)


def _extent(path: Path, where: str, region: Any) -> tuple[int, int]:
    """Return the rows and columns that a region's bitmap has."""
    try:
        ny, nx = region.bounding_box.shape
    except Exception as error:
        raise MaskFormatError(f"{where} has no extent: {error}", where=path) from error
    return ny, nx


def _check_size(path: Path, where: str, size: tuple[int, int], shape: tuple[int, int]) -> None:
    """Refuse regions whose bitmap would not fit into memory."""
    if max(size) > 4 * max(shape):
        raise GeometryError(
            f"{where} is {size[1]} × {size[0]} pixels (x × y), far larger than the detector's "
            f"{shape[1]} × {shape[0]}",
            where=path,
            hint="Check its units: lengths are in pixels.",
        )


def _flags(path: Path, where: str, region: Any, reading: Reading) -> np.uint32:
    """Return the flags of a region: what the user says, or what it is labelled with."""
    labels = region.meta.get("tag", [])
    labels = [labels] if isinstance(labels, str) else list(labels)
    labels += [region.meta[key] for key in ("text", "label") if region.meta.get(key)]
    words = [str(word).strip() for label in labels for word in str(label).split(",")]
    own = PIXEL.encode([word for word in words if word in PIXEL])
    if reading.flag is None and not own:
        found = f"; its labels are {', '.join(words[:_SHOWN])}" if words else ""
        raise ConfigError(
            f"{where} does not say which flag its pixels get{found}",
            where=path,
            hint="Say flag='HOT' (--flag HOT), or label the region with a flag: # tag={HOT}.",
        )
    if reading.flag is None:
        return np.uint32(own)
    if own and own != int(reading.flag_value):
        raise ConfigError(
            f"{where} is labelled {', '.join(words[:_SHOWN])}, but flag is {reading.flag}",
            where=path,
            hint="Leave flag out, or take the labels out of the file.",
        )
    return reading.flag_value
