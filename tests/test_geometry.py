"""Windows: FITS' 1-based numbers to 0-based slices, and what contains what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.geometry import Window

FRAME = Window.full(1024, 1032)

windows = st.builds(
    Window, st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6)
)


def test_example_of_the_facts() -> None:
    # SUBSTRT1=1, SUBSTRT2=467, 288 x 224 of a 1032 x 1024 mask.
    window = Window.from_fits(xstart=1, ystart=467, xsize=288, ysize=224)
    mask = np.zeros((1024, 1032), np.uint32)
    for number, place in enumerate([(542, 100), (550, 100), (580, 80)], start=1):
        mask[place] = number
    cut = mask[window.slices(FRAME)]
    assert cut.shape == (224, 288) == window.shape
    assert [int(cut[place]) for place in [(76, 100), (84, 100), (114, 80)]] == [1, 2, 3]
    assert np.count_nonzero(cut) == 3


def test_fits_numbers_come_back() -> None:
    window = Window.from_fits(xstart=3, ystart=467, xsize=288, ysize=224)
    assert (window.y, window.x, window.ny, window.nx) == (466, 2, 224, 288)
    assert (window.xstart, window.ystart) == (3, 467)
    assert window.describe() == "x 3–290, y 467–690 (288 × 224)"


def test_cut_of_a_reference_that_is_itself_a_subarray() -> None:
    # [ystart_sci - ystart_ref : + ysize, xstart_sci - xstart_ref : + xsize]
    reference = Window.from_fits(xstart=11, ystart=21, xsize=30, ysize=40)
    window = Window.from_fits(xstart=13, ystart=25, xsize=5, ysize=7)
    assert window.slices(reference) == (slice(4, 11), slice(2, 7))


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        (Window(0, 0, 1024, 1032), True),
        (Window(1023, 1031, 1, 1), True),
        (Window(-1, 0, 10, 10), False),
        (Window(0, -1, 10, 10), False),
        (Window(0, 0, 1025, 1), False),
        (Window(0, 0, 1, 1033), False),
        (Window(1024, 0, 1, 1), False),
    ],
)
def test_contains(window: Window, inside: bool) -> None:
    assert FRAME.contains(window) is inside


def test_slices_refuse_what_would_be_cut_off() -> None:
    with pytest.raises(ValueError, match=r"x 1–1033, y 1–1 .* is not inside x 1–1032, y 1–1024"):
        Window(0, 0, 1, 1033).slices(FRAME)


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
