"""Colours of flags, told apart by colour-blind readers too, and pixels sorted by flag."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import FlagCount, Planes
from tmt_dq.core.flags import PIXEL

__all__ = ["CHANGES", "OTHERS", "Classes", "by_flag", "by_kind", "flag_colour", "ordered"]

# The palette of Okabe and Ito (2008) for the usual flags, of Tol (2021, "muted") for the others.
_COLOURS = {
    "DO_NOT_USE": "#000000",
    "HOT": "#d55e00",
    "WARM": "#e69f00",
    "DEAD": "#0072b2",
    "LOW_QE": "#56b4e9",
    "OPEN": "#009e73",
    "ADJ_OPEN": "#88ccaa",
    "RC": "#cc79a7",
    "REFERENCE_PIXEL": "#8c96a0",
    "NON_SCIENCE": "#b8bec4",
}
OTHERS = ("#332288", "#117733", "#44aa99", "#999933", "#882255", "#aa4499", "#ddcc77", "#cc6677")

CHANGES = {"gained": "#d55e00", "lost": "#0072b2", "changed": "#8c7a5b"}
"""Colours of a difference: flagged now, good now, other flags."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Pixels sorted into classes: 0 for none, else a number whose name and colour are listed."""

    pixels: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    colours: tuple[str, ...]
    counts: tuple[int, ...]

    def cut(self, place: tuple[slice, slice]) -> "Classes":
        """Return a part of the pixels."""
        return dataclasses.replace(self, pixels=self.pixels[place])


def flag_colour(name: str) -> str:
    """Return the colour of a flag."""
    names = [flag.name for flag in PIXEL.flags if flag.name not in _COLOURS]
    return _COLOURS.get(name) or OTHERS[names.index(name) % len(OTHERS)]


def ordered(flags: Sequence[FlagCount]) -> list[FlagCount]:
    """Return flags as pixels with several are sorted: rare ones first, DO_NOT_USE last."""
    return sorted(flags, key=lambda flag: (flag.name == "DO_NOT_USE", flag.pixels))


def by_flag(dq: npt.NDArray[np.uint32], flags: Sequence[FlagCount]) -> Classes:
    """Sort pixels by flag; one with several has the class of the first in `ordered`."""
    first = ordered(flags)
    pixels = np.zeros(dq.shape, np.uint8)
    for place, flag in reversed(list(enumerate(first, start=1))):
        pixels[(dq & np.uint32(PIXEL[flag.name])) != 0] = place
    names = tuple(flag.name for flag in first)
    counts = tuple(flag.pixels for flag in first)
    return Classes(pixels, names, tuple(map(flag_colour, names)), counts)


def by_kind(planes: Planes) -> Classes:
    """Sort pixels into those that see no light, defects, and defects with DO_NOT_USE."""
    parts = {
        "reference or non-science": ("#8c96a0", planes.flagged & ~planes.sky),
        "defect": ("#e69f00", planes.defects & ~planes.do_not_use),
        "defect, DO_NOT_USE": ("#a50f15", planes.defects & planes.do_not_use),
    }
    pixels = np.zeros(planes.flagged.shape, np.uint8)
    for place, (_, plane) in enumerate(parts.values(), start=1):
        pixels[plane] = place
    counts = tuple(int(np.count_nonzero(plane)) for _, plane in parts.values())
    return Classes(pixels, tuple(parts), tuple(colour for colour, _ in parts.values()), counts)
