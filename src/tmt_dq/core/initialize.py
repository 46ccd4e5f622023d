"""The step itself: PIXELDQ and GROUPDQ of an exposure from the flags that apply to it."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL, FlagTable
from tmt_dq.core.sources.source import FlagSource, SourceReport

Counts = npt.NDArray[np.generic]
PixelDQ = npt.NDArray[np.uint32]
GroupDQ = npt.NDArray[np.uint8]
Shape = tuple[int, int, int, int]

_PIECE_BYTES = 4 * 1024 * 1024
"""Bytes of PIXELDQ that are made at a time: flags are counted while they are in the cache."""


@dataclass(frozen=True, slots=True)
class Reader:
    """An exposure, (nints, ngroups, ny, nx), of which planes are read one by one.

    `counts` gives one read, `old_samples` the flags that its samples have already, `old_pixels`
    those of some rows of pixels; only the last may be modified.
    """

    shape: Shape
    counts: Callable[[int, int], Counts]
    old_samples: Callable[[int, int], GroupDQ | None]
    old_pixels: Callable[[slice], PixelDQ | None]


class _Account:
    """What one source has given until now."""

    def __init__(self, source: FlagSource) -> None:
        self.source = source
        self.found: PixelDQ | None = None
        self.flagged = 0
        self.pixels: Counter[str] = Counter()
        self.samples: Counter[str] = Counter()
        self._last: tuple[GroupDQ | None, dict[str, int]] = (None, {})

    def has_samples(self, plane: GroupDQ) -> bool:
        """Count the flags of one read's samples; tell whether there are any."""
        if plane is not self._last[0]:  # the same array again, as a mask's, is counted once
            counts = GROUP.count(plane)
            del counts["GOOD"]
            self._last = (plane, counts)
        self.samples.update(self._last[1])
        return bool(self._last[1])

    def take_pixels(self, pixels: PixelDQ | None) -> None:
        """Keep flags of pixels that were found in one read."""
        if pixels is not None:
            self.found = pixels if self.found is None else self.found | pixels

    def add_rows(self, flags: PixelDQ, rows: slice) -> None:
        """Add the source's flags of some rows, and count them."""
        parts = [given[rows] for given in (self.source.pixels, self.found) if given is not None]
        if parts:
            both = parts[0] if len(parts) == 1 else parts[0] | parts[1]
            if both.shape != flags.shape:  # one row is never meant for a whole frame
                raise ValueError(f"{self.source.kind} has {both.shape}, expected {flags.shape}")
            counts = PIXEL.count(both)
            self.flagged += both.size - counts.pop("GOOD")
            self.pixels.update(counts)
            np.bitwise_or(flags, both, out=flags)

    def report(self) -> SourceReport:
        """Return what the source gave until now."""
        return SourceReport(
            kind=self.source.kind,
            origin=self.source.origin,
            flagged=self.flagged,
            counts=_by_bit(self.pixels, PIXEL),
            samples=_by_bit(self.samples, GROUP),
            parameters=self.source.parameters,
            remarks=self.source.remarks,
        )


def _by_bit(counts: Mapping[str, int], table: FlagTable) -> dict[str, int]:
    """Return the flags that occur, lowest bit first."""
    return {name: counts[name] for name in table if counts[name]}


class Initialization:
    """Combines the sources of one exposure, plane by plane, so that memory does not grow.

    All groups come first (`planes`), then the rows of PIXELDQ (`rows`): what is found in the counts
    flags pixels too. An `image` has no groups: its samples' flags go to its pixels (the flags of
    both conventions have the same bits).
    """

    def __init__(self, sources: Sequence[FlagSource], *, image: bool = False) -> None:
        self._accounts = [_Account(source) for source in sources]
        self._image = image
        self._looks = any(source.look for source in sources)
        self._seen = False
        self._counts: Counter[str] = Counter()
        self.touches_groups = any(source.group_bits for source in sources)

    @property
    def counts(self) -> dict[str, int]:
        """Pixels per flag in the rows that were made: GOOD, and those that occur."""
        return {"GOOD": self._counts["GOOD"]} | _by_bit(self._counts, PIXEL)

    def planes(self, reader: Reader) -> Iterator[GroupDQ | None]:
        """Yield GROUPDQ by planes, which are not to be modified; None for one without flags."""
        self._seen = True
        for integration, group in np.ndindex(*reader.shape[:2]):
            plane = reader.old_samples(integration, group)
            counts = reader.counts(integration, group) if self._looks else None
            for account in self._accounts:
                for samples in self._give(account, integration, group, counts):
                    plane = samples if plane is None else plane | samples
            yield plane

    def samples(self, integration: int, group: int) -> GroupDQ | None:
        """Return the flags that sources give one read's samples without a look, not counted."""
        given = None
        for source in (account.source for account in self._accounts):
            plane = None if source.groups is None else source.groups(integration, group)
            if plane is not None:
                given = plane if given is None else given | plane
        return given

    def _give(
        self, account: _Account, integration: int, group: int, counts: Counts | None
    ) -> Iterator[GroupDQ]:
        """Yield the flags that a source gives to one read's samples; keep those of pixels."""
        source, planes = account.source, []
        if source.groups is not None:
            planes.append(source.groups(integration, group))
        if source.look is not None and counts is not None:
            found = source.look(counts)
            planes.append(found.samples)
            account.take_pixels(found.pixels)
        for plane in planes:
            if plane is None:
                continue
            if self._image:
                account.take_pixels(plane.astype(np.uint32))
            elif account.has_samples(plane):
                yield plane

    def rows(self, reader: Reader) -> Iterator[tuple[slice, PixelDQ]]:
        """Yield PIXELDQ in pieces of rows, old flags included, counting its flags on the way.

        Looks through all groups first where sources need that and `planes` did not.
        """
        if not self._seen and (self._looks or self.touches_groups):
            for _ in self.planes(reader):
                pass
        ny, nx = reader.shape[2:]
        step = max(1, _PIECE_BYTES // (4 * nx))
        for first in range(0, ny, step):
            rows = slice(first, min(first + step, ny))
            flags = reader.old_pixels(rows)
            if flags is None:
                flags = np.zeros((rows.stop - first, nx), np.uint32)
            for account in self._accounts:
                account.add_rows(flags, rows)
            self._counts.update(PIXEL.count(flags))
            yield rows, flags

    def reports(self) -> tuple[SourceReport, ...]:
        """Return what each source gave until now, in their order."""
        return tuple(account.report() for account in self._accounts)

    def longest_reports(self, shape: Shape) -> tuple[SourceReport, ...]:
        """Return reports with the largest numbers that an exposure of `shape` can give."""
        nints, ngroups, ny, nx = shape
        longest = []
        for account in self._accounts:
            names = () if self._image else GROUP.decode(account.source.group_bits)
            samples = dict.fromkeys(names, nints * ngroups * ny * nx)
            longest.append(dataclasses.replace(account.report(), flagged=ny * nx, samples=samples))
        return tuple(longest)


def initialize(
    data: Counts,
    sources: Sequence[FlagSource],
    *,
    pixeldq: PixelDQ | None = None,
    groupdq: GroupDQ | None = None,
) -> tuple[PixelDQ, GroupDQ, tuple[SourceReport, ...]]:
    """Return PIXELDQ, GROUPDQ and reports of an exposure in memory; no argument is modified."""
    nints, ngroups, ny, nx = data.shape
    reader = Reader(
        shape=(nints, ngroups, ny, nx),
        counts=lambda integration, group: data[integration, group],
        old_samples=lambda i, g: None if groupdq is None else groupdq[i, g],
        old_pixels=lambda rows: None if pixeldq is None else pixeldq[rows].copy(),
    )
    work = Initialization(sources)
    # The pages of zeros are not touched: a GROUPDQ that stays empty takes no memory.
    samples = np.zeros(data.shape, np.uint8) if groupdq is None else groupdq.copy()
    if work.touches_groups:
        for place, plane in zip(np.ndindex(nints, ngroups), work.planes(reader), strict=True):
            if plane is not None:
                samples[place] = plane
    pixels = np.empty((ny, nx), np.uint32)
    for rows, flags in work.rows(reader):
        pixels[rows] = flags
    return pixels, samples, work.reports()
