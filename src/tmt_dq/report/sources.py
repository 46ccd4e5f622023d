"""Sources of a ramp's flags: those that its record names, and their flags of one pixel."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import TmtDqError
from tmt_dq.exposures.dq_sources import BEFORE, MASK, RecordedSource
from tmt_dq.files.identity import sha256_of
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import Mask, check_belongs, read_mask
from tmt_dq.masks.reading import Reading
from tmt_dq.masks.user_flags import read_user_flags
from tmt_dq.references.cache import open_cache
from tmt_dq.report.image import FlagImage

__all__ = ["SourceFlags", "brief", "find_sources", "flags_at"]

_USER = "user DQ"


@dataclass(frozen=True, slots=True)
class SourceFlags:
    """A source of flags, and its flags of one pixel.

    Attributes
    ----------
    kind : str
        "mask", "user DQ", or another kind of DQ_SOURCES.
    origin : str
        Which one: ``crds://tmt_iris_mask_0001.fits``, a file name.
    flags : tuple of str or None
        What it flags the pixel as, () for good; None where it could not be looked up.
    problem : str or None
        Why it could not.
    """

    kind: str
    origin: str
    flags: tuple[str, ...] | None
    problem: str | None = None


def brief(problem: Exception | str) -> str:
    """Return the first line of a problem, without the places that were looked at."""
    what = problem.what if isinstance(problem, TmtDqError) else str(problem)
    return what.splitlines()[0].removesuffix(" Looked in").removesuffix(".")


def flags_at(mask: Mask, y: int, x: int) -> tuple[str, ...] | None:
    """Return a mask's flags of a detector pixel (0-based), None where it does not cover it."""
    if not mask.window.contains(Window(y, x, 1, 1)):
        return None
    return PIXEL.decode(mask.dq[y - mask.window.y, x - mask.window.x])


def find_sources(
    image: FlagImage,
    instrument: Instrument,
    y: int,
    x: int,
    *,
    crds_path: str | os.PathLike[str] | None,
) -> list[SourceFlags]:
    """Return the sources that a ramp names, and their flags of a pixel or why they are unknown."""
    sources = []
    name = str(image.header.get("R_MASK", "")).strip()
    rows = [RecordedSource(MASK, name)] if name and name.upper() != "N/A" else []
    rows += [row for row in image.sources if row.kind not in {BEFORE, MASK} and row.pixels]
    for row in rows:
        try:
            flags = flags_at(_read(image, instrument, row, crds_path), y, x)
            sources.append(SourceFlags(row.kind, row.name, flags))
        except (TmtDqError, OSError) as error:
            sources.append(SourceFlags(row.kind, row.name, None, brief(error)))
    return sources


def _read(
    image: FlagImage,
    instrument: Instrument,
    row: RecordedSource,
    crds_path: str | os.PathLike[str] | None,
) -> Mask:
    """Read a source again; what prevents that is a TmtDqError."""
    if row.kind == _USER:
        return _user_flags(image, row)
    if row.kind != MASK:
        raise TmtDqError(f"flagged {row.pixels:,} pixels; which ones is not recorded")
    name = row.name
    path = Path(name)
    if name.startswith("crds://"):
        cache = open_cache(crds_path, instrument.observatory, os.environ)
        path = cache.reference(instrument.name, name.removeprefix("crds://"))
    elif "://" in name:
        raise TmtDqError("it is a remote file, and is not fetched for an explanation")
    mask = read_mask(path)
    if image.ramp is not None:
        check_belongs(mask, image.ramp, where=image.path)
    return mask


def _user_flags(image: FlagImage, row: RecordedSource) -> Mask:
    """Read the user's flags again as they were read, if their file is beside the ramp."""
    assert image.path is not None
    assert image.ramp is not None
    path = image.path.parent / row.name
    if not path.is_file():
        raise TmtDqError(f"it is not in {image.path.parent.absolute()}")
    if row.sha256 and row.sha256 != sha256_of(path):
        raise TmtDqError("the file was changed since")
    # What had no meaning was refused then, or left out.
    return read_user_flags(
        path,
        image.ramp,
        unknown="drop",
        reading=_reading(row.parameters),
        do_not_use=row.parameters.get("do_not_use", "instrument"),
    )


def _reading(parameters: Mapping[str, Any]) -> Reading | None:
    """Return how the file was read; JSON has lists for tuples, and texts for keys."""
    names = {field.name for field in dataclasses.fields(Reading)}
    given = {name: value for name, value in parameters.items() if name in names}
    for name, value in given.items():
        if isinstance(value, list):
            given[name] = tuple(value)
        elif isinstance(value, dict):
            given[name] = {int(key): flags for key, flags in value.items()}
    return Reading(**given) if given else None
