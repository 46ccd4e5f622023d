"""What an initialized ramp says of the sources of its flags, and those of them that are there."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import TmtDqError
from tmt_dq.exposures.dq_sources import BEFORE, MASK
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import Mask, check_belongs, read_mask
from tmt_dq.masks.user_flags import read_user_flags
from tmt_dq.references.cache import open_cache
from tmt_dq.report.image import FlagImage

__all__ = ["SourceFlags", "brief", "find_sources", "flags_at"]


@dataclass(frozen=True, slots=True)
class SourceFlags:
    """A source of flags, and what it says of one pixel.

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
    if name and name.upper() != "N/A":
        sources.append(_mask(image, instrument, name, y, x, crds_path))
    for row in image.sources:
        if row.kind in {BEFORE, MASK} or row.pixels == 0:
            continue
        if row.kind == "user DQ":
            sources.append(_user(image, row.name, row.sha256, y, x))
        else:
            why = f"flagged {row.pixels} pixels; which ones is not recorded"
            sources.append(SourceFlags(row.kind, row.name, None, why))
    return sources


def _mask(
    image: FlagImage,
    instrument: Instrument,
    name: str,
    y: int,
    x: int,
    crds_path: str | os.PathLike[str] | None,
) -> SourceFlags:
    if "://" in name and not name.startswith("crds://"):
        return SourceFlags("mask", name, None, "it is elsewhere, and nobody named it: not read")
    try:
        path = Path(name)
        if name.startswith("crds://"):
            cache = open_cache(crds_path, instrument.observatory, os.environ)
            path = cache.reference(instrument.name, name.removeprefix("crds://"))
        mask = read_mask(path)
        if image.ramp is not None:
            check_belongs(mask, image.ramp, where=image.path)
    except TmtDqError as error:
        return SourceFlags("mask", name, None, brief(error))
    return SourceFlags("mask", name, flags_at(mask, y, x))


def _user(image: FlagImage, name: str, sha: str, y: int, x: int) -> SourceFlags:
    """Look at the user's flags, if the file is beside the ramp and still the same."""
    assert image.path is not None
    assert image.ramp is not None
    path = image.path.parent / name
    if not path.is_file():
        return SourceFlags("user DQ", name, None, f"it is not in {image.path.parent.absolute()}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sha and sha != digest:
            return SourceFlags("user DQ", name, None, "the file was changed since")
        return SourceFlags("user DQ", name, flags_at(read_user_flags(path, image.ramp), y, x))
    except (TmtDqError, OSError) as error:
        return SourceFlags("user DQ", name, None, brief(error))
