"""Tables of a TOML file: each field is taken once and checked, and what is left is unknown."""

from collections.abc import Callable, Mapping
from typing import Any

from tmt_dq.errors import ConfigError

__all__ = ["TomlTable", "is_count", "is_text", "is_texts"]

_NEEDED = object()


def is_text(value: Any) -> bool:
    """Whether a value is a text that is not empty."""
    return isinstance(value, str) and bool(value.strip())


def is_texts(value: Any) -> bool:
    """Whether a value is a list of such texts."""
    return isinstance(value, list) and all(map(is_text, value))


def is_count(value: Any, least: int = 0) -> bool:
    """Whether a value is a whole number from `least` on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class TomlTable:
    """One table of a TOML file; `path` is its name there, "" for the fields of the file itself."""

    def __init__(self, values: Mapping[str, Any], file: str, path: str = "") -> None:
        self._left = dict(values)
        self._file = file
        self._path = path
        self._known: list[str] = []

    @property
    def where(self) -> str:
        """The file and the table, for errors."""
        return f"{self._file}[{self._path}]" if self._path else self._file

    def take(
        self, name: str, fits: Callable[[Any], bool], expected: str, default: Any = _NEEDED
    ) -> Any:
        """Return a field; ConfigError if it is not as expected, or needed and missing."""
        self._known.append(name)
        value = self._left.pop(name, default)
        if value is _NEEDED:
            raise ConfigError(f"has no field {name}; expected {expected}", where=self.where)
        if value is not default and not fits(value):
            raise ConfigError(f"{name} is {value!r}; expected {expected}", where=self.where)
        return value

    def table(self, name: str, *, needed: bool = False) -> "TomlTable":
        """Return a table of this table, an empty one where it is missing and not needed."""
        default = _NEEDED if needed else {}
        values = self.take(name, lambda value: isinstance(value, dict), "a table", default)
        return TomlTable(values, self._file, f"{self._path}.{name}" if self._path else name)

    def names(self) -> list[str]:
        """Return the names of the fields that were not taken yet."""
        return list(self._left)

    def rest(self) -> dict[str, Any]:
        """Take and return all fields that are left, for tables whose fields have free names."""
        left, self._left = self._left, {}
        return left

    def close(self) -> None:
        """Raise ConfigError if a field is left."""
        if self._left:
            raise ConfigError(
                f"has the unknown field {', '.join(self._left)}; known are "
                f"{', '.join(self._known)}",
                where=self.where,
            )
