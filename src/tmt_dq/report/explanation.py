"""Explanation of one pixel: its flags, what they mean, what set them, and since when."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import GeometryError
from tmt_dq.exposures.dq_sources import BEFORE
from tmt_dq.files.url_arguments import staged
from tmt_dq.report.groups import GroupFlag, count_groups
from tmt_dq.report.image import FlagImage, Source, as_image
from tmt_dq.report.past import PastFlags, read_past, since
from tmt_dq.report.report import Report
from tmt_dq.report.sources import SourceFlags, find_sources
from tmt_dq.tables import Table

__all__ = ["Explanation", "FlagReason", "explain"]

_OWN = "flags that the ramp had before"
_SINCE = "none of the recorded sources: it was set since"
_ABOUT = ("USEAFTER", "PEDIGREE", "AUTHOR", "DESCRIP")


@dataclass(frozen=True, slots=True)
class FlagReason:
    """One flag of a pixel.

    Attributes
    ----------
    name : str
        The flag.
    value : int
        Its value.
    meaning : str
        What it means.
    sources : tuple of str
        What set it, as far as that can be known.
    since : str or None
        The first of the masks in the cache that have had it without a break.
    since_useafter : str or None
        USEAFTER of that mask.
    """

    name: str
    value: int
    meaning: str
    sources: tuple[str, ...]
    since: str | None
    since_useafter: str | None


@dataclass(frozen=True)
class Explanation(Report):
    """What `explain` found.

    Attributes
    ----------
    label, kind : str
        The file's name, and "mask", "ramp" or "array".
    path : Path, str or None
        The file.
    instrument, detector : str or None
        Whose pixel it is, where the file names it.
    x, y : int
        1-based detector position.
    value : int
        The flags in one number.
    flags : tuple of FlagReason
        The flags, lowest bit first; () for a good pixel.
    sources : tuple of SourceFlags
        What may have set them, and the flags of each.
    groups : tuple of GroupFlag
        Flags of the pixel in GROUPDQ of a ramp.
    about : mapping of str to str
        USEAFTER, PEDIGREE, AUTHOR and DESCRIP of a mask.
    context, cache : str or None
        Rules and cache whose masks were looked at.
    history : tuple of PastFlags
        The pixel in all of the detector's masks in the cache, ordered by USEAFTER.
    notes : tuple of str
        What could not be found out, and why.
    """

    label: str
    kind: str
    path: Path | str | None
    instrument: str | None
    detector: str | None
    x: int
    y: int
    value: int
    flags: tuple[FlagReason, ...]
    sources: tuple[SourceFlags, ...]
    groups: tuple[GroupFlag, ...]
    about: dict[str, str]
    context: str | None
    cache: str | None
    history: tuple[PastFlags, ...]
    notes: tuple[str, ...]

    def headline(self) -> Sequence[str]:
        """Return the pixel, its flags, and what is not known."""
        names = " ".join(flag.name for flag in self.flags) or "GOOD"
        owner = " ".join(name for name in (self.instrument, self.detector) if name)
        where = f"pixel x = {self.x}, y = {self.y} (1-based) of {owner or 'the detector'}"
        about = (f"{key}: {value}" for key, value in self.about.items())
        return (f"{self.label}: {where}: {names} ({self.value})", *about, *self.notes)

    def tables(self) -> Sequence[Table]:
        """Return the flags, their sources, the groups and the history."""
        flags, masks = [], []
        for flag in self.flags:
            since = flag.since and f"{flag.since}, USEAFTER {flag.since_useafter or 'unknown'}"
            flags.append((flag.name, str(flag.value), flag.meaning, "; ".join(flag.sources), since))
        for mask in self.history:
            changes = [f"+{name}" for name in mask.gained] + [f"-{name}" for name in mask.lost]
            found = _found(mask.flags, mask.problem)
            in_context = "yes" if mask.in_context else "no"
            when = mask.useafter or "unknown"
            masks.append((when, mask.name, found, " ".join(changes), in_context))
        sources = [(s.kind, s.origin, _found(s.flags, s.problem)) for s in self.sources]
        groups = [(flag.name, flag.groups, flag.total) for flag in self.groups]
        tables = [
            Table.of("Flags", ("flag", "value", "meaning", "set by", "since"), flags, [1]),
            Table.of("Sources", ("kind", "origin", "flags of this pixel"), sources),
            Table.of("Samples in GROUPDQ", ("flag", "flagged", "of"), groups),
            Table.of(
                f"Masks of {self.detector} in the cache {self.cache}, by USEAFTER",
                ("useafter", "mask", "flags of this pixel", "change", f"in {self.context}"),
                masks,
            ),
        ]
        return [table for table in tables if table.rows]


@staged("source")
def explain(
    source: Source,
    *,
    x: int,
    y: int,
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
    unknown: Unknown = "error",
) -> Explanation:
    """Tell why a pixel is flagged.

    Parameters
    ----------
    source : path, URL, Mask or array_like of integers, (ny, nx)
        FITS file of a mask or of an initialized ramp, plain or compressed; or the flags.
    x, y : int
        1-based position on the detector: x counts columns, y rows; not of the array, if that is a
        subarray.
    crds_path, context : optional
        Cache and rules whose masks are looked at, as in `tmt_dq.select_mask`.
    unknown : {"error", "drop"}
        What to do about names and bits without a meaning.

    Returns
    -------
    Explanation
        The flags, what set them and since when. A reference that is not there is no error: it is
        listed with the problem.

    Raises
    ------
    GeometryError
        Raised if the pixel is not one of the file's.
    RampFormatError, MaskFormatError, UnknownFlagError
        Raised if `source` cannot be read.
    ConfigError, SelectionError
        Raised if the cache or context make no sense, or the rules cannot be trusted.
    OutputError
        Raised if the package's own cache cannot be unpacked.

    Examples
    --------
    >>> import numpy as np
    >>> dq = np.zeros((8, 8), np.uint32)
    >>> dq[2, 3] = 2048 | 1
    >>> [flag.meaning for flag in explain(dq, x=4, y=3).flags]
    ['Bad pixel, do not use', 'Hot pixel']
    """
    image = as_image(source, unknown=unknown)
    window = image.window
    if not window.contains(Window(y - 1, x - 1, 1, 1)):
        raise GeometryError(
            f"has no pixel x = {x}, y = {y}: it covers {window.describe()}",
            where=image.path or image.label,
            hint="X,Y is the 1-based position on the detector, not in the array.",
        )
    place = (y - 1, x - 1)
    value = int(image.dq[place[0] - window.y, place[1] - window.x])
    names = PIXEL.decode(value)
    notes = list(image.notes)
    sources = _sources(image, names, place, crds_path)
    listing = None
    past: tuple[PastFlags, ...] = ()
    if image.owner is not None and image.description is not None:
        listing, past = read_past(
            image.owner, image.description, *place, crds_path=crds_path, context=context
        )
    elif image.kind != "array":
        notes.append("no history: the file names no known detector")
    if image.kind == "ramp":
        notes += _contradictions(names, sources)
    version = _version(image)
    return Explanation(
        label=image.label,
        kind=image.kind,
        path=image.path,
        instrument=image.instrument,
        detector=image.detector,
        x=x,
        y=y,
        value=value,
        flags=tuple(_reason(image, name, sources, past, version) for name in names),
        sources=tuple(sources),
        groups=count_groups(image, *place),
        about={
            key: str(image.header[key])
            for key in _ABOUT
            if image.kind == "mask" and image.header.get(key) is not None
        },
        context=None if listing is None else listing.context,
        cache=None if listing is None else str(listing.cache),
        history=past,
        notes=tuple(notes),
    )


def _found(flags: Sequence[str] | None, problem: str | None) -> str:
    if flags is None:
        return problem or "does not cover the pixel"
    return " ".join(flags) or "GOOD"


def _sources(
    image: FlagImage,
    names: tuple[str, ...],
    place: tuple[int, int],
    crds_path: str | os.PathLike[str] | None,
) -> list[SourceFlags]:
    """Return what may have set the flags: for a mask, the mask itself."""
    if image.kind == "ramp" and image.owner is not None:
        return find_sources(image, image.owner, *place, crds_path=crds_path)
    if image.kind == "mask":
        return [SourceFlags("mask", image.label, names)]
    return []


def _version(image: FlagImage) -> str | None:
    """Return the name under which the cache may have the mask that counts here."""
    if image.kind == "ramp":
        return str(image.header.get("R_MASK", "")).removeprefix("crds://") or None
    return image.label if image.kind == "mask" else None


def _reason(
    image: FlagImage,
    name: str,
    sources: Sequence[SourceFlags],
    past: Sequence[PastFlags],
    version: str | None,
) -> FlagReason:
    set_by = [
        f"{source.kind} {source.origin}".strip()
        for source in sources
        if source.flags is not None and name in source.flags
    ]
    if not set_by and image.kind == "ramp":
        possible = [source.kind for source in sources if source.flags is None]
        if all(row.pixels for row in image.sources if row.kind == BEFORE):
            possible.append(_OWN)
        set_by = ["one of: " + ", ".join(possible)] if len(possible) > 1 else possible or [_SINCE]
    first = since(past, name, version)
    return FlagReason(
        name=name,
        value=PIXEL[name],
        meaning=PIXEL.describe(name),
        sources=tuple(set_by),
        since=None if first is None else first.name,
        since_useafter=None if first is None else first.useafter,
    )


def _contradictions(names: tuple[str, ...], sources: Sequence[SourceFlags]) -> list[str]:
    """Tell of flags that a source has and the ramp has not."""
    notes = []
    for source in sources:
        missing = [name for name in source.flags or () if name not in names]
        if missing:
            notes.append(
                f"{source.kind} {source.origin} flags the pixel {' '.join(missing)}, PIXELDQ does "
                "not: one of them was changed since"
            )
    return notes
