"""Parameters of the step: made from the option tables, and turned into a recipe and a reading."""

from typing import Any

from tmt_dq.core.options import Option, option_table, values_of
from tmt_dq.core.recipe import Recipe
from tmt_dq.masks.reading import Reading

__all__ = ["reading_of", "recipe_of", "spec_of"]


def spec_of(table: type, *, prefix: str = "") -> str:
    """Return the lines of a step's spec for the rows of an option table."""
    return "".join(
        f"    {prefix}{name} = {_check(option)}  # {option.help}\n"
        for name, option in option_table(table).items()
    )


def _check(option: Option) -> str:
    """Return configobj's check of a parameter; None is what it is where nobody sets it."""
    if hasattr(option.kind, "parse"):
        return "string(default=None)"  # several of them are separated by semicolons
    name = {bool: "boolean", int: "integer", float: "float", str: "string"}[option.kind]
    limits = {"min": option.minimum, "max": option.maximum}
    if option.many:
        name = f"{name.removesuffix('eger')}_list"
        limits = {"min": option.size, "max": option.size}
    arguments = [f"{key}={value}" for key, value in limits.items() if value is not None]
    return f"{name}({', '.join([*arguments, 'default=None'])})"


def recipe_of(step: Any) -> dict[str, Any]:
    """Return what a step sets differently from the instrument's recipe, by field."""
    return values_of(Recipe, _parameters(step, Recipe))


def reading_of(step: Any) -> Reading | None:
    """Return how a step wants the file of ``user_supplied_dq`` to be read, None for no wish."""
    given = values_of(Reading, _parameters(step, Reading, "user_"), prefix="user_")
    return Reading(**given) if given else None


def _parameters(step: Any, table: type, prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{name}": getattr(step, f"{prefix}{name}") for name in option_table(table)}
