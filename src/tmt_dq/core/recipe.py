"""The recipe: which flag sources run, and how; the option table of all sources."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tmt_dq.core.geometry import Window
from tmt_dq.core.options import option_table, row
from tmt_dq.errors import ConfigError

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

    Examples
    --------
    >>> GuideWindow(Window.from_fits(xstart=101, ystart=201, xsize=16, ysize=8), (0, 4)).describe()
    '101,201,16,8,1:4'
    """

    window: Window
    groups: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        is_window = isinstance(self.window, Window)
        if not is_window or min(self.window.shape) < 1:
            raise ConfigError(f"a guide window is {self.window!r}; expected a Window with pixels")
        if self.groups is not None:
            first, end = self.groups
            if not 0 <= first < end:
                raise ConfigError(
                    f"the guide window is there from group {first + 1} to {end}; expected 1 ≤ "
                    "first ≤ last"
                )
            object.__setattr__(self, "groups", (first, end))  # a list has no hash

    @classmethod
    def parse(cls, text: str) -> "GuideWindow":
        """Return a window from X,Y,NX,NY or X,Y,NX,NY,FIRST:LAST, the form of `describe`."""
        numbers, groups = text.strip().split(","), None
        try:
            if len(numbers) == 5:
                first, _, last = numbers.pop().partition(":")
                groups = (int(first) - 1, int(last or first))
            x, y, nx, ny = (int(number) for number in numbers)
        except ValueError:
            raise ConfigError(
                f"{text!r} is not a window; expected X,Y,NX,NY or X,Y,NX,NY,FIRST:LAST with whole "
                "numbers, pixels and groups counted from 1"
            ) from None
        return cls(Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny), groups)

    def describe(self) -> str:
        """Describe the window in FITS terms: X,Y,NX,NY[,FIRST:LAST], all 1-based."""
        window = self.window
        text = f"{window.xstart},{window.ystart},{window.nx},{window.ny}"
        if self.groups is None:
            return text
        return f"{text},{self.groups[0] + 1}:{self.groups[1]}"


_GROUP = "More sources of flags"
_SWITCH = {"group": _GROUP, "shown_default": "the instrument's; off for IRIS"}
_COUNTS: dict[str, Any] = {"group": _GROUP, "kind": float, "unit": "DN", "metavar": "V"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which sources run beside the mask, the user's flags and SUBARR_MAP, and how.

    Everything is off by default: the specification wants the mask alone. An instrument's
    description can have another default.

    Parameters
    ----------
    propagate_do_not_use : bool
        The mask's DO_NOT_USE pixels in every group of GROUPDQ too.
    reference_pixels : bool
        REFERENCE_PIXEL of the detector's border, if the mask has none.
    guide_windows : tuple of GuideWindow
        Windows that were read for guiding.
    guide_windows_from_file : bool
        Guide windows that the exposure's own table or header names.
    guide_parts : tuple of str
        What of a guide window to flag: "box", "rows", "columns".
    guide_expand : int
        Pixels by which the boxes of guide windows, not their rows and columns, are made larger on
        all sides.
    dropout_values : tuple of float
        Values that stand for lost data, DN: DROPOUT of the samples.
    missing_reads : bool
        DROPOUT next to reads that are missing by the exposure's own tables.
    ad_floor, full_scale : float or None
        Ends of the A/D converter's range, DN: AD_FLOOR and SATURATED of the samples.
    non_finite : bool
        DO_NOT_USE and OTHER_BAD_PIXEL of pixels with NaN or infinite values.

    Raises
    ------
    ConfigError
        Raised if a field has a value of the wrong type, or an impossible one.

    Examples
    --------
    >>> from tmt_dq import Recipe, apply_dq
    >>> recipe = Recipe(reference_pixels=True, ad_floor=0, full_scale=65535)
    >>> applied = apply_dq("iris_0001_uncal.fits", mask="N/A", recipe=recipe)
    >>> [source.kind for source in applied.sources]
    ['reference pixels', 'A/D limits']
    """

    propagate_do_not_use: bool = row(
        False, "Set the mask's DO_NOT_USE in every group of GROUPDQ too.", **_SWITCH
    )
    reference_pixels: bool = row(
        False, "Flag the border of reference pixels if the mask does not.", **_SWITCH
    )
    guide_windows: tuple[GuideWindow, ...] = row(
        (),
        "Flag this window, read for guiding: X,Y,NX,NY or X,Y,NX,NY,FIRST:LAST (groups).",
        group=_GROUP,
        kind=GuideWindow,
        many=True,
        one="guide_window",
        metavar="X,Y,NX,NY[,GROUPS]",
    )
    guide_windows_from_file: bool = row(
        False,
        "Flag the guide windows that the file's table or header names.",
        **_SWITCH,
    )
    guide_parts: tuple[str, ...] = row(
        GUIDE_PARTS,
        "What of guide windows to flag.",
        group=_GROUP,
        kind=str,
        many=True,
        choices=GUIDE_PARTS,
        metavar="PARTS",
    )
    guide_expand: int = row(
        0,
        "Make the boxes of guide windows larger by N pixels on all sides.",
        group=_GROUP,
        kind=int,
        minimum=0,
        unit="pixels",
        metavar="N",
    )
    dropout_values: tuple[float, ...] = row(
        (), "Flag samples of this value as DROPOUT.", many=True, one="dropout_value", **_COUNTS
    )
    missing_reads: bool = row(False, "Flag groups next to missing reads as DROPOUT.", **_SWITCH)
    ad_floor: float | None = row(
        None, "Flag samples at or below this value as AD_FLOOR; 0 for uint16.", **_COUNTS
    )
    full_scale: float | None = row(
        None, "Flag samples at or above this value as SATURATED; 65535 for uint16.", **_COUNTS
    )
    non_finite: bool = row(False, "Flag pixels with NaN or infinite values.", **_SWITCH)

    def __post_init__(self) -> None:
        for name, option in option_table(Recipe).items():
            checked = option.check(name, getattr(self, name), where="recipe")
            object.__setattr__(self, name, checked)

    def changed(self, given: Mapping[str, object]) -> "Recipe":
        """Return a recipe with other values in some fields; ConfigError if they make no sense."""
        known = option_table(Recipe)
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ConfigError(
                f"a recipe has no {', '.join(unknown)}; expected some of {', '.join(known)}"
            )
        fields: dict[str, Any] = dict(given)
        return replace(self, **fields)
