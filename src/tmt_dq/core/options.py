"""Rows of an option table: what every face needs to offer, read and check one field."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from typing import Any

from tmt_dq.errors import ConfigError

_NUMBERS: dict[type, tuple[type, str]] = {int: (Integral, "whole number"), float: (Real, "number")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One row of an option table, the metadata ``option`` of a dataclass' field.

    The command line, the step's parameters and the tables of the documentation follow from it.
    """

    help: str  # its effect, one sentence for people; pixels, rows and groups count from 1
    kind: type = bool  # type of one value: bool, int, float, str, or a class with ``parse(text)``
    many: bool = False  # whether the field is a tuple of values, of `size` if that is given
    size: int | None = None
    optional: bool = False  # whether the field can be None
    choices: tuple[str, ...] = ()  # all possible texts
    minimum: int | None = None
    maximum: float | None = None
    unit: str = ""
    one: str = ""  # a single value on the command line: ``--guide-window`` for ``guide_windows``
    metavar: str = ""  # placeholder of a value in help texts
    shown_default: str = ""  # the default, in words, where the field's own does not explain it
    group: str = ""  # heading under which help texts list the option
    faces: tuple[str, ...] = ()  # those that offer it, all if empty: function, apply, batch, step
    step_name: str = ""  # name of the step's parameter, where it is not the field's
    prefix: str = ""  # put before the names of a kind's own fields, where the kind is a table

    @property
    def is_table(self) -> bool:
        """Whether the values are option tables themselves."""
        return is_dataclass(self.kind) and bool(option_table(self.kind))

    def parse(self, value: Any) -> Any:
        """Return the field's value for what a face was given: a text, a list of texts, a value."""
        if not self.many:
            return self.parse_one(value)
        # A value of a class that parses a text can have commas in it.
        separator = ";" if hasattr(self.kind, "parse") else ","
        items = value.split(separator) if isinstance(value, str) else value
        parsed = tuple(self.parse_one(item) for item in items if str(item).strip())
        if self.size is not None and len(parsed) != self.size:
            raise self._not_readable(value)
        return parsed

    def parse_one(self, value: Any) -> Any:
        """Return one of the field's values."""
        if not isinstance(value, str):
            return value
        if hasattr(self.kind, "parse"):
            return self.kind.parse(value)
        if hasattr(self.kind, "__fspath__") and "://" in value:
            return value.strip()  # as a path, a URL would lose a slash
        try:
            parsed = self.kind(value.strip())
        except ValueError:
            raise self._not_readable(value) from None
        self._check_limits(parsed)
        return parsed

    def _not_readable(self, value: object) -> ConfigError:
        _, word = _NUMBERS.get(self.kind, (str, "text"))
        if self.size is None:
            return ConfigError(f"{value!r} is not a {word}")
        return ConfigError(f"{value!r} is not {self.metavar}; expected {self.size} {word}s")

    def check(self, name: str, value: Any, *, where: object) -> Any:
        """Return a field's value, a list of a file as a tuple; ConfigError where it is wrong."""
        if value is None and self.optional:
            return None
        # A text is a sequence too, of letters.
        items = value if self.many else (value,)
        found = f"is {value!r} ({type(value).__name__})"
        if isinstance(items, tuple | list):
            wrong = [item for item in items if not self._fits(item)]
            if not wrong:
                return tuple(value) if self.many else value
            found = f"has {', '.join(map(repr, wrong))}" if self.many else found
        raise ConfigError(f"{name} {found}; expected {self._expected()}", where=where)

    def _check_limits(self, value: Any) -> None:
        """Refuse one of the field's values that is beyond its limits or not among its choices."""
        low = self.minimum is not None and value < self.minimum
        high = self.maximum is not None and value > self.maximum
        if low or high or (self.choices and value not in self.choices):
            raise ConfigError(f"{value!r} is not possible; expected {self._values()}")

    def _fits(self, value: Any) -> bool:
        kind, _ = _NUMBERS.get(self.kind, (self.kind, ""))
        if not isinstance(value, kind) or (self.kind is not bool and isinstance(value, bool)):
            return False  # True is the number 1 to Python; NumPy's scalars are numbers, too
        try:
            self._check_limits(value)
        except ConfigError:
            return False
        return True

    def _values(self) -> str:
        """Describe what values are possible."""
        _, word = _NUMBERS.get(self.kind, (None, self.kind.__name__))
        if self.choices:
            return f"some of {', '.join(self.choices)}"
        if self.kind is bool:
            return "True or False"
        word += "s" if self.many else ""
        word += "" if self.minimum is None else f" from {self.minimum}"
        word += f", {self.unit}" if self.unit else ""
        return word if self.many else f"a {word}"

    def _expected(self) -> str:
        return "a tuple or list of " * self.many + self._values() + ", or None" * self.optional


def row(default: Any, text: str, **details: Any) -> Any:
    """Return a field of an option table: its default, and its row."""
    if details.get("choices"):
        details["shown_default"] = default if isinstance(default, str) else ",".join(default)
    option = Option(help=text, optional=default is None, **details)
    return field(default=default, metadata={"option": option})


def option_table(table: type) -> dict[str, Option]:
    """Return the rows of a dataclass whose fields are options, by field."""
    return {
        entry.name: entry.metadata["option"]
        for entry in fields(table)
        if "option" in entry.metadata
    }


def offered(table: type, face: str = "") -> dict[str, Option]:
    """Return the rows of an option table that a face offers; without a face, all."""
    rows = option_table(table).items()
    return {name: row for name, row in rows if not (face and row.faces) or face in row.faces}


def values_of(
    table: type, find: Callable[[str, Option], Any], *, face: str = "", prefix: str = ""
) -> dict[str, Any]:
    """Return the fields of an option table that `find` has by name and row, parsed.

    Names begin with `prefix`. None or an empty sequence was not given; a table is a dictionary.
    """
    found: dict[str, Any] = {}
    for field_name, option in offered(table, face).items():
        if option.is_table:
            nested = values_of(option.kind, find, prefix=option.prefix)
            found |= {field_name: nested} if nested else {}
            continue
        name = f"{prefix}{field_name}"
        value = find(name, option)
        if value is None or (option.many and len(value) == 0):
            continue
        try:
            found[field_name] = option.parse(value)
        except ConfigError as error:
            raise ConfigError(error.what, where=name, hint=error.hint) from None
    return found
