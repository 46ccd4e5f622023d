"""Regions of bad pixels: DS9 region files in image coordinates."""

import re
from collections.abc import Iterator
from pathlib import Path

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import MaskFormatError
from tmt_dq.masks.formats.format import (
    Format,
    Target,
    base_of,
    flag_of,
    read_text,
    whole_detector,
)
from tmt_dq.masks.formats.shapes import Shape, draw, outlines_of
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

_REGION = re.compile(r"([-+]?)\s*([a-z]+)\s*\(([^()]*)\)", re.IGNORECASE)
_PROPERTY = re.compile(
    r"\b(tag|text|include)\s*=\s*(?:\{([^}]*)\}|\"([^\"]*)\"|'([^']*)'|(\S+))", re.IGNORECASE
)
_PANDA = re.compile(r"#\s*(?=[bce]?panda\()", re.IGNORECASE)
"""What DS9 writes before these shapes, although they are no annotations."""


def _read(path: Path, reading: Reading, target: Target) -> Mask:
    base = base_of(reading, path, 1)  # as DS9 counts
    shapes = list(_shapes(path, read_text(path), reading))
    if not shapes:
        raise MaskFormatError("has no regions", where=path, hint="Save it again from DS9.")
    if not any(shape.include for shape in shapes):
        raise MaskFormatError("has only excluded regions; expected some to flag", where=path)
    shift = (reading.shift[0] - base, reading.shift[1] - base)
    return whole_detector(path, draw(path, shapes, shift, target.shape))


def _shapes(path: Path, text: str, reading: Reading) -> Iterator[Shape]:
    """Yield the regions of a file as shapes."""
    known: dict[str, tuple[bool, int]] = {}
    for number, name, numbers, properties in _regions(path, text):
        title = f"line {number} ({name})"
        try:
            outlines = outlines_of(name, [float(each) for each in numbers.split(",")])
        except ValueError:
            raise _not_understood(path, f"{title} with the numbers {numbers!r}") from None
        if properties not in known:
            known[properties] = _include_and_flags(path, title, properties, reading)
        include, flags = known[properties]
        yield Shape(title, *outlines, flags, include)


def _regions(path: Path, text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield line, name, numbers and properties of regions; no line is left out unless a comment."""
    frame, common = "unknown", ""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        content, _, properties = _PANDA.sub("", line).partition("#")
        for part in filter(None, map(str.strip, content.split(";"))):
            region = _REGION.fullmatch(part)
            if region is None and part.lower().startswith("global "):
                common = part
            elif region is None and part.isalnum():
                frame = part.lower()
            elif region is None or properties.count("{") != properties.count("}"):
                raise _not_understood(path, f"line {number} is not complete: {line[:60]!r}")
            elif frame != "image":
                raise _not_understood(path, f"line {number} is in {frame} coordinates")
            elif region[2].lower() != "text":  # which is an annotation
                included = "include=0" if region[1] == "-" else ""
                yield number, region[2].lower(), region[3], f"{common} {properties} {included}"


def _not_understood(path: Path, finding: str) -> MaskFormatError:
    return MaskFormatError(
        f"cannot be understood: {finding}",
        where=path,
        hint="Save circles, boxes, ellipses, polygons, annuli or points as DS9 regions in image "
        "coordinates: bad pixels are places on the detector.",
    )


def _include_and_flags(
    path: Path, title: str, properties: str, reading: Reading
) -> tuple[bool, int]:
    """Return whether a region is included, and its flags: the user's, or those of its labels."""
    include, words = True, []
    for key, *texts in _PROPERTY.findall(properties):
        if key.lower() == "include":
            include = "".join(texts) != "0"
        else:
            words += [word.strip() for word in "".join(texts).split(",")]
    own = PIXEL.encode([word for word in words if word in PIXEL])
    if not include:
        return False, 0
    labels = ", ".join(words[:3]) or "none"
    return True, int(flag_of(reading, path, f"{title}, whose labels are {labels},", own))


def _recognizes(path: Path, head: bytes) -> bool:
    # CASA's CRTF files come here too, where the error explains what is read.
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_named = path.suffix.lower() in {".reg", ".crtf"}
    return b"\0" not in head and (
        is_named or start.startswith((b"# region file format: ds9", b"#crtf"))
    )


DS9 = Format(
    name="a DS9 region file",
    recognizes=_recognizes,
    read=_read,
    options=frozenset({"flag", "base", "at"}),
)
