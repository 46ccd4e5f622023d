"""Parts of a detector: quadrants, readout channels, bad rows and columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmt_dq.core.counts import Planes
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError
from tmt_dq.report.image import FlagImage
from tmt_dq.tables import Table, number

__all__ = [
    "Area",
    "BadLine",
    "area_table",
    "bad_lines",
    "channels",
    "intersection",
    "line_table",
    "measure",
    "quadrants",
]

_MAX_LINES = 20
"""How many bad rows or columns a table lists; JSON has all."""


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the detector.

    Attributes
    ----------
    name : str
        "lower left", "channel 7".
    place : str
        Its pixels in FITS terms, 1-based on the detector, both ends included.
    pixels : int
        Pixels that can see light.
    flagged : int
        Pixels with any flag, reference pixels included.
    defects, do_not_use : int
        Defects, and pixels with DO_NOT_USE, among those that can see light.
    fraction : float
        Defects per pixel that can see light.
    """

    name: str
    place: str
    pixels: int
    flagged: int
    defects: int
    do_not_use: int
    fraction: float


@dataclass(frozen=True, slots=True)
class BadLine:
    """A row or column in which many pixels are defects.

    Attributes
    ----------
    position : int
        1-based row or column of the detector.
    defects : int
        Defects.
    fraction : float
        Defects per pixel of the line that can see light.
    """

    position: int
    defects: int
    fraction: float


def quadrants(frame: Window) -> list[tuple[str, Window]]:
    """Return the quadrants of a detector; the middle row and column of odd ones are upper right."""
    y, x = frame.ny // 2, frame.nx // 2
    return [
        ("lower left", Window(0, 0, y, x)),
        ("lower right", Window(0, x, y, frame.nx - x)),
        ("upper left", Window(y, 0, frame.ny - y, x)),
        ("upper right", Window(y, x, frame.ny - y, frame.nx - x)),
    ]


def channels(frame: Window, count: int, *, along_y: bool) -> list[tuple[str, Window]]:
    """Return the readout channels: stripes of equal width across the fast axis (y if `along_y`)."""
    length = frame.ny if along_y else frame.nx
    if count < 1 or length % count:
        raise ConfigError(
            f"{count} readout channels do not divide the {length} pixels of the fast axis evenly",
            where="channels",
            hint="Give the number of channels of this detector: --channels N (channels=N).",
        )
    width = length // count
    return [
        (
            f"channel {place + 1}",
            Window(place * width, 0, width, frame.nx)
            if along_y
            else Window(0, place * width, frame.ny, width),
        )
        for place in range(count)
    ]


def measure(image: FlagImage, planes: Planes, parts: list[tuple[str, Window]]) -> tuple[Area, ...]:
    """Count the pixels of each part; parts outside the image are left out."""
    areas = []
    for name, part in parts:
        common = intersection(part, image.window)
        if common is None:
            continue
        cut = common.slices(image.window)
        pixels = int(np.count_nonzero(planes.sky[cut]))
        defects = int(np.count_nonzero(planes.defects[cut]))
        areas.append(
            Area(
                name=name,
                place=common.describe(),
                pixels=pixels,
                flagged=int(np.count_nonzero(planes.flagged[cut])),
                defects=defects,
                do_not_use=int(np.count_nonzero(planes.do_not_use[cut])),
                fraction=defects / pixels if pixels else 0.0,
            )
        )
    return tuple(areas)


def bad_lines(planes: Planes, *, axis: int, first: int, fraction: float) -> tuple[BadLine, ...]:
    """Return the rows (`axis` 1) or columns (`axis` 0) with at least `fraction` defects.

    `first` is the 1-based detector position of the first one.
    """
    defects = np.count_nonzero(planes.defects, axis=axis)
    pixels = np.count_nonzero(planes.sky, axis=axis)
    shares = defects / np.maximum(pixels, 1)
    return tuple(
        BadLine(first + int(line), int(defects[line]), float(shares[line]))
        for line in np.flatnonzero((shares >= fraction) & (defects > 0))
    )


def intersection(a: Window, b: Window) -> Window | None:
    """Return the pixels that two windows have in common, None if there are none."""
    y, x = max(a.y, b.y), max(a.x, b.x)
    ny = min(a.y + a.ny, b.y + b.ny) - y
    nx = min(a.x + a.nx, b.x + b.nx) - x
    return Window(y, x, ny, nx) if ny > 0 and nx > 0 else None


def area_table(title: str, areas: Sequence[Area]) -> Table:
    """Return areas as a table."""
    header = ("area", "pixels", "flagged", "defects", "share", "DO_NOT_USE", "detector pixels")
    rows = [
        (a.name, a.pixels, a.flagged, a.defects, a.fraction, a.do_not_use, a.place) for a in areas
    ]
    return Table.of(title, header, rows)


def line_table(name: str, lines: Sequence[BadLine], limit: float) -> Table:
    """Return the first bad lines (`name` is "row" or "column") as a table."""
    title = f"Bad {name}s (at least {100 * limit:g} % defects): {number(len(lines))}"
    if len(lines) > _MAX_LINES:
        title += f", the first {_MAX_LINES}"
    rows = [(str(line.position), line.defects, line.fraction) for line in lines[:_MAX_LINES]]
    return Table.of(title, (name, "defects", "share"), rows, [0])
