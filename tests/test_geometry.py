"""Windows: FITS' 1-based numbers to 0-based slices, and what contains what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.geometry import Border, Window

windows = st.builds(
    Window, st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6)
)


def test_fits_numbers_come_back_and_nothing_is_cut_off() -> None:
    window = Window.from_fits(xstart=3, ystart=467, xsize=288, ysize=224)
    assert (window.y, window.x, window.ny, window.nx) == (466, 2, 224, 288)
    assert (window.xstart, window.ystart) == (3, 467)
    assert window.describe() == "x 3–290, y 467–690 (288 × 224)"
    with pytest.raises(ValueError, match=r"x 1–1033, y 1–1 .* is not inside x 1–1032, y 1–1024"):
        Window(0, 0, 1, 1033).slices(Window.full(1024, 1032))
    assert Border(4, 4, 4, 4).describe() == "4"
    assert Border(left=4, right=4).describe() == "bottom 0, top 0, left 4, right 4"


@given(windows, windows)
def test_slices_against_coordinates(outer: Window, inner: Window) -> None:
    pixels = {
        (y, x)
        for y in range(outer.y, outer.y + outer.ny)
        for x in range(outer.x, outer.x + outer.nx)
    }
    wanted = [
        (y, x)
        for y in range(inner.y, inner.y + inner.ny)
        for x in range(inner.x, inner.x + inner.nx)
    ]
    assert outer.contains(inner) is pixels.issuperset(wanted)
    if outer.contains(inner):
        # Each pixel of the outer array holds its own detector coordinates.
        rows, columns = np.mgrid[outer.y : outer.y + outer.ny, outer.x : outer.x + outer.nx]
        cut = inner.slices(outer)
        assert list(zip(rows[cut].flat, columns[cut].flat, strict=True)) == wanted
