"""Where the flags of one pixel come from: sources, groups, and earlier masks of the detector."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import TmtDqError
from tmt_dq.exposures.dq_sources import BEFORE, MASK, RecordedSource
from tmt_dq.files.identity import sha256_of
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.masks.formats import read_user_flags
from tmt_dq.masks.mask import Mask, check_belongs, read_mask
from tmt_dq.masks.reading import Reading
from tmt_dq.references.cache import open_cache_of
from tmt_dq.references.versions import Listing, Version, list_versions
from tmt_dq.report.image import FlagImage

_USER = "user DQ"
CachePath = str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class SourceFlags:
    """A source of flags, and its flags of one pixel: None with the problem if not known."""

    kind: str  # "mask", "user DQ", or another kind of DQ_SOURCES
    origin: str  # crds://tmt_iris_mask_0001.fits, a file name
    flags: tuple[str, ...] | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PastFlags:
    """Flags of the pixel in one mask, None with the problem if they cannot be read."""

    name: str
    useafter: str  # "" where it is not known
    in_context: bool  # whether the rules name the mask
    flags: tuple[str, ...] | None
    gained: tuple[str, ...] = ()  # since the mask before that could be read
    lost: tuple[str, ...] = ()
    problem: str | None = None


def find_sources(image: FlagImage, y: int, x: int, crds_path: CachePath) -> list[SourceFlags]:
    """Return what may have flagged a pixel (0-based): a mask itself, or what a ramp names."""
    if image.kind == "mask":
        return [SourceFlags("mask", image.label, _flags_at(image, y, x))]
    name = _mask_name(image)
    rows = [RecordedSource(MASK, name)] if name and name.upper() != "N/A" else []
    rows += [row for row in image.sources if row.kind not in {BEFORE, MASK} and row.pixels]
    sources = []
    for row in rows:
        try:
            flags = _flags_at(_read(image, row, crds_path), y, x)
            sources.append(SourceFlags(row.kind, row.name, flags))
        except (TmtDqError, OSError) as error:
            sources.append(SourceFlags(row.kind, row.name, None, _brief(error)))
    return sources


def read_past(
    instrument: Instrument,
    detector: Detector,
    y: int,
    x: int,
    *,
    crds_path: CachePath,
    context: str | None,
) -> tuple[Listing, tuple[PastFlags, ...]]:
    """Return the flags of a pixel (0-based) in each mask of a detector, and where they are."""
    listing = list_versions(instrument, detector, crds_path=crds_path, context=context)
    past: list[PastFlags] = []
    before: tuple[str, ...] = ()
    for version in listing.versions:
        mask, problem = read_version(version)
        flags = None if mask is None else _flags_at(mask, y, x)
        now = before if flags is None else flags
        gained = tuple(name for name in now if name not in before)
        lost = tuple(name for name in before if name not in now)
        facts = (version.name, version.useafter, version.in_context)
        past.append(PastFlags(*facts, flags, gained, lost, problem))
        before = now
    return listing, tuple(past)


def read_version(version: Version) -> tuple[Mask | None, str | None]:
    """Return a mask of a cache, or why it cannot be read."""
    if version.path is None:
        return None, _brief(version.problem or "cannot be read")
    try:
        return read_mask(version.path), None
    except TmtDqError as error:
        return None, _brief(error)


def since(past: Sequence[PastFlags], flag: str, image: FlagImage) -> PastFlags | None:
    """Return the first mask of the unbroken series with a flag that ends at the image's mask.

    The series ends at the last mask if that one is not among them; None if its end does not have
    the flag. Masks that cannot be read do not break it.
    """
    version = image.label if image.kind == "mask" else _mask_name(image).removeprefix("crds://")
    names = [entry.name for entry in past]
    end = names.index(version) + 1 if version in names else len(past)
    first = None
    for entry in reversed(past[:end]):
        if entry.flags is None:
            continue
        if flag not in entry.flags:
            break
        first = entry
    return first


def _mask_name(image: FlagImage) -> str:
    return str(image.header.get("R_MASK", "")).strip()


def _brief(problem: Exception | str) -> str:
    """Return the first line of a problem, without the places that were looked at."""
    what = problem.what if isinstance(problem, TmtDqError) else str(problem)
    return what.splitlines()[0].removesuffix(" Looked in").removesuffix(".")


def _flags_at(mask: Mask | FlagImage, y: int, x: int) -> tuple[str, ...] | None:
    """Return a mask's flags of a detector pixel (0-based), None where it does not cover it."""
    if not mask.window.contains(Window(y, x, 1, 1)):
        return None
    return PIXEL.decode(mask.dq[y - mask.window.y, x - mask.window.x])


def _read(image: FlagImage, row: RecordedSource, crds_path: CachePath) -> Mask:
    """Read a source again; what prevents that is a TmtDqError."""
    assert image.owner is not None
    assert image.ramp is not None
    if row.kind == _USER:
        return _user_flags(image, row)
    if row.kind != MASK:
        raise TmtDqError(f"flagged {row.pixels:,} pixels; which ones is not recorded")
    name = row.name
    path = Path(name)
    if name.startswith("crds://"):
        cache, _ = open_cache_of(crds_path, image.owner, row.parameters.get("context"))
        path = cache.reference(image.owner.name, name.removeprefix("crds://"))
    elif "://" in name:
        raise TmtDqError("it is a remote file, and is not fetched for an explanation")
    mask = read_mask(path)
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
