"""Lists of pixels: exactly those pixels, in the order that was said, or an error and no change."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt_dq.datamodels import TMTMaskModel
from tmt_dq.errors import ConfigError, GeometryError, UnknownFlagError

DEAD, HOT, DO_NOT_USE = 1024, 2048, 1


@pytest.fixture
def mask() -> Any:
    return TMTMaskModel((4, 6))


@pytest.mark.parametrize(
    "form",
    [
        {"y": [0, 3], "x": [1, 5]},
        {"yx": [(0, 1), (3, 5)]},
        {"yx": np.array([[0, 1], [3, 5]], np.uint16)},
        {"yx": [(0.0, 1.0), (3.0, 5.0)]},
        {"fits_xy": [(2, 1), (6, 4)]},
    ],
    ids=["y and x", "yx", "array", "whole floats", "fits_xy"],
)
def test_each_form_flags_the_same_two_pixels(mask: Any, form: Any) -> None:
    assert mask.flag_pixels("DEAD", **form) == 2
    assert np.argwhere(mask.dq).tolist() == [[0, 1], [3, 5]]
    assert mask.dq[0, 1] == mask.dq[3, 5] == DEAD


def test_flags_are_added_and_taken_away_one_by_one(mask: Any) -> None:
    mask.flag_pixels("DEAD", y=2, x=3)
    assert np.argwhere(mask.dq).tolist() == [[2, 3]]
    mask.flag_pixels("DEAD", yx=[(1, 1)])
    mask.flag_pixels(["HOT", "DO_NOT_USE"], yx=[(1, 1), (1, 1)])
    assert mask.dq[1, 1] == DEAD | HOT | DO_NOT_USE
    assert mask.clear_pixels("HOT, DEAD", fits_xy=[(2, 2), (1, 1)]) == 2
    assert mask.dq[1, 1] == DO_NOT_USE
    assert mask.dq[0, 0] == 0
    assert mask.flag_pixels("HOT", yx=[(0, 0), (0, 0), (0, 1)]) == 2
    assert mask.flag_pixels("HOT", yx=[]) == 0
    assert mask.flag_pixels("HOT", y=[], x=[]) == 0


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30),
)
def test_it_is_what_a_loop_over_the_pixels_does(dead: Any, hot: Any) -> None:
    expected = np.zeros((4, 6), np.uint32)
    for y, x in dead:
        expected[y, x] |= DEAD
    for y, x in hot:
        expected[y, x] |= HOT
    mask = TMTMaskModel((4, 6))
    assert mask.flag_pixels("DEAD", yx=dead) == len(set(dead))
    mask.flag_pixels("HOT", fits_xy=[(x + 1, y + 1) for y, x in hot])
    assert np.array_equal(mask.dq, expected)


@pytest.mark.parametrize(
    ("form", "kind", "message"),
    [
        ({}, ConfigError, "found no positions; expected one form"),
        ({"yx": [(0, 0)], "fits_xy": [(1, 1)]}, ConfigError, "found yx=, fits_xy="),
        ({"y": [0]}, ConfigError, "found y=; expected one form"),
        ({"yx": [(0, 0), (4, 0)]}, GeometryError, "1 of 2 positions .* y = 4, x = 0"),
        ({"yx": [(0, -1)]}, GeometryError, "x = -1; expected y from 0 to 3 and x from 0 to 5"),
        ({"fits_xy": [(0, 1)]}, GeometryError, "expected y from 1 to 4 and x from 1 to 6"),
        ({"fits_xy": [(1, 5)]}, GeometryError, "y = 5, x = 1"),
        ({"yx": [0, 1, 2]}, GeometryError, r"shape \(3,\); expected pairs"),
        ({"yx": [(0, 1), (2,)]}, GeometryError, "no regular list"),
        ({"y": [0, 1], "x": [0]}, GeometryError, r"y has the shape \(2,\), x \(1,\)"),
        ({"y": [[0, 1]], "x": [[0, 1]]}, GeometryError, r"shape \(1, 2\)"),
        ({"yx": np.nonzero(np.eye(2))}, GeometryError, "tuple of arrays"),
        ({"yx": [(0, 1.5)]}, ConfigError, "expected whole numbers"),
        ({"yx": np.ones((4, 6), bool)}, ConfigError, "no pixel numbers"),
        ({"yx": np.array([[2**64 - 1, 0]], np.uint64)}, GeometryError, "outside"),
    ],
)
def test_a_wrong_list_is_named_and_flags_nothing(
    mask: Any, form: Any, kind: Any, message: Any
) -> None:
    with pytest.raises(kind, match=message) as caught:
        mask.flag_pixels("DEAD", **form)
    assert caught.value.where == "TMTMaskModel.flag_pixels"
    assert not mask.dq.any()


def test_flags_go_by_name(mask: Any) -> None:
    with pytest.raises(UnknownFlagError, match="Did you mean DEAD"):
        mask.flag_pixels("DAED", yx=[(0, 0)])
    with pytest.raises(ConfigError, match="no flag to set or clear"):
        mask.flag_pixels("GOOD", yx=[(0, 0)])
    with pytest.raises(ConfigError, match="no flag to set or clear"):
        mask.flag_pixels([], yx=[(0, 0)])
    with pytest.raises(ConfigError, match="expected names"):
        mask.flag_pixels([1024], yx=[(0, 0)])
    with pytest.raises(ConfigError, match="expected names"):
        mask.flag_pixels(1024, yx=[(0, 0)])
    assert not mask.dq.any()


def test_a_mask_without_a_size_says_so() -> None:
    with pytest.raises(ConfigError, match="no flags yet"):
        TMTMaskModel().flag_pixels("DEAD", yx=[(0, 0)])


@pytest.mark.parametrize(
    ("instrument", "flags", "options", "value"),
    [
        # The description of IRIS names HOT and DEAD, not WARM.
        ("iris", "WARM, DEAD", {}, 4096 | 1024 | 1),
        ("IRIS", "WARM", {"do_not_use": "instrument"}, 4096),
        ("IRIS", "HOT", {"do_not_use": "keep"}, 2048),
        ("IRIS", "WARM", {"do_not_use": ["WARM"]}, 4096 | 1),
        (None, "HOT", {}, 2048),
        (None, "HOT", {"do_not_use": "HOT|RC"}, 2048 | 1),
        ("NIRCAM", "HOT", {}, 2048),
    ],
)
def test_do_not_use_as_the_instrument_wants_it(
    mask: Any, instrument: str | None, flags: str, options: dict[str, Any], value: int
) -> None:
    mask.meta.instrument.name = instrument
    mask.dq[2, 3] = 4
    assert mask.flag_pixels(flags, yx=[(0, 1), (2, 3)], **options) == 2
    assert (mask.dq[0, 1], mask.dq[2, 3]) == (value, value | 4)
    assert np.count_nonzero(mask.dq) == 2


def test_an_unknown_flag_of_the_policy_flags_nothing(mask: Any) -> None:
    with pytest.raises(UnknownFlagError, match="DAED"):
        mask.flag_pixels("HOT", yx=[(0, 1)], do_not_use="DAED")
    assert not mask.dq.any()


def test_saving_warns_of_flagged_pixels_that_steps_will_use(
    mask: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Flags set by hand stay as they are; a reference pixel needs no DO_NOT_USE."""
    mask.meta.instrument.name = "IRIS"
    mask.dq[0, :4] = [2048, 1024 | 1, 2**31, 2**31 | 16]
    before = mask.dq.copy()
    mask.write(tmp_path / "m.fits")
    assert np.array_equal(mask.dq, before)
    assert caplog.messages == ["m.fits: 1 of 2 flagged pixels lack DO_NOT_USE: steps will use them"]
    caplog.clear()
    mask.flag_pixels("HOT", yx=[(0, 0)])
    mask.save(tmp_path / "m.fits")
    assert caplog.messages == []
