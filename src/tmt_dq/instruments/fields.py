"""Fields of a description: dataclasses that are read from tables of TOML, and their checks."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from typing import Any

from tmt_dq.errors import ConfigError


def entry(
    fits: Callable[[Any], bool],
    expected: str,
    default: Any = MISSING,
    *,
    read: Callable[[Any, str], Any] | None = None,
) -> Any:
    """Return a field that is read from a TOML table: its check, and what makes a value of it."""
    return field(default=default, metadata={"fits": fits, "expected": expected, "read": read})


def table_entry(read: Callable[[Any, str], Any], default: Any = MISSING) -> Any:
    """Return a field that is a table itself, of which `read` makes a value."""
    return entry(lambda value: isinstance(value, dict), "a table", default, read=read)


def is_text(value: Any) -> bool:
    """Whether a value is a text that is not empty."""
    return isinstance(value, str) and bool(value.strip())


def is_texts(value: Any) -> bool:
    """Whether a value is a list of such texts."""
    return isinstance(value, list) and all(map(is_text, value))


def is_count(value: Any, least: int = 0) -> bool:
    """Whether a value is a whole number from `least` on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def read_table(kind: type, values: Mapping[str, Any], where: str, **given: Any) -> Any:
    """Return a dataclass of a table's fields; ConfigError names a missing, wrong or unknown one."""
    if not isinstance(values, dict):
        raise ConfigError(f"is {values!r}; expected a table", where=where)
    known = {entry.name: entry for entry in fields(kind) if entry.metadata}
    for name, entry in known.items():
        expected, read = entry.metadata["expected"], entry.metadata["read"]
        if name not in values and entry.default is MISSING:
            raise ConfigError(f"has no field {name}; expected {expected}", where=where)
        if name in values:
            value = values[name]
            if not entry.metadata["fits"](value):
                raise ConfigError(f"{name} is {value!r}; expected {expected}", where=where)
            plain = tuple(value) if isinstance(value, list) else value
            given[name] = plain if read is None else read(value, inside(where, name))
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError(
            f"has the unknown field {', '.join(unknown)}; known are {', '.join(known)}", where=where
        )
    return kind(**given)


def read_tables(kind: type, tables: Mapping[str, Any], where: str) -> tuple[Any, ...]:
    """Return a dataclass, with its name, of each table in a table."""
    return tuple(
        read_table(kind, values, inside(where, name), name=name) for name, values in tables.items()
    )


def inside(where: str, name: str) -> str:
    """Return the place of a table in a file or another table, for errors: ``file[table.name]``."""
    return f"{where[:-1]}.{name}]" if where.endswith("]") else f"{where}[{name}]"
