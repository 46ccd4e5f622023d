"""Guide windows: parts of the detector that were read for guiding, and their traces."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GUIDE_PARTS, GuideWindow, Recipe
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import GeometryError

__all__ = ["check_guide_windows", "guide_windows", "sources"]


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the sources of a recipe: the caller's windows, then those that the file names."""
    readout = exposure.readout
    for windows, origin in (
        (recipe.guide_windows, "caller"),
        (readout.guide_windows, readout.guide_origin),
    ):
        if windows:
            check_guide_windows(windows, exposure.frame, exposure.shape[1], where=exposure.name)
            yield guide_windows(
                windows,
                exposure.window,
                origin=origin,
                parts=recipe.guide_parts,
                expand=recipe.guide_expand,
            )


def guide_windows(
    windows: Sequence[GuideWindow],
    window: Window,
    *,
    origin: str,
    parts: Sequence[str] = GUIDE_PARTS,
    expand: int = 0,
) -> FlagSource:
    """Flag what windows that were read for guiding disturb.

    The pixels of a window see no science light while they are read for guiding: NON_SCIENCE and
    DO_NOT_USE. Reading them again and again leaves traces along the rows and columns that share
    their readout, known from other H4RGs: OTHER_BAD_PIXEL. A window that is there for some groups
    only also flags its samples in these groups, DO_NOT_USE. `expand` is the number of pixels by
    which each box, not its rows and columns, is made larger on all sides, as Roman's
    ``expand_gw_flagging``.
    """
    box_bits = np.uint32(PIXEL.encode("NON_SCIENCE DO_NOT_USE"))
    line_bits = np.uint32(PIXEL["OTHER_BAD_PIXEL"])
    pixels = np.zeros(window.shape, np.uint32)
    moving: list[tuple[tuple[int, int], tuple[slice, slice]]] = []
    for guide in windows:
        rows, columns = _inside(guide.window, window)
        if "rows" in parts:
            pixels[rows, :] |= line_bits
        if "columns" in parts:
            pixels[:, columns] |= line_bits
        if "box" in parts:
            box = _inside(guide.window, window, expand)
            pixels[box] |= box_bits
            if guide.groups is not None:
                moving.append((guide.groups, box))

    def groups(_integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        here = [place for (first, end), place in moving if first <= group < end]
        if not here:
            return None
        plane = np.zeros(window.shape, np.uint8)
        for place in here:
            plane[place] = GROUP["DO_NOT_USE"]
        return plane if plane.any() else None

    return FlagSource(
        "guide windows",
        origin=origin,
        parameters={
            "windows": [guide.describe() for guide in windows],
            "parts": list(parts),
            "expand": expand,
        },
        pixel_bits=int(box_bits | line_bits),
        group_bits=GROUP["DO_NOT_USE"] if moving else 0,
        pixels=pixels,
        groups=groups if moving else None,
    )


def check_guide_windows(
    windows: Sequence[GuideWindow], frame: Window, ngroups: int, *, where: object
) -> None:
    """Raise GeometryError where guide windows leave the detector or the exposure's groups.

    What would flag nothing is not what was meant.
    """
    problems = []
    for guide in windows:
        if not frame.contains(guide.window):
            problems.append(f"{guide.describe()} leaves the detector, {frame.describe()}")
        if guide.groups is not None and guide.groups[1] > ngroups:
            problems.append(f"{guide.describe()} is there after the last group, {ngroups}")
    if problems:
        raise GeometryError(
            "guide windows do not fit the exposure: " + "; ".join(problems),
            where=where,
            hint="Guide windows are X,Y,NX,NY[,FIRST:LAST]: detector pixels and groups, from 1.",
        )


def _inside(guide: Window, window: Window, expand: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of an exposure that a guide window lies in."""
    slices = []
    for start, length, origin, size in (
        (guide.y, guide.ny, window.y, window.ny),
        (guide.x, guide.nx, window.x, window.nx),
    ):
        first = start - expand - origin
        last = start + length + expand - origin
        slices.append(slice(max(0, min(size, first)), max(0, min(size, last))))
    return slices[0], slices[1]
