"""Recipes: a value of the wrong type is told at once, with the field, from wherever it comes."""

from typing import Any

import numpy as np
import pytest

from tmt_dq import GuideWindow, Recipe, Window
from tmt_dq.errors import ConfigError

WRONG: list[tuple[str, Any]] = [
    ("propagate_do_not_use", "no"),
    ("propagate_do_not_use", 1),
    ("reference_pixels", None),
    ("guide_windows_from_file", "false"),
    ("missing_reads", 0),
    ("non_finite", "yes"),
    ("guide_windows", "1,2,3,4"),
    ("guide_windows", [(1, 2, 3, 4)]),
    ("guide_windows", GuideWindow(Window(0, 0, 2, 2))),
    ("guide_parts", "box"),
    ("guide_parts", ("box", "cols")),
    ("guide_parts", [1]),
    ("guide_expand", 1.5),
    ("guide_expand", -1),
    ("guide_expand", True),
    ("guide_expand", "2"),
    ("dropout_values", 0),
    ("dropout_values", ["0"]),
    ("dropout_values", "0"),
    ("ad_floor", "0"),
    ("ad_floor", False),
    ("full_scale", [65535]),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_names_its_field(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^recipe: {name} (is|has) .*; expected "):
        Recipe(**{name: value})
    with pytest.raises(ConfigError, match=rf"^recipe: {name} (is|has) "):
        Recipe().changed({name: value})


def test_lists_and_numbers_of_other_kinds_are_taken() -> None:
    groups: Any = [0, 3]
    window = GuideWindow(Window(0, 0, 2, 2), groups)
    recipe = Recipe(
        guide_windows=[window],
        guide_parts=["rows"],
        dropout_values=[0, np.float32(-1)],
        guide_expand=np.int64(2),
        ad_floor=0,
        full_scale=np.uint16(65535),
    )
    assert recipe.guide_windows == (window,)
    assert recipe.guide_parts == ("rows",)
    assert recipe.dropout_values == (0, -1)
    assert hash(recipe) == hash(recipe)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("window", (1, 2, 3, 4), "expected a Window with pixels"),
        ("window", Window(0, 0, 0, 4), "expected a Window with pixels"),
        ("groups", (3, 3), "expected 1 ≤ first ≤ last"),
    ],
)
def test_guide_windows(field: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GuideWindow(**{"window": Window(0, 0, 2, 2), field: value})


@pytest.mark.parametrize(
    ("text", "window", "groups"),
    [
        ("1,1,4,2", Window(y=0, x=0, ny=2, nx=4), None),
        (" 101, 201,16,8 ", Window(y=200, x=100, ny=8, nx=16), None),
        ("101,201,16,8,1:20", Window(y=200, x=100, ny=8, nx=16), (0, 20)),
        ("101,201,16,8,3", Window(y=200, x=100, ny=8, nx=16), (2, 3)),
    ],
)
def test_guide_windows_as_text(text: str, window: Window, groups: tuple[int, int] | None) -> None:
    parsed = GuideWindow.parse(text)
    assert (parsed.window, parsed.groups) == (window, groups)
    assert GuideWindow.parse(parsed.describe()) == parsed


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5,6", "1,2,3,4,a:b", "1,2,3,4,:5", "x,1,2,3"]
)
def test_text_that_is_no_guide_window(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a window") as caught:
        GuideWindow.parse(text)
    assert repr(text) in str(caught.value)


def test_a_changed_recipe() -> None:
    recipe = Recipe(ad_floor=1, non_finite=True)
    assert recipe.changed({"ad_floor": 0}) == Recipe(ad_floor=0, non_finite=True)
    assert recipe.changed({}) == recipe
    with pytest.raises(
        ConfigError, match=r"^a recipe has no ad_flour; expected some of .*ad_floor"
    ):
        recipe.changed({"ad_flour": 1})
