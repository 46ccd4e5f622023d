"""Pixels sorted by flag, with colours that colour-blind readers too tell apart."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import FlagCount, Planes
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window

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
    "TELEGRAPH": "#332288",
    "NONLINEAR": "#117733",
    "BAD_REF_PIXEL": "#44aa99",
    "UNRELIABLE_SLOPE": "#999933",
    "UNRELIABLE_DARK": "#882255",
    "OTHER_BAD_PIXEL": "#aa4499",
    "UNRELIABLE_FLAT": "#ddcc77",
    "UNRELIABLE_BIAS": "#cc6677",
}
OTHERS = ("#332288", "#117733", "#44aa99", "#999933", "#882255", "#aa4499", "#ddcc77", "#cc6677")

KINDS = {
    "defect, DO_NOT_USE": "#a50f15",
    "defect": "#e69f00",
    "reference, non-science": "#8c96a0",
}
"""Colours of kinds of pixels."""

CHANGES = {"gained": "#d55e00", "lost": "#0072b2", "changed": "#8c7a5b"}
"""Colours of a difference: flagged now, good now, other flags."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Pixels of a window sorted into classes: 0 for none, else the place of a name from 1 on."""

    pixels: npt.NDArray[np.uint8]
    window: Window
    names: tuple[str, ...]
    colours: tuple[str, ...]
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.counts:
            counts = np.bincount(self.pixels.reshape(-1), minlength=len(self.names) + 1)[1:]
            object.__setattr__(self, "counts", tuple(counts.tolist()))

    @property
    def bars(self) -> list[tuple[str, int, str]]:
        """Name, pixels and colour of the classes that have pixels."""
        every = zip(self.names, self.counts, self.colours, strict=True)
        return [bar for bar in every if bar[1]]

    def cut(self, window: Window) -> "Classes":
        """Return a part of the pixels, counted anew."""
        pixels = self.pixels[window.slices(self.window)]
        return dataclasses.replace(self, pixels=pixels, window=window, counts=())


def flag_colour(name: str) -> str:
    """Return the colour of a flag."""
    names = [flag.name for flag in PIXEL.flags if flag.name not in _COLOURS]
    return _COLOURS.get(name) or OTHERS[names.index(name) % len(OTHERS)]


def ordered(flags: Sequence[FlagCount]) -> list[FlagCount]:
    """Return flags as pixels with several are sorted: rare ones first, DO_NOT_USE last."""
    return sorted(flags, key=lambda flag: (flag.name == "DO_NOT_USE", flag.pixels))


def by_flag(dq: npt.NDArray[np.uint32], window: Window, flags: Sequence[FlagCount]) -> Classes:
    """Sort pixels by flag, those with several by the first in `ordered`; count each of them."""
    first = ordered(flags)
    pixels = np.zeros(dq.shape, np.uint8)
    for place, flag in reversed(list(enumerate(first, start=1))):
        pixels[(dq & np.uint32(PIXEL[flag.name])) != 0] = place
    names = tuple(flag.name for flag in first)
    counts = tuple(flag.pixels for flag in first)
    return Classes(pixels, window, names, tuple(map(flag_colour, names)), counts)


def by_kind(planes: Planes, window: Window) -> Classes:
    """Sort pixels into defects with DO_NOT_USE, other defects, and those that see no light."""
    pixels = (planes.flagged & ~planes.sky).view(np.uint8) * np.uint8(3)
    pixels[planes.defects] = 2
    pixels[planes.defects & planes.do_not_use] = 1
    return Classes(pixels, window, tuple(KINDS), tuple(KINDS.values()))
