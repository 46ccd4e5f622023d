"""Regions of bad pixels: DS9 and CRTF files, and FITS region tables, through astropy-regions."""

import itertools
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.masks.formats.format import Format, Target, read_text, whole_detector
from tmt_dq.masks.formats.shapes import Shape, draw
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["CRTF", "DS9", "table_shapes"]

_SHOWN = 3
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NO_ANGLE = re.compile(
    rf"(?im)^(\s*[-+]?(?:box|ellipse)\((?:\s*{_NUMBER}\s*,){{3}}\s*{_NUMBER}\s*)\)"
)
_PLAIN = re.compile(
    rf"([-+]?)(point|circle|ellipse|box|polygon|annulus)\(\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\)"
    r"\s*(?:#(.*))?",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\{[^{}]*\}|\"[^\"]*\"|'[^']*'")
_TURNED = {
    f"{sign}{name}": f"{sign}ROT{name}" for sign in ("", "!") for name in ("BOX", "RECTANGLE")
}
_PAIRS = ("()", "[]", "{}")

Labels = tuple[bool, tuple[str, ...]]
"""Whether a region is included, and the words of its tags, text and label."""


def _read_ds9(path: Path, reading: Reading, target: Target) -> Mask:
    text = read_text(path)
    _check_whole_lines(path, text)
    shapes = _plain_shapes(path, text, reading)
    if shapes is None:
        # DS9 takes boxes and ellipses without an angle; astropy-regions does not.
        text = _NO_ANGLE.sub(r"\1,0)", text)
        shapes = _parsed_shapes(path, text, "ds9", reading)
    return _drawn(path, shapes, reading, target, base=1)


def _read_crtf(path: Path, reading: Reading, target: Target) -> Mask:
    text = read_text(path)
    _check_whole_lines(path, text)
    shapes = _parsed_shapes(path, text, "crtf", reading)
    return _drawn(path, shapes, reading, target, base=0)


def _drawn(
    path: Path, shapes: Sequence[Shape], reading: Reading, target: Target, *, base: int
) -> Mask:
    if reading.base not in (None, base):
        raise ConfigError(
            f"counts from {base}, as all region files of this format do, but base is "
            f"{reading.base}",
            where=path,
            hint="Leave the base out.",
            options=("base",),
        )
    if not shapes:
        raise MaskFormatError("has no regions", where=path, hint="Save it again from DS9.")
    if not any(shape.include for shape in shapes):
        raise MaskFormatError("has only excluded regions; expected some to flag", where=path)
    return whole_detector(path, draw(path, shapes, reading.shift, target.shape))


def _check_whole_lines(path: Path, text: str) -> None:
    """Refuse a file that was cut off in the middle of a line: the parser takes what is left."""
    for number, line in enumerate(text.splitlines(), start=1):
        rest = _QUOTED.sub("", line) if "{" in line or '"' in line or "'" in line else line
        if any(rest.count(pair[0]) != rest.count(pair[1]) for pair in _PAIRS):
            raise MaskFormatError(
                f"line {number} is not complete: {line.strip()[:60]!r}",
                where=path,
                hint="Save the file again; it may have been cut off.",
            )


def _plain_shapes(path: Path, text: str, reading: Reading) -> list[Shape] | None:
    """Return the shapes of a DS9 file of plain numbers in image coordinates; None for any other.

    astropy-regions reads all files; its 70 µs a region are too many for long lists. It still reads
    the properties (tags, text, include), once for each that is different.
    """
    if ";" in text:
        return None
    shapes: list[Shape] = []
    before: list[str] = []
    in_image = False
    known: dict[tuple[int, str, str], tuple[bool, int]] = {}
    for line in map(str.strip, text.splitlines()):
        word = line[:8].lower()
        if not line or (word.startswith("#") and not word.startswith("# compos")):
            continue  # also "# text(", which DS9 writes for annotations
        if word.startswith("global"):
            before.append(line)
            continue
        if word == "image":
            in_image = True
            continue
        match = _PLAIN.fullmatch(line)
        if match is None or not in_image:
            return None
        sign, name, numbers, properties = match.groups()
        name = name.lower()
        values = [float(number) for number in numbers.split(",")]
        found = _plain_shape(name, values)
        if found is None:
            return None
        title = f"region {len(shapes) + 1} ({name})"
        key = (len(before), sign, properties or "")
        if key not in known:
            include, labels = _properties(path, before, sign, properties or "")
            known[key] = include, _flags(path, title, labels, reading) if include else 0
        include, flags = known[key]
        shapes += [Shape(title, kind, values, flags, hole, include) for kind, values, hole in found]
    return shapes


def _plain_shape(name: str, values: list[float]) -> list[tuple[str, Sequence[float], Any]] | None:
    """Return kind, numbers and hole of a DS9 shape, 0-based; None where they are not the usual."""
    if name == "polygon":
        usual = len(values) >= 6 and len(values) % 2 == 0
        return [("polygon", [value - 1 for value in values], None)] if usual else None
    match name, values:
        case "point", [x, y]:
            return [("point", (x - 1, y - 1), None)]
        case "circle", [x, y, radius] if radius > 0:
            return [("ellipse", (x - 1, y - 1, radius, radius, 0.0), None)]
        case "ellipse" | "box", [x, y, a, b, *angle] if min(a, b) > 0 and len(angle) < 2:
            half = 0.5 if name == "box" else 1.0
            turned = math.radians(angle[0]) if angle else 0.0  # DS9 takes them without an angle
            return [(name, (x - 1, y - 1, a * half, b * half, turned), None)]
        case "annulus", [x, y, first, *others] if others and 0 < first < others[0]:
            radii = [first, *others]
            if radii == sorted(set(radii)):
                return [
                    ("ellipse", (x - 1, y - 1, outer, outer, 0.0), (inner, inner))
                    for inner, outer in itertools.pairwise(radii)
                ]
    return None  # which astropy-regions reads, or describes what is wrong


def _properties(path: Path, before: Sequence[str], sign: str, properties: str) -> Labels:
    """Return what astropy-regions makes of the properties of a DS9 region."""
    text = "\n".join([*before, "image", f"{sign}point(1,1) # {properties}"])
    (region,) = _parsed(path, text, "ds9")
    return _labels(region)


def _labels(region: Any) -> Labels:
    labels = region.meta.get("tag", [])
    labels = [labels] if isinstance(labels, str) else list(labels)
    labels += [region.meta[key] for key in ("text", "label") if region.meta.get(key)]
    words = tuple(str(word).strip() for label in labels for word in str(label).split(","))
    return bool(region.meta.get("include", True)), words


def _parsed_shapes(path: Path, text: str, kind: str, reading: Reading) -> list[Shape]:
    """Return the shapes of a file that astropy-regions parses."""
    from regions import PixelRegion

    regions = _parsed(path, text, kind)
    sky = [n for n, region in enumerate(regions, 1) if not isinstance(region, PixelRegion)]
    if sky:
        raise MaskFormatError(
            f"has {len(sky)} regions in sky coordinates, the first is region {sky[0]}; expected "
            "image coordinates: bad pixels are places on the detector",
            where=path,
            hint="Save the regions in image coordinates.",
        )
    shapes = []
    for number, region in enumerate(regions, start=1):
        name = type(region).__name__.removesuffix("PixelRegion").lower()
        if name == "text":
            continue  # an annotation
        title = f"region {number} ({name})"
        include, labels = _labels(region)
        flags = _flags(path, title, labels, reading) if include else 0
        shapes.append(_shape(path, title, region, flags, include=include))
    return shapes


def _parsed(path: Path, content: Any, kind: str) -> list[Any]:
    """Return what astropy-regions parses; what it would skip with a warning is an error."""
    from regions import Regions

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return list(Regions.parse(content, format=kind))
    except Exception as error:  # the parser raises whatever its conversions raise
        raise MaskFormatError(
            f"cannot be understood: {error}",
            where=path,
            hint="Save the regions in image coordinates, as circles, boxes, ellipses, polygons, "
            "annuli or points.",
        ) from error


def _shape(path: Path, title: str, region: Any, flags: int, *, include: bool) -> Shape:
    """Return a region of astropy-regions as a shape."""
    name = type(region).__name__.removesuffix("PixelRegion")
    hole = None
    if name in {"Polygon", "RegularPolygon"}:
        corners = np.stack([region.vertices.x, region.vertices.y], axis=1)
        return Shape(title, "polygon", corners.ravel().tolist(), flags, None, include)
    if name == "Point":
        return Shape(title, "point", (region.center.x, region.center.y), flags, None, include)
    if name == "Circle":
        size = (region.radius, region.radius)
    elif name == "CircleAnnulus":
        size, hole = (region.outer_radius,) * 2, (region.inner_radius,) * 2
    elif name in {"Ellipse", "Rectangle"}:
        size = (region.width / 2, region.height / 2)
    elif name in {"EllipseAnnulus", "RectangleAnnulus"}:
        size = (region.outer_width / 2, region.outer_height / 2)
        hole = (region.inner_width / 2, region.inner_height / 2)
    else:
        raise MaskFormatError(
            f"{title} has no area, and is no point",
            where=path,
            hint="Use a box for rows and columns of pixels.",
        )
    angle = float(region.angle.to_value("rad")) if hasattr(region, "angle") else 0.0
    kind = "box" if name.startswith("Rectangle") else "ellipse"
    numbers = (region.center.x, region.center.y, *size, angle)
    return Shape(title, kind, numbers, flags, hole, include)


def _flags(path: Path, title: str, words: Sequence[str], reading: Reading) -> int:
    """Return the flags of a region: those that the user gives, or those of its labels."""
    own = PIXEL.encode([word for word in words if word in PIXEL])
    if reading.flag is None and not own:
        found = f"; its labels are {', '.join(words[:_SHOWN])}" if words else ""
        raise ConfigError(
            f"{title} does not state which flag its pixels get{found}",
            where=path,
            hint="Give a flag, for example HOT, or label the region with one: # tag={HOT}.",
            options=("flag",),
        )
    if reading.flag is None:
        return own
    given = int(reading.flag_value)
    if own not in (0, given):
        raise ConfigError(
            f"{title} is labelled {', '.join(words[:_SHOWN])}, but flag is {reading.flag}",
            where=path,
            hint="Leave the flag out, or take the labels out of the file.",
            options=("flag",),
        )
    return given


def table_shapes(
    path: Path,
    columns: Mapping[str, npt.NDArray[Any]],
    flags: npt.NDArray[np.uint32],
    where: Callable[[int], str],
) -> list[Shape]:
    """Return the rows of a FITS region table as shapes."""
    from astropy import units
    from astropy.table import QTable

    for name in ("X", "Y", "R", "ROTANG"):
        values = columns.get(name)
        if values is not None and values.dtype.kind not in "iuf":
            raise MaskFormatError(f"the column {name} holds no numbers", where=path)
    names = [str(name) for name in columns["SHAPE"]]
    table = QTable(dict(columns))
    if "ROTANG" in columns:
        table["ROTANG"] = columns["ROTANG"] * units.deg
        # The parser turns ROTBOX only; CFITSIO turns a BOX with an angle, too.
        table["SHAPE"] = [_TURNED.get(name.strip().upper(), name) for name in names]
    regions = _parsed(path, table, "fits")
    return [
        _shape(
            path,
            f"{where(number)} ({names[number].strip().lower()})",
            region,
            int(flags[number]),
            include=bool(region.meta.get("include", True)),
        )
        for number, region in enumerate(regions)
    ]


_OPTIONS = frozenset({"flag", "base", "at"})

DS9 = Format(
    name="a DS9 region file",
    recognizes=lambda path, head: (
        b"\0" not in head
        and (
            _first_line(head).startswith(b"# region file format: ds9")
            or path.suffix.lower() == ".reg"
        )
    ),
    read=_read_ds9,
    options=_OPTIONS,
)
CRTF = Format(
    name="a CRTF region file",
    recognizes=lambda path, head: (
        b"\0" not in head
        and (_first_line(head).startswith(b"#crtf") or path.suffix.lower() == ".crtf")
    ),
    read=_read_crtf,
    options=_OPTIONS,
)


def _first_line(head: bytes) -> bytes:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
