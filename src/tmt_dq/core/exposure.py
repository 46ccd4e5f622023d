"""An exposure as flag sources know it: its place, its readout and the flags of its mask."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GuideWindow

__all__ = ["Exposure", "Readout"]


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """Facts of an exposure's readout that its file states, as far as a recipe needs them.

    Parameters
    ----------
    subarr_map : ndarray of uint32, (ny, nx), or None
        SUBARR_MAP, where the exposure is the frame around subarrays.
    guide_windows : tuple of GuideWindow
        Guide windows of its table or header.
    guide_origin : str
        Which of the two.
    read_numbers : tuple of int or None
        The read number of each group.
    incomplete : bool
        Whether COMPLETE is F.
    """

    subarr_map: npt.NDArray[np.uint32] | None = None
    guide_windows: tuple[GuideWindow, ...] = ()
    guide_origin: str = ""
    read_numbers: tuple[int, ...] | None = None
    incomplete: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Facts of an exposure that flag sources can use.

    Parameters
    ----------
    name : object
        Its file, named in errors.
    shape : tuple of int
        (nints, ngroups, ny, nx).
    window : Window
        Its detector pixels.
    frame : Window
        All pixels of the detector.
    reference_border : int
        Width of the detector's border of reference pixels on each side, pixels.
    mask : ndarray of uint32, (ny, nx), or None
        Flags of the mask inside `window`.
    readout : Readout
        Facts of its readout.
    """

    name: object
    shape: tuple[int, int, int, int]
    window: Window
    frame: Window
    reference_border: int = 0
    mask: npt.NDArray[np.uint32] | None = None
    readout: Readout = field(default_factory=Readout)
