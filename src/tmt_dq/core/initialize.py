"""The step itself: PIXELDQ and GROUPDQ of an exposure from the flags that apply to it."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.sources.source import FlagSource, SourceReport, Tally

__all__ = [
    "ArrayReader",
    "Initialization",
    "Reader",
    "combine",
    "initialize",
    "new_groupdq",
    "new_pixeldq",
]

Counts = npt.NDArray[np.generic]
PixelDQ = npt.NDArray[np.uint32]
GroupDQ = npt.NDArray[np.uint8]
Shape = tuple[int, int, int, int]

_PIECE_BYTES = 4 * 1024 * 1024
"""Bytes of PIXELDQ that are made at a time."""


def new_pixeldq(shape: tuple[int, int]) -> PixelDQ:
    """Return a PIXELDQ without flags, (ny, nx) uint32."""
    return np.zeros(shape, np.uint32)


def new_groupdq(shape: tuple[int, ...]) -> GroupDQ:
    """Return a GROUPDQ without flags, (nints, ngroups, ny, nx) uint8.

    The pages come zeroed from the system and are not touched: a GROUPDQ that stays empty takes
    no memory however long the ramp is.
    """
    return np.zeros(shape, np.uint8)


def combine(pixeldq: PixelDQ, *sources: PixelDQ, out: PixelDQ | None = None) -> PixelDQ:
    """Combine flags into PIXELDQ with a bitwise OR, in `out` or a new array.

    `pixeldq` is modified only if it is also `out`. Shapes and types that differ are a ValueError:
    broadcasting one pixel over a frame is never meant here.
    """
    for array in (pixeldq, *sources, *(() if out is None else (out,))):
        if array.shape != pixeldq.shape or array.dtype != np.uint32:
            raise ValueError(
                f"expected uint32 arrays of shape {pixeldq.shape}, found {array.dtype} "
                f"{array.shape}"
            )
    if out is None:
        out = pixeldq.copy()
    elif out is not pixeldq:
        np.copyto(out, pixeldq)
    for source in sources:
        np.bitwise_or(out, source, out=out)
    return out


class Reader(Protocol):
    """An exposure from which planes are read one by one: a file, or arrays in memory."""

    @property
    def shape(self) -> Shape:
        """Shape of the exposure: (nints, ngroups, ny, nx)."""

    def counts(self, integration: int, group: int) -> Counts:
        """Return one read, (ny, nx); not to be modified."""

    def old_samples(self, integration: int, group: int) -> GroupDQ | None:
        """Return the flags that one read's samples have already; not to be modified."""

    def old_pixels(self, rows: slice) -> PixelDQ | None:
        """Return the flags that some rows have already, in an array that may be modified."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ArrayReader:
    """An exposure in memory: its reads, and flags that it has already; none is modified."""

    data: Counts
    pixeldq: PixelDQ | None = None
    groupdq: GroupDQ | None = None

    @property
    def shape(self) -> Shape:
        """Shape of the exposure."""
        nints, ngroups, ny, nx = self.data.shape
        return nints, ngroups, ny, nx

    def counts(self, integration: int, group: int) -> Counts:
        """Return one read."""
        counts: Counts = self.data[integration, group]
        return counts

    def old_samples(self, integration: int, group: int) -> GroupDQ | None:
        """Return the flags that one read's samples have already."""
        return None if self.groupdq is None else self.groupdq[integration, group]

    def old_pixels(self, rows: slice) -> PixelDQ | None:
        """Return the flags that some rows have already."""
        return None if self.pixeldq is None else self.pixeldq[rows].copy()


class Initialization:
    """Combines the sources of one exposure, plane by plane, so that memory does not grow.

    All groups come first (`planes`), then the rows of PIXELDQ (`rows`): what is found in the counts
    flags pixels too. An `image` has no groups: its samples' flags go to its pixels (the flags of
    both conventions have the same bits).
    """

    def __init__(self, sources: Sequence[FlagSource], *, image: bool = False) -> None:
        self._tallies = [Tally(source) for source in sources]
        self._image = image
        self._seen = False
        self._counts = dict.fromkeys(("GOOD", *(flag.name for flag in PIXEL.flags)), 0)

    @property
    def needs_counts(self) -> bool:
        """Whether a source looks at the counts."""
        return any(tally.source.look is not None for tally in self._tallies)

    @property
    def _sole_source(self) -> FlagSource | None:
        """The one source that flags pixels, if no other one can: PIXELDQ is a copy of its flags."""
        flagging = [
            tally.source
            for tally in self._tallies
            if tally.source.pixels is not None or (tally.source.look and tally.source.pixel_bits)
        ]
        if len(flagging) != 1 or self._image or flagging[0].look is not None:
            return None
        return flagging[0]

    @property
    def touches_groups(self) -> bool:
        """Whether a source can flag samples."""
        return any(
            tally.source.group_bits or tally.source.groups is not None for tally in self._tallies
        )

    @property
    def counts(self) -> dict[str, int]:
        """Pixels per flag in the rows that were made: those that occur, and GOOD."""
        return {name: n for name, n in self._counts.items() if n or name == "GOOD"}

    def planes(self, reader: Reader) -> Iterator[GroupDQ | None]:
        """Yield GROUPDQ plane by plane, old flags included; None for a plane without flags.

        No plane is to be modified: it may be a source's own.
        """
        self._seen = True
        for integration, group in np.ndindex(*reader.shape[:2]):
            yield self._plane(reader, integration, group, reader.old_samples(integration, group))

    def rows(self, reader: Reader) -> Iterator[tuple[slice, PixelDQ]]:
        """Yield PIXELDQ in pieces of rows, old flags included, counting its flags on the way.

        Looks through all groups first where sources need that and `planes` did not.
        """
        self.look(reader)
        ny, nx = reader.shape[2:]
        step = max(1, _PIECE_BYTES // (4 * nx))
        sole = self._sole_source
        for first in range(0, ny, step):
            rows = slice(first, min(first + step, ny))
            old = reader.old_pixels(rows)
            if old is None and sole is not None and sole.pixels is not None and sole.counts:
                # A mask is counted once for all its exposures: counting takes longer than copying.
                self._counts |= sole.counts
                yield rows, sole.pixels[rows].copy()
                continue
            flags = new_pixeldq((rows.stop - first, nx)) if old is None else old
            for tally in self._tallies:
                known = (tally.source.pixels, tally.found)
                combine(flags, *(given[rows] for given in known if given is not None), out=flags)
            for name, number in PIXEL.count(flags).items():
                self._counts[name] += number
            yield rows, flags

    def look(self, reader: Reader) -> None:
        """Look through all groups, unless `planes` did or no source flags samples or looks."""
        if not self._seen and (self.needs_counts or self.touches_groups):
            for integration, group in np.ndindex(*reader.shape[:2]):
                self._plane(reader, integration, group, None)
        self._seen = True

    def _plane(
        self, reader: Reader, integration: int, group: int, old: GroupDQ | None
    ) -> GroupDQ | None:
        """Return the flags of one read's samples; collect what they and its counts flag."""
        planes = [] if old is None else [old]
        counts = reader.counts(integration, group) if self.needs_counts else None
        for tally in self._tallies:
            source = tally.source
            if source.groups is not None:
                planes += self._taken(tally, source.groups(integration, group))
            if source.look is not None and counts is not None:
                found = source.look(counts)
                planes += self._taken(tally, found.samples)
                if found.pixels is not None:
                    tally.collect_pixels(found.pixels)
        if len(planes) < 2:
            return planes[0] if planes else None
        result = planes[0] | planes[1]
        for plane in planes[2:]:
            np.bitwise_or(result, plane, out=result)
        return result

    def _taken(self, tally: Tally, plane: GroupDQ | None) -> list[GroupDQ]:
        if plane is None:
            return []
        if self._image:
            tally.collect_pixels(plane.astype(np.uint32))
            return []
        tally.count_samples(plane)
        return [plane]

    def longest_reports(self, shape: Shape) -> tuple[SourceReport, ...]:
        """Return reports with the largest numbers that an exposure of `shape` can give."""
        nints, ngroups, ny, nx = shape
        longest = []
        for tally in self._tallies:
            names = GROUP.decode(tally.source.group_bits)
            samples = dict.fromkeys(() if self._image else names, nints * ngroups * ny * nx)
            report = tally.report()
            longest.append(dataclasses.replace(report, flagged=ny * nx, samples=samples))
        return tuple(longest)

    def reports(self) -> tuple[SourceReport, ...]:
        """Return what each source gave until now, in their order."""
        return tuple(tally.report() for tally in self._tallies)


def initialize(
    data: Counts,
    sources: Sequence[FlagSource],
    *,
    pixeldq: PixelDQ | None = None,
    groupdq: GroupDQ | None = None,
) -> tuple[PixelDQ, GroupDQ, tuple[SourceReport, ...]]:
    """Initialize the data quality of an exposure in memory; return PIXELDQ, GROUPDQ and reports.

    The parameters are those of `ArrayReader`; `data` is only looked at if a source needs the
    counts.
    """
    reader, work = ArrayReader(data, pixeldq, groupdq), Initialization(sources)
    samples = new_groupdq(data.shape) if groupdq is None else groupdq.copy()
    if work.touches_groups:
        for place, plane in zip(np.ndindex(*data.shape[:2]), work.planes(reader), strict=True):
            if plane is not None:
                samples[place] = plane
    pixels = new_pixeldq(reader.shape[2:])
    for rows, flags in work.rows(reader):
        pixels[rows] = flags
    return pixels, samples, work.reports()
