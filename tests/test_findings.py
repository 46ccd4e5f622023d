"""Flags counted, the part of a mask inside the border, and classes of pixels; arrays only."""

import io

import matplotlib.image
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.cells import thumbnail, totals
from tmt_dq.core.counts import FlagCount, count_flags, count_usable, sort_pixels
from tmt_dq.core.geometry import Window, overlap

# Values of the convention, written out: the tests must not ask the code for them.
DO_NOT_USE, NON_SCIENCE, DEAD, HOT, REFERENCE_PIXEL = 1, 512, 1024, 2048, 1 << 31


def test_flags_are_counted_with_and_without_do_not_use() -> None:
    dq = np.array([[0, DEAD, DEAD | DO_NOT_USE], [HOT | DEAD, DO_NOT_USE, 0]], np.uint32)
    assert count_flags(dq) == (
        FlagCount("DO_NOT_USE", 2, 2 / 6, 2),
        FlagCount("DEAD", 3, 3 / 6, 1),
        FlagCount("HOT", 1, 1 / 6, 0),
    )
    assert [count.without_do_not_use for count in count_flags(dq)] == [0, 2, 1]
    assert [count.with_do_not_use for count in count_flags(dq)] == [2, 1, 0]
    # HOT twice, once with DO_NOT_USE; a reference pixel needs none.
    assert count_usable(np.array([0, HOT, HOT | DO_NOT_USE, REFERENCE_PIXEL], np.uint32)) == (1, 2)
    assert count_flags(np.zeros((2, 2), np.uint32)) == ()


SIZES = st.integers(1, 16)
PLACES = st.integers(0, 15)


@given(PLACES, PLACES, SIZES, SIZES, st.integers(0, 6))
def test_the_active_part_is_what_no_border_pixel_is_in(
    y: int, x: int, ny: int, nx: int, border: int
) -> None:
    window = Window(y, x, min(ny, 16 - y), min(nx, 16 - x))
    frame = np.zeros((16, 16), bool)
    frame[border : 16 - border, border : 16 - border] = True
    inside = np.zeros(window.shape, bool)
    inside[overlap(Window.full(16, 16), window, -border)] = True
    np.testing.assert_array_equal(inside, frame[window.slices(Window.full(16, 16))])


def test_pixels_that_see_no_light_are_no_defects() -> None:
    dq = np.array(
        [[0, HOT, REFERENCE_PIXEL | DO_NOT_USE, NON_SCIENCE | HOT, DO_NOT_USE]], np.uint32
    )
    before = dq.copy()
    planes = sort_pixels(dq)
    assert planes.flagged.tolist() == [[False, True, True, True, True]]
    assert planes.sky.tolist() == [[True, True, False, False, True]]
    assert planes.defects.tolist() == [[False, True, False, False, True]]
    assert planes.do_not_use.tolist() == [[False, False, False, False, True]]
    assert sort_pixels(dq, HOT).defects.tolist() == [[False, True, False, False, False]]
    np.testing.assert_array_equal(dq, before)


def test_cells_and_thumbnails() -> None:
    plane = np.arange(15).reshape(3, 5)
    assert totals(plane, 2).tolist() == [[12, 20, 13], [21, 25, 14]]
    assert totals(plane, 1).tolist() == plane.tolist()
    dq = np.zeros((40, 400), np.uint32)
    dq[:3, :3], dq[39, 300:] = HOT, DEAD
    # A cell is 3 × 3 pixels, the first row is below, and there is a line around all.
    grey = matplotlib.image.imread(io.BytesIO(thumbnail(dq)))[1:-1, 1:-1]
    assert grey.shape == (14, 134)
    assert grey[-1, 0] == 0
    assert (grey[0, 100:] < 1).all()
    assert (grey[1:-1] == 1).all()
