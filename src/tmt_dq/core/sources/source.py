"""Flag sources: what they know of an exposure, the flags they add, and the report of these.

A source gives flags in up to three ways, all optional: flags of pixels that are known beforehand,
flags of single samples (a pixel in one group) that are known beforehand, and flags that depend on
the counts. PIXELDQ is the OR of the first and third over all sources, GROUPDQ that of the second
and third.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import NO_BORDER, Border, Window
from tmt_dq.core.recipe import GuideWindow


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """Facts of an exposure's readout that its file states, as far as a recipe needs them."""

    subarr_map: npt.NDArray[np.uint32] | None = None  # of a frame around subarrays
    guide_windows: tuple[GuideWindow, ...] = ()
    guide_origin: str = ""  # where the file names them
    read_numbers: tuple[int, ...] | None = None  # of each group
    incomplete: bool = False  # COMPLETE is F


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Facts of an exposure that flag sources can use."""

    name: object  # its file, named in errors
    shape: tuple[int, int, int, int]  # (nints, ngroups, ny, nx)
    window: Window  # its detector pixels
    frame: Window  # all pixels of the detector
    border: Border = NO_BORDER  # of reference pixels
    mask: npt.NDArray[np.uint32] | None = None  # flags inside `window`; not to be modified
    readout: Readout = field(default_factory=Readout)


class Found(NamedTuple):
    """Flags of samples, uint8 (ny, nx), and of whole pixels, uint32, found in one read."""

    samples: npt.NDArray[np.uint8] | None = None
    pixels: npt.NDArray[np.uint32] | None = None


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
    group_bits : int
        All flags of samples that the source can give, of `tmt_dq.dqflags.group`.
    groups : callable, optional
        (integration, group), both 0-based, to flags of that read's samples, uint8 (ny, nx), or
        None; not modified.
    look : callable, optional
        The counts of one read, (ny, nx), to what is wrong with them.
    remarks : tuple of str
        What else the user should know, in sentences without a full stop.
    """

    kind: str
    origin: str = ""
    pixels: npt.NDArray[np.uint32] | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    group_bits: int = 0
    groups: Callable[[int, int], npt.NDArray[np.uint8] | None] | None = None
    look: Callable[[npt.NDArray[np.generic]], Found] | None = None
    remarks: tuple[str, ...] = ()


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
        line = f"{name}{f' ({given})' if given else ''}: {self.flagged:,} pixels flagged"
        if self.samples:
            listing = ", ".join(f"{number:,} {flag}" for flag, number in self.samples.items())
            line += f", samples {listing}"
        return "; ".join((line, *self.remarks))


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={text}" for key, text in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
