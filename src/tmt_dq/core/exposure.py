"""An exposure as flag sources know it: its place, its readout and the flags of its mask."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GuideWindow

__all__ = ["Exposure", "Readout"]


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

    name: object
    """Its file, named in errors."""
    shape: tuple[int, int, int, int]
    """(nints, ngroups, ny, nx)."""
    window: Window
    """Its detector pixels."""
    frame: Window
    """All pixels of the detector."""
    reference_border: int = 0
    """Width of the detector's border of reference pixels on each side, pixels."""
    mask: npt.NDArray[np.uint32] | None = None
    """Flags of the mask inside `window`, (ny, nx); not to be modified."""
    readout: Readout = field(default_factory=Readout)
