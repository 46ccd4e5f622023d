"""Which flag sources run, and how. No arrays: instruments hold recipes, and load at once."""

from dataclasses import dataclass

from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError

__all__ = ["GUIDE_PARTS", "GuideWindow", "Recipe"]

GUIDE_PARTS = ("box", "rows", "columns")
"""What a guide window disturbs: its own pixels, and the rows and columns that share its readout."""


@dataclass(frozen=True, slots=True)
class GuideWindow:
    """A part of the detector that was read for guiding.

    Parameters
    ----------
    window : Window
        Its detector pixels.
    groups : tuple of int, optional
        First and last group (0-based, half open) during which it was there; None for always.
    """

    window: Window
    groups: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.window.shape) < 1:
            raise ConfigError(f"the guide window {self.window.describe()} is empty")
        if self.groups is not None and not 0 <= self.groups[0] < self.groups[1]:
            first, end = self.groups
            raise ConfigError(
                f"the guide window is there from group {first + 1} to {end}; expected 1 ≤ first ≤ "
                "last"
            )

    def describe(self) -> str:
        """Describe the window in FITS terms: X,Y,NX,NY[,FIRST:LAST], all 1-based."""
        window = self.window
        text = f"{window.xstart},{window.ystart},{window.nx},{window.ny}"
        if self.groups is None:
            return text
        return f"{text},{self.groups[0] + 1}:{self.groups[1]}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which sources run beside the mask, the user's flags and SUBARR_MAP, and how.

    Everything is off unless asked for: the specification asks for the mask alone. An instrument's
    description can have another default.

    Parameters
    ----------
    propagate_do_not_use : bool
        The mask's DO_NOT_USE pixels in every group of GROUPDQ too.
    reference_pixels : bool
        REFERENCE_PIXEL of the detector's border, if the mask does not say where they are.
    guide_windows : tuple of GuideWindow
        Windows that were read for guiding.
    guide_windows_from_file : bool
        Guide windows that the exposure's own table or header names.
    guide_parts : tuple of str
        What of a guide window to flag: "box", "rows", "columns".
    guide_expand : int
        Pixels by which guide windows are made larger on all sides.
    dropout_values : tuple of float
        Values that stand for lost data, DN: DROPOUT of the samples.
    missing_reads : bool
        DROPOUT where the exposure says that reads are missing.
    ad_floor, full_scale : float or None
        Ends of the A/D converter's range, DN: AD_FLOOR and SATURATED of the samples.
    non_finite : bool
        DO_NOT_USE and OTHER_BAD_PIXEL of pixels with NaN or infinite values.
    """

    propagate_do_not_use: bool = False
    reference_pixels: bool = False
    guide_windows: tuple[GuideWindow, ...] = ()
    guide_windows_from_file: bool = False
    guide_parts: tuple[str, ...] = GUIDE_PARTS
    guide_expand: int = 0
    dropout_values: tuple[float, ...] = ()
    missing_reads: bool = False
    ad_floor: float | None = None
    full_scale: float | None = None
    non_finite: bool = False
