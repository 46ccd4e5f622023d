"""Difference of two masks, or of the PIXELDQ of two ramps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.files.url_arguments import staged
from tmt_dq.report.areas import intersection
from tmt_dq.report.image import FlagImage, Source, as_image
from tmt_dq.report.pictures import difference_figure
from tmt_dq.report.report import HIDDEN, DrawnReport
from tmt_dq.tables import Table, number

__all__ = ["Difference", "FlagChange", "PixelChange", "diff"]

LISTED = 20
"""How many pixels are listed one by one, by default."""

Flags = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class FlagChange:
    """What became of one flag.

    Attributes
    ----------
    name : str
        The flag.
    old, new : int
        Pixels with it before and after.
    gained, lost, kept : int
        Pixels that have it only after, only before, and both times.
    """

    name: str
    old: int
    new: int
    gained: int
    lost: int
    kept: int


@dataclass(frozen=True, slots=True)
class PixelChange:
    """One pixel that differs.

    Attributes
    ----------
    x, y : int
        1-based detector position.
    old, new : tuple of str
        Flags before and after; () for good.
    """

    x: int
    y: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True)
class Difference(DrawnReport):
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
        pixels = [(str(p.x), str(p.y), _names(p.old), _names(p.new)) for p in self.pixels]
        title = "Pixels that differ (1-based detector positions)"
        if len(pixels) < self.differing:
            title += f", the first {len(pixels)} of {number(self.differing)}"
        tables = [
            Table.of("Flags", ("flag", "old", "new", "gained", "lost", "kept"), flags),
            Table.of(title, ("x", "y", "old", "new"), pixels, (0, 1)),
        ]
        return [table for table in tables if table.rows]

    def figure(self) -> Any:
        """Draw where pixels differ, and how many gained and lost each flag."""
        old, new = self.old_dq, self.new_dq
        classes = (old != new).view(np.uint8)
        classes[(old != 0) & (new == 0)] = 2
        classes[(old == 0) & (new != 0)] = 3
        flags = [flag for flag in self.flags if flag.gained or flag.lost]
        return difference_figure(
            classes,
            self.window,
            title=f"{self.old} → {self.new}",
            names=[flag.name for flag in flags],
            gained=[flag.gained for flag in flags],
            lost=[flag.lost for flag in flags],
        )


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
        flags=_flag_changes(a, b, a_there, b_there),
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


def _names(flags: tuple[str, ...]) -> str:
    return " ".join(flags) or "GOOD"


def _common(old: FlagImage, new: FlagImage) -> tuple[Window, list[str]]:
    """Return the pixels that both cover, after checking that they are the same pixels."""
    for key in ("instrument", "detector"):
        a, b = getattr(old, key), getattr(new, key)
        if a is not None and b is not None and a.upper() != b.upper():
            raise MaskFormatError(
                f"the {key} is {b}, that of {old.path or old.label} is {a}",
                where=new.path or new.label,
                hint="Compare flags of the same detector.",
            )
    for name, a, b in zip(("FASTAXIS", "SLOWAXIS"), old.orientation, new.orientation, strict=True):
        if a is not None and b is not None and a != b:
            raise GeometryError(
                f"was read out with {name} {b}, {old.path or old.label} with {a}",
                where=new.path or new.label,
                hint="Compare flags in the same orientation.",
            )
    window = intersection(old.window, new.window)
    if window is None:
        raise GeometryError(
            f"covers {new.window.describe()}, {old.path or old.label} covers "
            f"{old.window.describe()}: no pixel in common",
            where=new.path or new.label,
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


def _flag_changes(old: Flags, new: Flags, before: Flags, after: Flags) -> tuple[FlagChange, ...]:
    """Count gained and lost flags; `before` and `after` hold the pixels that differ."""
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
