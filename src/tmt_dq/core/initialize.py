"""The step itself: PIXELDQ and GROUPDQ of an exposure from the flags that apply to it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP
from tmt_dq.core.sources.source import FlagSource, SourceReport, Tally

__all__ = [
    "Initialization",
    "combine",
    "initialize",
    "new_groupdq",
    "new_pixeldq",
]

PixelDQ = npt.NDArray[np.uint32]
GroupDQ = npt.NDArray[np.uint8]


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
    """Combine flags into PIXELDQ with a bitwise OR.

    Parameters
    ----------
    pixeldq : ndarray of uint32, (ny, nx)
        Flags the exposure already has; not modified unless it is also `out`.
    *sources : ndarray of uint32, (ny, nx)
        Flags to add.
    out : ndarray of uint32, (ny, nx), optional
        Where to put the result.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        `out`, or a new array.

    Raises
    ------
    ValueError
        Raised if shapes or types differ: broadcasting one pixel over a frame is never meant here.
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


class Initialization:
    """Combines the sources of one exposure, plane by plane, so that memory does not grow.

    All groups come first, then the rows of PIXELDQ: what is found in the counts flags pixels too.

    Parameters
    ----------
    sources : sequence of FlagSource
        The sources, in their order.
    image : bool
        Whether the exposure is an image without groups: its samples' flags then go to its pixels
        (the flags of both conventions have the same bits).
    """

    def __init__(self, sources: Sequence[FlagSource], *, image: bool = False) -> None:
        self._tallies = [Tally(source) for source in sources]
        self._image = image

    @property
    def needs_counts(self) -> bool:
        """Whether a source looks at the counts."""
        return any(tally.source.look is not None for tally in self._tallies)

    @property
    def sole_source(self) -> FlagSource | None:
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

    def samples(
        self,
        integration: int,
        group: int,
        counts: npt.NDArray[np.generic] | None = None,
        old: GroupDQ | None = None,
    ) -> GroupDQ | None:
        """Return the GROUPDQ plane of one group.

        Parameters
        ----------
        integration, group : int
            0-based numbers.
        counts : ndarray, (ny, nx), optional
            The read; needed if `needs_counts`.
        old : ndarray of uint8, (ny, nx), optional
            Flags that the samples have already; not modified.

        Returns
        -------
        ndarray of uint8, (ny, nx), or None
            The flags; None if there are none at all. Not to be modified: it may be a source's own.
        """
        planes = [] if old is None else [old]
        for tally in self._tallies:
            source = tally.source
            if source.groups is not None:
                planes += self._taken(tally, source.groups(integration, group))
            if source.look is not None:
                assert counts is not None
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

    def pixels(self, rows: slice, old: PixelDQ) -> PixelDQ:
        """Add the flags of some rows to PIXELDQ.

        Parameters
        ----------
        rows : slice
            The rows.
        old : ndarray of uint32, (n, nx)
            Their flags until now; modified.

        Returns
        -------
        ndarray of uint32, (n, nx)
            `old`.
        """
        for tally in self._tallies:
            given = [
                flags[rows] for flags in (tally.source.pixels, tally.found) if flags is not None
            ]
            combine(old, *given, out=old)
        return old

    def longest_reports(self, shape: tuple[int, int, int, int]) -> tuple[SourceReport, ...]:
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
    data: npt.NDArray[np.generic],
    sources: Sequence[FlagSource],
    *,
    pixeldq: PixelDQ | None = None,
    groupdq: GroupDQ | None = None,
) -> tuple[PixelDQ, GroupDQ, tuple[SourceReport, ...]]:
    """Initialize the data quality of an exposure in memory.

    Parameters
    ----------
    data : ndarray, (nints, ngroups, ny, nx)
        The reads; only looked at if a source needs the counts.
    sources : sequence of FlagSource
        The sources, in their order.
    pixeldq : ndarray of uint32, (ny, nx), optional
        Flags that the exposure has already; not modified.
    groupdq : ndarray of uint8, (nints, ngroups, ny, nx), optional
        Flags that its samples have already; not modified.

    Returns
    -------
    pixeldq : ndarray of uint32, (ny, nx)
        The flags.
    groupdq : ndarray of uint8, (nints, ngroups, ny, nx)
        The samples' flags.
    reports : tuple of SourceReport
        What each source gave.
    """
    work = Initialization(sources)
    pixels = new_pixeldq(data.shape[-2:]) if pixeldq is None else pixeldq.copy()
    samples = new_groupdq(data.shape) if groupdq is None else groupdq.copy()
    if work.touches_groups or work.needs_counts:
        for integration, group in np.ndindex(*data.shape[:2]):
            place = (integration, group)
            counts = data[place] if work.needs_counts else None
            plane = work.samples(integration, group, counts, None)
            if plane is not None:
                samples[place] |= plane
    return work.pixels(slice(None), pixels), samples, work.reports()
