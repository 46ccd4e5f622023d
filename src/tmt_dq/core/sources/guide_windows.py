"""Guide windows: parts of the detector that were read for guiding, and their traces.

The pixels of a window see no science light while they are read for guiding: NON_SCIENCE and
DO_NOT_USE. Reading them again and again leaves traces along the rows and columns that share their
readout, known from other H4RGs: OTHER_BAD_PIXEL. A window that is there for some groups only also
flags its samples in these groups, DO_NOT_USE. Each box, not its rows and columns, can be made
larger on all sides, as Roman's ``expand_gw_flagging``.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.geometry import overlap
from tmt_dq.core.recipe import GuideWindow, Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource
from tmt_dq.errors import GeometryError

_BOX = np.uint32(PIXEL.encode("NON_SCIENCE DO_NOT_USE"))
_LINES = np.uint32(PIXEL["OTHER_BAD_PIXEL"])


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the sources of a recipe: the caller's windows, then those that the file names."""
    readout = exposure.readout
    if recipe.guide_windows:
        source = _guide_windows(recipe.guide_windows, "caller", recipe, exposure)
        if source.pixels is not None and not source.pixels.any():
            raise GeometryError(
                f"all guide windows ({len(recipe.guide_windows)}) and their rows and columns lie "
                f"outside the exposure, which covers {exposure.window.describe()} of the detector",
                where=exposure.name,
                hint="Positions of guide windows are those of the detector, from 1.",
                options=("guide_windows",),
            )
        yield source
    if readout.guide_windows:
        yield _guide_windows(readout.guide_windows, readout.guide_origin, recipe, exposure)


def _guide_windows(
    windows: Sequence[GuideWindow], origin: str, recipe: Recipe, exposure: Exposure
) -> FlagSource:
    _check(windows, exposure)
    shape = exposure.window.shape
    pixels = np.zeros(shape, np.uint32)
    moving: list[tuple[tuple[int, int], tuple[slice, slice]]] = []
    for guide in windows:
        rows, columns = overlap(guide.window, exposure.window)
        if "rows" in recipe.guide_parts:
            pixels[rows, :] |= _LINES
        if "columns" in recipe.guide_parts:
            pixels[:, columns] |= _LINES
        if "box" in recipe.guide_parts:
            box = overlap(guide.window, exposure.window, recipe.guide_expand)
            pixels[box] |= _BOX
            if guide.groups is not None:
                moving.append((guide.groups, box))

    def groups(_integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        here = [box for (first, end), box in moving if first <= group < end]
        if not here:
            return None
        plane = np.zeros(shape, np.uint8)
        for box in here:
            plane[box] = GROUP["DO_NOT_USE"]
        return plane

    return FlagSource(
        "guide windows",
        origin=origin,
        parameters={
            "windows": [guide.describe() for guide in windows],
            "parts": list(recipe.guide_parts),
            "expand": recipe.guide_expand,
        },
        group_bits=GROUP["DO_NOT_USE"] if moving else 0,
        pixels=pixels,
        groups=groups if moving else None,
    )


def _check(windows: Sequence[GuideWindow], exposure: Exposure) -> None:
    """Refuse windows that leave the detector or the groups: what flags nothing was not meant."""
    frame, ngroups = exposure.frame, exposure.shape[1]
    problems = []
    for guide in windows:
        if not frame.contains(guide.window):
            problems.append(f"{guide.describe()} leaves the detector, {frame.describe()}")
        if guide.groups is not None and guide.groups[1] > ngroups:
            problems.append(f"{guide.describe()} is there after the last group, {ngroups}")
    if problems:
        raise GeometryError(
            "guide windows do not fit the exposure: " + "; ".join(problems),
            where=exposure.name,
            hint="Guide windows are X,Y,NX,NY[,FIRST:LAST]: detector pixels and groups, from 1.",
        )
