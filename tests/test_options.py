"""Option tables: what a face was given becomes the values of the fields, or a named error."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tmt_dq import GuideWindow, Window
from tmt_dq.core.options import Option, option_table, values_of
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError

WINDOWS = tuple(GuideWindow(Window(y=y, x=0, ny=1, nx=2)) for y in (0, 4))


@dataclass(frozen=True)
class Table:
    recipe: Recipe | None = field(default=None, metadata={"option": Option(help="", kind=Recipe)})
    at: tuple[int, int] = field(
        default=(1, 1),
        metadata={"option": Option(help="", kind=int, many=True, size=2, metavar="X,Y")},
    )
    file: Path | None = field(default=None, metadata={"option": Option(help="", kind=Path)})
    other: int = 0


def named(**given: Any) -> Callable[[str, Option], Any]:
    """Return how values are found by their names."""
    return lambda name, _row: given.get(name)


def test_only_fields_with_an_option_are_rows() -> None:
    assert list(option_table(Table)) == ["recipe", "at", "file"]
    assert [name for name, row in option_table(Table).items() if row.is_table] == ["recipe"]


@pytest.mark.parametrize(
    ("table", "name", "given", "value"),
    [
        (Recipe, "ad_floor", " 1.5 ", 1.5),
        (Recipe, "ad_floor", 3, 3),
        (Recipe, "guide_expand", "2", 2),
        (Recipe, "reference_pixels", False, False),
        (Recipe, "dropout_values", ("0", 7.0), (0.0, 7.0)),
        (Recipe, "dropout_values", "0, 7", (0.0, 7.0)),
        (Recipe, "guide_parts", "box,rows,", ("box", "rows")),
        (Recipe, "guide_windows", "1,1,2,1;1,5,2,1", WINDOWS),
        (Recipe, "guide_windows", ["1,1,2,1", WINDOWS[1]], WINDOWS),
        (Table, "at", "4,5", (4, 5)),
        (Table, "file", "a/b.fits", Path("a/b.fits")),
        (Table, "file", " s3://bucket/b.fits", "s3://bucket/b.fits"),
    ],
)
def test_values_of_what_was_given(table: type, name: str, given: Any, value: Any) -> None:
    assert values_of(table, named(**{name: given})) == {name: value}
    found = named(**{f"user_{name}": given})
    assert values_of(table, found, prefix="user_") == {name: value}


def test_what_nobody_gave_is_left_out() -> None:
    assert values_of(Recipe, named(ad_floor=None, dropout_values=(), unrelated=3)) == {}


@pytest.mark.parametrize(
    ("table", "name", "given", "message"),
    [
        (Recipe, "ad_floor", "low", "ad_floor: 'low' is not a number"),
        (Recipe, "guide_expand", "1.5", "guide_expand: '1.5' is not a whole number"),
        (Recipe, "guide_windows", "1,2", "guide_windows: '1,2' is not a window; expected X,Y"),
        (Recipe, "guide_expand", "-1", "guide_expand: -1 is not possible; expected a whole number"),
        (Recipe, "guide_parts", "box,cols", "guide_parts: 'cols' is not possible; expected some"),
        (Table, "at", "4,5,6", "at: '4,5,6' is not X,Y; expected 2 whole numbers"),
        (Table, "at", "4,y", "at: 'y' is not X,Y; expected 2 whole numbers"),
    ],
)
def test_what_cannot_be_read_names_the_option(
    table: type, name: str, given: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        values_of(table, named(**{name: given}))
    assert str(caught.value).startswith(message)
