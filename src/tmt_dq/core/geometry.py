"""Where an array lies on its detector.

Inside tmt-dq positions are 0-based and half open, ``[y, x]`` as NumPy indexes. FITS' 1-based
``SUBSTRT``/``SUBSIZE`` numbers enter and leave through `Window.from_fits` and `Window.describe`.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Border(NamedTuple):
    """Widths of the border of reference pixels, from row or column 0 (bottom, left) and the end."""

    bottom: int = 0
    top: int = 0
    left: int = 0
    right: int = 0

    @property
    def widths(self) -> int | list[int]:
        """The width where it is the same on all sides; else those of bottom, top, left, right."""
        return self.bottom if len(set(self)) == 1 else list(self)

    def describe(self) -> str:
        """Return the widths for people."""
        sides = (f"{name} {width}" for name, width in self._asdict().items())
        return str(self.bottom) if len(set(self)) == 1 else ", ".join(sides)


NO_BORDER = Border()


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of detector pixels.

    Parameters
    ----------
    y, x : int
        0-based detector row and column of the first pixel.
    ny, nx : int
        Rows and columns.

    Examples
    --------
    >>> frame = Window.full(4096, 4096)
    >>> window = Window.from_fits(xstart=1, ystart=467, xsize=288, ysize=224)
    >>> frame.contains(window)
    True
    >>> window.slices(frame)
    (slice(466, 690, None), slice(0, 288, None))
    """

    y: int
    x: int
    ny: int
    nx: int

    @classmethod
    def full(cls, ny: int, nx: int) -> "Window":
        """Return the window of a whole frame.

        Parameters
        ----------
        ny, nx : int
            Its rows and columns.

        Returns
        -------
        Window
            The window.
        """
        return cls(0, 0, ny, nx)

    @classmethod
    def from_fits(cls, *, xstart: int, ystart: int, xsize: int, ysize: int) -> "Window":
        """Return the window that keywords of FITS files describe.

        Parameters
        ----------
        xstart, ystart : int
            SUBSTRT1 and SUBSTRT2, 1-based.
        xsize, ysize : int
            SUBSIZE1 and SUBSIZE2.

        Returns
        -------
        Window
            The window.
        """
        return cls(ystart - 1, xstart - 1, ysize, xsize)

    @property
    def xstart(self) -> int:
        """SUBSTRT1, the 1-based first column."""
        return self.x + 1

    @property
    def ystart(self) -> int:
        """SUBSTRT2, the 1-based first row."""
        return self.y + 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as NumPy's ``shape``."""
        return self.ny, self.nx

    def contains(self, other: "Window") -> bool:
        """Whether every pixel of `other` is also one of this window."""
        return (
            self.y <= other.y
            and self.x <= other.x
            and other.y + other.ny <= self.y + self.ny
            and other.x + other.nx <= self.x + self.nx
        )

    def without(self, border: Border) -> "Window":
        """Return the window inside a border."""
        return Window(
            self.y + border.bottom,
            self.x + border.left,
            self.ny - border.bottom - border.top,
            self.nx - border.left - border.right,
        )

    def slices(self, reference: "Window") -> tuple[slice, slice]:
        """Return the index of this window in an array of `reference`, which must contain it."""
        if not reference.contains(self):
            raise ValueError(f"{self.describe()} is not inside {reference.describe()}")
        y, x = self.y - reference.y, self.x - reference.x
        return slice(y, y + self.ny), slice(x, x + self.nx)

    def describe(self) -> str:
        """Describe the window in FITS terms: 1-based, x before y, both ends included."""
        return (
            f"x {self.xstart}–{self.x + self.nx}, y {self.ystart}–{self.y + self.ny}"
            f" ({self.nx} × {self.ny})"
        )


def overlap(part: Window, window: Window, expand: int = 0) -> tuple[slice, slice]:
    """Return the index of the pixels of `part`, made larger on all sides, in a window's array."""
    y, x = part.y - window.y, part.x - window.x
    return (
        slice(max(0, y - expand), max(0, y + part.ny + expand)),
        slice(max(0, x - expand), max(0, x + part.nx + expand)),
    )
