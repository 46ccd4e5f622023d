"""What is found in the pixels of a mask, and the classes that pixels fall into; arrays only.

What could go wrong: a border counted at the wrong side of a subarray, or outside it; a flag and
DO_NOT_USE counted in different pixels; a flag of exposures let through; pixels that see no light
taken for defects.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.counts import FlagCount, count_flags
from tmt_dq.core.geometry import Window
from tmt_dq.core.pixel_classes import sort_pixels
from tmt_dq.delivery.findings import (
    Finding,
    active_part,
    check_border,
    check_flags,
)

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
    assert count_flags(np.zeros((2, 2), np.uint32)) == ()


@given(
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(1, 16),
    st.integers(1, 16),
    st.integers(0, 6),
)
def test_the_active_part_is_what_no_border_pixel_is_in(
    y: int, x: int, ny: int, nx: int, border: int
) -> None:
    window = Window(y, x, min(ny, 16 - y), min(nx, 16 - x))
    frame = np.zeros((16, 16), bool)
    frame[border : 16 - border, border : 16 - border] = True
    inside = np.zeros(window.shape, bool)
    inside[active_part(window, (16, 16), border)] = True
    expected = frame[y : y + window.ny, x : x + window.nx]
    np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize(
    ("missing", "wrong", "said"),
    [
        ([], [], []),
        ([(0, 0), (7, 7)], [], ["2 of the 28 pixels in the border of reference pixels (1 wide)"]),
        ([], [(3, 3)], ["1 pixels outside the border of reference pixels (1 wide)"]),
        ([(0, 0)], [(3, 3)], ["1 of the 28 pixels", "1 pixels outside"]),
    ],
)
def test_the_border_is_compared_with_the_mask(
    missing: list[tuple[int, int]], wrong: list[tuple[int, int]], said: list[str]
) -> None:
    dq = np.full((8, 8), REFERENCE_PIXEL, np.uint32)
    dq[1:-1, 1:-1] = HOT
    for place in missing:
        dq[place] = HOT
    for place in wrong:
        dq[place] |= REFERENCE_PIXEL
    active = active_part(Window.full(8, 8), (8, 8), 1)
    findings = list(check_border(dq, active, 1, required=True))
    kinds = ["error"] * bool(missing) + ["warning"] * bool(wrong)
    assert [finding.severity for finding in findings] == kinds
    accepted = check_border(dq, active, 1, required=False)
    assert all(finding.severity == "warning" for finding in accepted)
    assert [part in finding.what for finding, part in zip(findings, said, strict=True)] == (
        [True] * len(said)
    )


def check(*values: int) -> list[Finding]:
    return list(check_flags(count_flags(np.array([values], np.uint32))))


def test_flags_of_a_proper_mask_are_listed_and_no_more() -> None:
    findings = check(0, DEAD | DO_NOT_USE, HOT, REFERENCE_PIXEL | DO_NOT_USE)
    assert [(finding.severity, finding.what) for finding in findings] == [
        ("info", "DEAD: 1 pixels, 1 with DO_NOT_USE and 0 without"),
        ("info", "HOT: 1 pixels, 0 with DO_NOT_USE and 1 without"),
    ]


def test_a_mask_that_forbids_nothing_is_a_warning() -> None:
    findings = check(DEAD, HOT)
    assert findings[0].severity == "warning"
    assert "no pixel has DO_NOT_USE" in findings[0].what
    # A mask of nothing, or of the border alone, has nothing to forbid.
    assert check(0) == []
    assert check(REFERENCE_PIXEL) == []


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (2, "SATURATED says what happened in an exposure"),
        (4, "JUMP_DET says what happened in an exposure"),
        (1 << 29, "MSA_FAILED_OPEN is for hardware that other instruments have"),
    ],
)
def test_flags_that_do_not_belong_in_a_mask(value: int, what: str) -> None:
    warnings = [found for found in check(value | DO_NOT_USE) if found.severity == "warning"]
    assert len(warnings) == 1
    assert warnings[0].what.startswith(what)
    assert warnings[0].what.endswith("1 pixels have it")
    assert warnings[0].remedy


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
