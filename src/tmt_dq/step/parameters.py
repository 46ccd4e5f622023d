"""Parameters of the step, as stpipe reads them, turned into a recipe and a reading."""

from typing import Any

from tmt_dq.core.recipe import GuideWindow
from tmt_dq.errors import ConfigError
from tmt_dq.masks.reading import Reading

__all__ = ["reading_of", "recipe_of"]

_FIELDS = (
    "reference_pixels",
    "guide_windows_from_file",
    "guide_parts",
    "guide_expand",
    "missing_reads",
    "non_finite",
    "dropout_values",
    "ad_floor",
    "full_scale",
)
_SAID = ("flag", "bad", "good", "values", "base", "at", "columns", "extension")


def recipe_of(step: Any) -> dict[str, object]:
    """Return what a step says that is different from the instrument's recipe, by field.

    Raises
    ------
    ConfigError
        Raised if a guide window cannot be understood.
    """
    fields = {name: getattr(step, name) for name in _FIELDS}
    if step.guide_windows is not None:
        fields["guide_windows"] = tuple(
            GuideWindow.parse(text, where=f"{step.name}.guide_windows")
            for text in step.guide_windows.split(";")
            if text.strip()
        )
    return {name: value for name, value in fields.items() if value is not None}


def reading_of(step: Any) -> Reading | None:
    """Return what a step says about the file of ``user_supplied_dq``, None if nothing.

    Raises
    ------
    ConfigError, UnknownFlagError
        Raised if it makes no sense.
    """
    said = {name: getattr(step, f"user_{name}") for name in _SAID}
    if all(value is None for value in said.values()):
        return None
    if said["bad"] not in (None, "nonzero"):
        said["bad"] = _whole(said["bad"], f"{step.name}.user_bad")
    for name in ("at", "columns"):
        if said[name] is not None:
            said[name] = tuple(said[name])
    if said["values"] is not None and ":" in said["values"]:
        # Not N=FLAG as on the command line: a parameter file takes "=" for its own.
        pairs = (item.partition(":") for item in said["values"].split(";"))
        said["values"] = {
            _whole(number, f"{step.name}.user_values"): names.strip() for number, _, names in pairs
        }
    return Reading(**said)


def _whole(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a whole number", where=where) from None
