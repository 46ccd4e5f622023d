"""Difference of two masks, or of the PIXELDQ of two ramps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.cells import totals
from tmt_dq.core.clusters import find_clusters
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.files.url_arguments import staged
from tmt_dq.report.colours import CHANGES, Classes
from tmt_dq.report.figures import BAR, LEFT, TOP, draw_counts, new_figure
from tmt_dq.report.image import FlagImage, Flags, Source, as_image
from tmt_dq.report.maps import draw_map, outline
from tmt_dq.report.page import PLACES, Explored, Kind
from tmt_dq.report.parts import around, intersection, largest_clusters
from tmt_dq.report.report import ExploredReport, flag_names
from tmt_dq.tables import HIDDEN, Table, number

LISTED = 20
"""How many pixels are listed one by one, by default."""

_DETAIL = 96
"""Pixels of a side of the second map."""


@dataclass(frozen=True, slots=True)
class FlagChange:
    """Pixels with a flag before and after, and those that gained, lost and kept it."""

    name: str
    old: int
    new: int
    gained: int
    lost: int
    kept: int


@dataclass(frozen=True, slots=True)
class PixelChange:
    """One pixel that differs, counted from 1, and its flags before and after; () for good."""

    x: int
    y: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Difference(ExploredReport):
    """What `diff` found.

    Attributes
    ----------
    old, new : str
        The files' names.
    place : str
        The detector pixels that were compared, in FITS terms.
    compared : int
        How many.
    differing : int
        Pixels whose flags are not the same.
    gained, lost, changed : int
        Of these, those that were good and are flagged, were flagged and are good, and those that
        are flagged both times, with other flags.
    flags : tuple of FlagChange
        Every flag that occurs, lowest bit first.
    pixels : tuple of PixelChange
        The first pixels that differ, row by row.
    notes : tuple of str
        Remarks, for example on pixels that were not compared.
    """

    old: str
    new: str
    place: str
    compared: int
    differing: int
    gained: int
    lost: int
    changed: int
    flags: tuple[FlagChange, ...]
    pixels: tuple[PixelChange, ...]
    notes: tuple[str, ...]
    window: Window = field(repr=False, compare=False, metadata=HIDDEN)
    old_dq: Flags = field(repr=False, compare=False, metadata=HIDDEN)
    new_dq: Flags = field(repr=False, compare=False, metadata=HIDDEN)

    @property
    def same(self) -> bool:
        """Whether all pixels that were compared have the same flags."""
        return self.differing == 0

    def headline(self) -> Sequence[str]:
        """Return what was compared and how much differs."""
        if self.same:
            result = f"all {number(self.compared)} pixels have the same flags"
        else:
            result = (
                f"{number(self.differing)} of {number(self.compared)} pixels differ: "
                f"{number(self.gained)} gained (were good), {number(self.lost)} lost (are good), "
                f"{number(self.changed)} changed their flags"
            )
        return (f"{self.old} → {self.new}, {self.place}", result, *self.notes)

    def tables(self) -> Sequence[Table]:
        """Return what became of each flag, and the first pixels that differ."""
        if self.same:
            return []
        flags = [(f.name, f.old, f.new, f.gained, f.lost, f.kept) for f in self.flags]
        pixels = [(str(p.x), str(p.y), flag_names(p.old), flag_names(p.new)) for p in self.pixels]
        title = "Pixels that differ (1-based detector positions)"
        if len(pixels) < self.differing:
            title += f", the first {len(pixels)} of {number(self.differing)}"
        tables = [
            Table.of("Flags", ("flag", "old", "new", "gained", "lost", "kept"), flags),
            Table.of(title, ("x", "y", "old", "new"), pixels, (0, 1)),
        ]
        return [table for table in tables if table.rows]

    def figure(self) -> Any:
        """Draw where pixels differ, where most of them do, and who gained and lost each flag."""
        old, new, window = self.old_dq, self.new_dq, self.window
        pixels = (old != new).view(np.uint8) * np.uint8(3)
        pixels[(old == 0) & (new != 0)] = 1
        pixels[(old != 0) & (new == 0)] = 2
        classes = Classes(pixels, window, tuple(CHANGES), tuple(CHANGES.values()))
        changes = self._changes()
        size, bottom, right = 1024, TOP + 1024 + 200, 2 * LEFT + 1024
        height = bottom + BAR * max(3, len(changes)) + 130
        figure = new_figure(right + size + 80, height, f"{self.old} → {self.new}")
        whole = draw_map(figure, (LEFT, TOP), size, classes, title="pixels that differ")
        if max(window.shape) > _DETAIL and not self.same:
            detail = classes.cut(_densest(pixels != 0, window))
            title = f"where most of them are; pixels shown: {number(sum(detail.counts))}"
            draw_map(figure, (right, TOP), size, detail, title=title)
            outline(whole, detail.window)
        draw_counts(figure, (LEFT, bottom), size, classes.bars)
        draw_counts(figure, (right, bottom), size, changes)
        return figure

    def _changes(self) -> list[tuple[str, int, str]]:
        """Return gained and lost flags, pixels and colour."""
        gained = [(f"+{flag.name}", flag.gained, CHANGES["gained"]) for flag in self.flags]
        lost = [(f"−{flag.name}", flag.lost, CHANGES["lost"]) for flag in self.flags]
        return [change for change in gained + lost if change[1]]

    def _explored(self) -> Explored:
        """Return gained and lost flags as layers, groups of changed pixels as places."""
        old, new = self.old_dq, self.new_dq
        differs = old != new
        pairs = (old[differs].astype(np.uint64) << 32) | new[differs]
        values, numbers = np.unique(pairs, return_inverse=True)
        pixels = np.zeros(old.shape, np.uint32)
        pixels[differs] = numbers + 1
        kinds = {}
        for place, value in enumerate(values.tolist(), start=1):
            before, after = PIXEL.decode(value >> 32), PIXEL.decode(value & 0xFFFFFFFF)
            gained = [f"+{name}" for name in after if name not in before]
            lost = [f"−{name}" for name in before if name not in after]
            text = f"{flag_names(before)} → {flag_names(after)}"
            kinds[place] = Kind(text, (*gained, *lost))
        groups = largest_clusters(find_clusters(differs), self.window, PLACES)
        tables = {"Largest groups of pixels that differ": groups}
        return Explored(pixels, self.window, kinds, self._changes(), tables)


def _densest(differs: npt.NDArray[np.bool_], window: Window) -> Window:
    """Return the part of a window around most of the pixels that differ."""
    cells = totals(differs, _DETAIL)
    y, x = (_DETAIL * int(place) for place in np.unravel_index(np.argmax(cells), cells.shape))
    there = np.nonzero(differs[y : y + _DETAIL, x : x + _DETAIL])
    down, across = (int(np.median(places)) for places in there)
    return around(window.y + y + down, window.x + x + across, _DETAIL, window)


@staged("old", "new")
def diff(
    old: Source, new: Source, *, listed: int = LISTED, unknown: Unknown = "error"
) -> Difference:
    """Compare the flags of two masks or ramps.

    Parameters
    ----------
    old, new : path, URL, Mask or array_like of integers, (ny, nx)
        FITS files of masks or initialized ramps, plain or compressed; or flags.
    listed : int
        How many pixels that differ are listed one by one.
    unknown : {"error", "drop"}
        What to do about names and bits without a meaning.

    Returns
    -------
    Difference
        What differs. Where one covers only a part of the detector, the common pixels are
        compared, and a note says so.

    Raises
    ------
    RampFormatError, MaskFormatError, UnknownFlagError
        Raised if one of them cannot be read, or they are of different detectors.
    GeometryError
        Raised if they have no pixel in common, or were read out in different orientations.
    ConfigError
        Raised if `listed` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> old = np.zeros((8, 8), np.uint32)
    >>> new = old.copy()
    >>> new[2, 3] = 2048
    >>> result = diff(old, new)
    >>> result.gained, result.lost, result.changed
    (1, 0, 0)
    >>> result.pixels
    (PixelChange(x=4, y=3, old=(), new=('HOT',)),)
    """
    if listed < 0:
        raise ConfigError(f"listed is {listed}; expected 0 or more", hint="Leave it out.")
    before, after = as_image(old, unknown=unknown), as_image(new, unknown=unknown)
    window, notes = _common(before, after)
    a, b = (image.dq[window.slices(image.window)] for image in (before, after))
    y, x = np.nonzero(a != b)
    a_there, b_there = a[y, x], b[y, x]
    gained, lost = int(np.count_nonzero(a_there == 0)), int(np.count_nonzero(b_there == 0))
    return Difference(
        old=before.label,
        new=after.label,
        place=window.describe(),
        compared=a.size,
        differing=y.size,
        gained=gained,
        lost=lost,
        changed=y.size - gained - lost,
        flags=flag_changes(a, b),
        pixels=tuple(
            PixelChange(
                window.xstart + int(x[place]),
                window.ystart + int(y[place]),
                PIXEL.decode(a_there[place]),
                PIXEL.decode(b_there[place]),
            )
            for place in range(min(listed, y.size))
        ),
        notes=(*before.notes, *after.notes, *notes),
        window=window,
        old_dq=a,
        new_dq=b,
    )


def _common(old: FlagImage, new: FlagImage) -> tuple[Window, list[str]]:
    """Return the pixels that both cover, after checking that they are the same pixels."""
    facts = ("the instrument", "the detector", "FASTAXIS", "SLOWAXIS")
    theirs = ((image.instrument, image.detector, *image.orientation) for image in (old, new))
    for name, a, b in zip(facts, *theirs, strict=True):
        if a is not None and b is not None and str(a).upper() != str(b).upper():
            error = GeometryError if "AXIS" in name else MaskFormatError
            raise error(
                f"{name} is {b}, that of {old.where} is {a}",
                where=new.where,
                hint="Compare flags of the same detector, in the same orientation.",
            )
    window = intersection(old.window, new.window)
    if window is None:
        raise GeometryError(
            f"covers {new.window.describe()}, {old.where} covers "
            f"{old.window.describe()}: no pixel in common",
            where=new.where,
            hint="Compare flags of the same part of the detector.",
        )
    notes = []
    for image in (old, new):
        outside = image.dq.size - window.ny * window.nx
        if outside:
            inside = image.dq[window.slices(image.window)]
            flagged = int(np.count_nonzero(image.dq)) - int(np.count_nonzero(inside))
            notes.append(
                f"{image.label} covers {image.window.describe()}; of its {number(outside)} other "
                f"pixels, which were not compared, {number(flagged)} are flagged"
            )
    return window, notes


def flag_changes(old: Flags, new: Flags) -> tuple[FlagChange, ...]:
    """Count the pixels that gained, lost and kept each flag that occurs, lowest bit first."""
    differs = old != new
    before, after = old[differs], new[differs]
    old_counts, new_counts = PIXEL.count(old), PIXEL.count(new)
    changes = []
    for flag in PIXEL.flags:
        had, has = old_counts.get(flag.name, 0), new_counts.get(flag.name, 0)
        if had or has:
            bit = np.uint32(flag.value)
            lost = int(np.count_nonzero(before & ~after & bit))
            gained = int(np.count_nonzero(after & ~before & bit))
            changes.append(FlagChange(flag.name, had, has, gained, lost, had - lost))
    return tuple(changes)
