"""Explanation of one pixel: its flags, what they mean, what set them, and since when."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import GeometryError
from tmt_dq.exposures.dq_sources import BEFORE
from tmt_dq.files.url_arguments import staged
from tmt_dq.report.colours import OTHERS, Classes, flag_colour
from tmt_dq.report.figures import BAR, LEFT, TOP, add_panel, draw_counts, new_figure
from tmt_dq.report.image import FlagImage, ImageReport, Source, as_image
from tmt_dq.report.maps import draw_map, outline
from tmt_dq.report.origins import PastFlags, SourceFlags, find_sources, read_past, since
from tmt_dq.report.parts import intersection
from tmt_dq.report.report import flag_names
from tmt_dq.report.samples import GroupFlag, Samples, read_samples
from tmt_dq.tables import HIDDEN, Table

_OWN = "flags that the ramp had before"
_SINCE = "none of the recorded sources: it was set since"
_ABOUT = ("USEAFTER", "PEDIGREE", "AUTHOR", "DESCRIP")


@dataclass(frozen=True, slots=True)
class FlagReason:
    """One flag of a pixel, and the first mask of the cache that has had it without a break."""

    name: str
    value: int
    meaning: str
    sources: tuple[str, ...]  # what set it, as far as that can be known
    since: str | None
    since_useafter: str | None


@dataclass(frozen=True)
class Explanation(ImageReport):
    """What `explain` found.

    Attributes
    ----------
    label, kind, path, instrument, detector : str, Path or None
        The file's name, "mask", "ramp" or "array", the file, and whose flags they are, if known.
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
    samples: Samples = field(repr=False, compare=False, metadata=HIDDEN)

    def headline(self) -> Sequence[str]:
        """Return the pixel, its flags, and what is not known."""
        names = flag_names([flag.name for flag in self.flags])
        owner = self.image.owner_name or "the detector"
        where = f"pixel x = {self.x}, y = {self.y} (1-based) of {owner}"
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
            named = "yes" if mask.in_context else "no"
            masks.append((mask.useafter or "unknown", mask.name, found, " ".join(changes), named))
        sources = [(s.kind, s.origin, _found(s.flags, s.problem)) for s in self.sources]
        groups = [(flag.name, flag.groups, flag.total) for flag in self.groups]
        samples = "GROUPDQ" if self.image.ramp is None else self.image.ramp.group_name
        tables = [
            Table.of("Flags", ("flag", "value", "meaning", "set by", "since"), flags, [1]),
            Table.of("Sources", ("kind", "origin", "flags of this pixel"), sources),
            Table.of(f"Samples in {samples}", ("flag", "flagged", "of"), groups),
            Table.of(
                f"Masks of {self.detector} in the cache {self.cache}, by USEAFTER",
                ("useafter", "mask", "flags of this pixel", "change", f"in {self.context}"),
                masks,
            ),
        ]
        return [table for table in tables if table.rows]

    def figure(self) -> Any:
        """Draw the flags within 10 pixels, and the ramp of the pixel and of its neighbours."""
        x, y, reads = self.x, self.y, self.samples.reads
        near = intersection(self.image.window, Window(y - 11, x - 11, 21, 21))
        assert near is not None
        cut = self.image.dq[near.slices(self.image.window)]
        values, places = np.unique(cut, return_inverse=True)
        pixels = (places.reshape(cut.shape) + 1).astype(np.uint8)
        names = tuple(flag_names(PIXEL.decode(value)) for value in values)
        classes = Classes(pixels, near, names, _mixtures(values.tolist()))
        size = 1050
        width = size + LEFT + 120 if reads is None else 2 * size + 3 * LEFT
        height = TOP + size + 330 + BAR * len(values)
        figure = new_figure(width, height, self.headline()[0])
        axes = draw_map(figure, (LEFT, TOP), size, classes, title="flags within 10 pixels")
        outline(axes, Window(y - 1, x - 1, 1, 1), linewidth=2)
        draw_counts(figure, (LEFT, TOP + size + 190), size, classes.bars)
        if reads is not None:
            axes = add_panel(figure, (2 * LEFT + size, TOP), size, size)
            around = reads.reshape(len(reads), 9)
            groups = range(1, len(reads) + 1)
            axes.plot(groups, np.delete(around, 4, axis=1), color="#9aa0a6", linewidth=1)
            axes.plot([], [], color="#9aa0a6", linewidth=1, label="its neighbours")
            axes.plot(groups, around[:, 4], "o-", color="#d55e00", ms=3, label=f"pixel {x}, {y}")
            axes.set(xlabel="group (all integrations)", ylabel=f"signal ({self.samples.unit})")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_title("the ramp of the pixel", fontsize=10, loc="left")
            axes.legend(fontsize=9, frameon=False)
        return figure


def _mixtures(values: Sequence[int]) -> tuple[str, ...]:
    """Return a colour of its own for each combination of flags, white for none."""
    colours: list[str] = []
    for value in values:
        names = [name for name in PIXEL.decode(value) if name != "DO_NOT_USE"] or ["DO_NOT_USE"]
        wanted = [*map(flag_colour, names), *OTHERS] if value else ["#ffffff"]
        colours.append(next((one for one in wanted if one not in colours), wanted[0]))
    return tuple(colours)


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
            where=image.where,
            hint="X,Y is the 1-based position on the detector, not in the array.",
        )
    place = (y - 1, x - 1)
    value = int(image.dq[place[0] - window.y, place[1] - window.x])
    names = PIXEL.decode(value)
    sources = find_sources(image, *place, crds_path)
    notes = list(image.notes)
    listing = None
    past: tuple[PastFlags, ...] = ()
    if image.owner is not None and image.description is not None:
        listing, past = read_past(
            image.owner, image.description, *place, crds_path=crds_path, context=context
        )
    elif image.kind != "array":
        notes.append("no history: the file names no known detector")
    samples = read_samples(image, *place)
    about = {key: image.header.get(key) for key in _ABOUT if image.kind == "mask"}
    return Explanation(
        **image.facts,
        x=x,
        y=y,
        value=value,
        flags=tuple(_reason(image, name, sources, past) for name in names),
        sources=tuple(sources),
        groups=samples.flags,
        about={key: str(text) for key, text in about.items() if text is not None},
        context=None if listing is None else listing.context,
        cache=None if listing is None else str(listing.cache),
        history=past,
        notes=tuple(notes),
        samples=samples,
    )


def _found(flags: Sequence[str] | None, problem: str | None) -> str:
    return problem or "does not cover the pixel" if flags is None else flag_names(flags)


def _reason(
    image: FlagImage, name: str, sources: Sequence[SourceFlags], past: Sequence[PastFlags]
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
    first = since(past, name, image)
    dates = (None, None) if first is None else (first.name, first.useafter)
    return FlagReason(name, PIXEL[name], PIXEL.describe(name), tuple(set_by), *dates)
