"""Parameters of the step: made from the option tables, and turned into keywords of `apply_dq`."""

from pathlib import Path
from typing import Any

from tmt_dq.apply.options import ApplyOptions, given_options
from tmt_dq.core.options import Option, offered


def spec_of(table: type = ApplyOptions, *, prefix: str = "") -> str:
    """Return the lines of a step's spec for the rows of an option table."""
    lines = []
    for name, option in offered(table, "step").items():
        if option.is_table:
            lines.append(spec_of(option.kind, prefix=option.prefix))
        else:
            parameter = option.step_name or f"{prefix}{name}"
            several = " Several are separated by semicolons." if _is_split(option) else ""
            lines.append(f"    {parameter} = {_check(option)}  # {option.help}{several}\n")
    return "".join(lines)


def parameters_of(step: Any) -> dict[str, Any]:
    """Return what the parameters of a step set, as keywords of `apply_dq`."""

    def find(name: str, row: Option) -> Any:
        return _whole(row, getattr(step, row.step_name or name))

    return given_options(find, "step")


def _is_split(option: Option) -> bool:
    """Whether the parameter is one text with several values."""
    return option.many and hasattr(option.kind, "parse")


def _has_commas(option: Option) -> bool:
    """Whether the parameter is a text that may have commas in it, where stpipe splits texts."""
    return hasattr(option.kind, "parse") or (
        option.kind is str and not option.many and not option.choices
    )


def _whole(option: Option, value: Any) -> Any:
    """Return a text as it was before stpipe split it at its commas; other values as they are."""
    is_split = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
    if not (is_split and _has_commas(option)):
        return value
    return (";" if any("," in item for item in value) else ",").join(value)


def _check(option: Option) -> str:
    """Return configobj's check of a parameter; None is its value where nobody sets it."""
    if option.step_name == "override_mask":
        return "is_string_or_datamodel(default=None)"
    if _has_commas(option):
        return "force_list(default=None)"
    if option.kind is Path:
        return "string(default=None)"
    if option.choices and not option.many:
        choices = ", ".join(f'"{choice}"' for choice in option.choices)
        return f'option({choices}, default="{option.choices[0]}")'
    name = {bool: "boolean", int: "integer", float: "float", str: "string"}[option.kind]
    limits = {"min": option.minimum, "max": option.maximum}
    if option.many:
        name = f"{name.removesuffix('eger')}_list"
        limits = {"min": option.size, "max": option.size}
    arguments = [f"{key}={value}" for key, value in limits.items() if value is not None]
    return f"{name}({', '.join([*arguments, 'default=None'])})"
