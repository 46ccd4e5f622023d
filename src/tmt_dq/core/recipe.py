"""Which flag sources run, and how. No arrays: instruments hold recipes, and load at once."""

from dataclasses import dataclass
from numbers import Integral, Real

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

    Examples
    --------
    >>> GuideWindow(Window.from_fits(xstart=101, ystart=201, xsize=16, ysize=8), (0, 4)).describe()
    '101,201,16,8,1:4'
    """

    window: Window
    groups: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, value, kind in (("window", self.window, Window), ("groups", self.groups, tuple)):
            if not isinstance(value, kind) and not (name == "groups" and value is None):
                raise _wrong(f"guide window's {name}", value, f"a {kind.__name__}")
        if min(self.window.shape) < 1:
            raise ConfigError(f"the guide window {self.window.describe()} is empty")
        if self.groups is not None and not 0 <= self.groups[0] < self.groups[1]:
            first, end = self.groups
            raise ConfigError(
                f"the guide window is there from group {first + 1} to {end}; expected 1 ≤ first ≤ "
                "last"
            )

    @classmethod
    def parse(cls, text: str, *, where: object = None) -> "GuideWindow":
        """Return a window from X,Y,NX,NY or X,Y,NX,NY,FIRST:LAST, as `describe` says it.

        Parameters
        ----------
        text : str
            Pixels and groups, counted from 1.
        where : object, optional
            Named in errors.

        Returns
        -------
        GuideWindow
            The window.

        Raises
        ------
        ConfigError
            Raised if that is not what the text says.
        """
        numbers, groups = text.strip().split(","), None
        try:
            if len(numbers) == 5:
                first, _, last = numbers.pop().partition(":")
                groups = (int(first) - 1, int(last or first))
            x, y, nx, ny = (int(number) for number in numbers)
        except ValueError:
            raise ConfigError(
                f"{text!r} is not a window; expected X,Y,NX,NY or X,Y,NX,NY,FIRST:LAST with whole "
                "numbers, pixels and groups counted from 1",
                where=where,
            ) from None
        return cls(Window.from_fits(xstart=x, ystart=y, xsize=nx, ysize=ny), groups)

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

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, getattr(self, name), "True or False")
        expand: object = self.guide_expand
        if not isinstance(expand, Integral) or isinstance(expand, bool):
            raise _wrong("guide_expand", expand, "a whole number of pixels")
        if self.guide_expand < 0:
            raise _wrong("guide_expand", self.guide_expand, "0 or more pixels")
        for name in ("ad_floor", "full_scale"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise _wrong(name, value, "a number, DN, or None")
        self._sequence("guide_windows", GuideWindow, "guide windows (tmt_dq.GuideWindow)")
        self._sequence("guide_parts", str, f"some of {', '.join(GUIDE_PARTS)}")
        for part in self.guide_parts:
            if part not in GUIDE_PARTS:
                raise _wrong("guide_parts", part, f"some of {', '.join(GUIDE_PARTS)}")
        self._sequence("dropout_values", float, "numbers, DN")

    def _sequence(self, name: str, kind: type, expected: str) -> None:
        """Check a field of several values; a list, as files have it, becomes a tuple."""
        values = getattr(self, name)
        # A text is a sequence too, of letters.
        if not isinstance(values, tuple | list):
            raise _wrong(name, values, f"a tuple or list of {expected}")
        for value in values:
            fits = _is_number(value) if kind is float else isinstance(value, kind)
            if not fits:
                raise _wrong(name, value, f"a tuple or list of {expected}")
        object.__setattr__(self, name, tuple(values))


_SWITCHES = (
    "propagate_do_not_use",
    "reference_pixels",
    "guide_windows_from_file",
    "missing_reads",
    "non_finite",
)


def _is_number(value: object) -> bool:
    # NumPy's scalars are among them.
    return isinstance(value, Real) and not isinstance(value, bool)


def _wrong(name: str, value: object, expected: str) -> ConfigError:
    return ConfigError(
        f"{name} is {value!r} ({type(value).__name__}); expected {expected}", where="recipe"
    )
