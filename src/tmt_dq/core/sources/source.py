"""Flag sources: what adds flags to an exposure, and the account of what each one added.

A source gives flags in up to three ways, all optional: flags of pixels that are known beforehand,
flags of single samples (a pixel in one group) that are known beforehand, and flags that depend on
the counts. PIXELDQ is the OR of the first and third over all sources, GROUPDQ that of the second
and third.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL

__all__ = ["FlagSource", "Found", "GroupFlags", "Look", "SourceReport", "Tally", "flag_where"]

GroupFlags = Callable[[int, int], npt.NDArray[np.uint8] | None]
"""(integration, group), both 0-based, to flags of that group's samples, (ny, nx), or None."""


class Found(NamedTuple):
    """What a source found in one read.

    Attributes
    ----------
    samples : ndarray of uint8, (ny, nx), or None
        Flags of the read's samples.
    pixels : ndarray of uint32, (ny, nx), or None
        Flags of whole pixels.
    """

    samples: npt.NDArray[np.uint8] | None = None
    pixels: npt.NDArray[np.uint32] | None = None


Look = Callable[[npt.NDArray[np.generic]], Found]
"""The counts of one read, (ny, nx), to what is wrong with them."""


@dataclass(frozen=True, slots=True, eq=False)
class FlagSource:
    """Flags for one exposure, and where they come from.

    Parameters
    ----------
    kind : str
        What kind of source it is: "mask", "user DQ", "guide windows".
    origin : str
        Which one: ``crds://tmt_iris_mask_0001.fits``, a file name, "header".
    pixels : ndarray of uint32, (ny, nx), optional
        Flags of the exposure's pixels; not modified.
    parameters : mapping of str to object
        Its settings, recorded in the output.
    pixel_bits, group_bits : int
        All flags that the source can give, of `tmt_dq.dqflags.pixel` and ``group``.
    groups : callable, optional
        Flags of samples that are known beforehand.
    look : callable, optional
        Flags that depend on the counts.
    remarks : tuple of str
        What else the user should know, in sentences without a full stop.
    counts : mapping of str to int, optional
        Pixels per flag of `pixels`, GOOD included, where someone has counted them before.
    """

    kind: str
    origin: str = ""
    pixels: npt.NDArray[np.uint32] | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    pixel_bits: int = PIXEL.mask
    group_bits: int = 0
    groups: GroupFlags | None = None
    look: Look | None = None
    remarks: tuple[str, ...] = ()
    counts: Mapping[str, int] | None = None

    def report(self) -> "SourceReport":
        """Return what the source gives without looking at any counts."""
        return Tally(self).report()


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What one source did.

    Parameters
    ----------
    kind, origin, parameters, remarks
        As in `FlagSource`.
    flagged : int
        Pixels to which the source gave at least one PIXELDQ flag.
    counts : mapping of str to int
        Pixels per PIXELDQ flag of the source.
    samples : mapping of str to int
        Samples per GROUPDQ flag of the source.
    """

    kind: str
    origin: str
    flagged: int
    counts: Mapping[str, int]
    samples: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe in one line what the source did, for HISTORY."""
        given = ", ".join(f"{key} {_text(value)}" for key, value in self.parameters.items())
        name = " ".join(part for part in (self.kind, self.origin) if part)
        line = f"{name}{f' ({given})' if given else ''}: {self.flagged} pixels flagged"
        if self.samples:
            listing = ", ".join(f"{number} {flag}" for flag, number in self.samples.items())
            line += f", samples {listing}"
        return "; ".join((line, *self.remarks))


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class Tally:
    """Counter of what one source gives, while it gives it."""

    def __init__(self, source: FlagSource) -> None:
        self.source = source
        self.found: npt.NDArray[np.uint32] | None = None
        self._samples: dict[str, int] = {}
        self._last: tuple[npt.NDArray[np.uint8] | None, dict[str, int]] = (None, {})

    def count_samples(self, plane: npt.NDArray[np.uint8]) -> None:
        """Count the flags given to one read's samples."""
        # A source whose flags do not change gives the same array again: it is counted once.
        if plane is not self._last[0]:
            counts = GROUP.count(plane)
            del counts["GOOD"]
            self._last = (plane, counts)
        for name, number in self._last[1].items():
            self._samples[name] = self._samples.get(name, 0) + number

    def collect_pixels(self, pixels: npt.NDArray[np.uint32]) -> None:
        """Remember pixel flags that were found in one read."""
        if self.found is None:
            self.found = pixels.copy()
        else:
            np.bitwise_or(self.found, pixels, out=self.found)

    def report(self) -> SourceReport:
        """Return what the source gave until now."""
        counts, flagged = self._known
        if self.found is not None:
            static = self.source.pixels
            counts, flagged = _counted(self.found if static is None else self.found | static)
        return SourceReport(
            kind=self.source.kind,
            origin=self.source.origin,
            flagged=flagged,
            counts=dict(counts),
            samples=dict(self._samples),
            parameters=self.source.parameters,
            remarks=self.source.remarks,
        )

    @functools.cached_property
    def _known(self) -> tuple[dict[str, int], int]:
        """Count what the source knows beforehand; a full frame takes a while, so once."""
        pixels = self.source.pixels
        return ({}, 0) if pixels is None else _counted(pixels, self.source.counts)


def _counted(
    pixels: npt.NDArray[np.uint32], known: Mapping[str, int] | None = None
) -> tuple[dict[str, int], int]:
    """Return the pixels per flag, and those with any."""
    counts = PIXEL.count(pixels) if known is None else dict(known)
    return counts, pixels.size - counts.pop("GOOD")


def flag_where(condition: npt.NDArray[np.bool_], bit: np.uint8) -> npt.NDArray[np.uint8] | None:
    """Return samples' flags with `bit` where a condition holds; None where it never does."""
    return condition.view(np.uint8) * bit if condition.any() else None
