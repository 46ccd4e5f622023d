"""Instruments: facts of one instrument, read from its TOML file."""

import functools
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from typing import Any

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, SelectionError, UnknownFlagError

__all__ = [
    "WILDCARDS",
    "Detector",
    "Instrument",
    "Limits",
    "available",
    "load",
    "parse",
    "policy_flags",
]

WILDCARDS = frozenset({"N/A", "NA", "ANY", "*", "", "UNDEFINED", "NONE"})
"""Values that CRDS' rules treat as "matches everything": never the name of a real detector."""


def _entry(
    fits: Callable[[Any], bool],
    expected: str,
    default: Any = MISSING,
    *,
    read: Callable[[Any, str], Any] | None = None,
) -> Any:
    """Return a field that is read from a TOML table: its check, and what makes a value of it."""
    return field(default=default, metadata={"fits": fits, "expected": expected, "read": read})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_gain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_count(n, 1) for n in value)


def _are_guide_keywords(value: Any) -> bool:
    return _is_texts(value) and len(value) == 4 and all("{n}" in keyword for keyword in value)


def _read(kind: type, values: Mapping[str, Any], where: str, **given: Any) -> Any:
    """Return a dataclass of a table's fields; ConfigError names a missing, wrong or unknown one."""
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
            given[name] = plain if read is None else read(value, _inside(where, name))
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError(
            f"has the unknown field {', '.join(unknown)}; known are {', '.join(known)}", where=where
        )
    return kind(**given)


def _inside(where: str, name: str) -> str:
    """Return the place of a table in a file or another table, for errors: ``file[table.name]``."""
    return f"{where[:-1]}.{name}]" if where.endswith("]") else f"{where}[{name}]"


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector: its name in the rules, other names, rows and columns, border in pixels.

    `gain_e_per_dn` is None where it is not known: darks and flats then must state it.
    """

    name: str
    aliases: tuple[str, ...] = _entry(_is_texts, "a list of names")
    shape: tuple[int, int] = _entry(_is_shape, "two numbers of pixels: rows, columns")
    reference_border: int = _entry(_is_count, "a number of pixels")
    channels: int = _entry(lambda value: _is_count(value, 1), "a number from 1", 1)
    gain_e_per_dn: float | None = _entry(_is_gain, "a number above 0, e-/DN", None)


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest plausible fractions of active pixels in a mask; None for no limit."""

    flagged_fraction: float | None = _entry(_is_fraction, "a fraction, 0 to 1", None)
    do_not_use_fraction: float | None = _entry(_is_fraction, "a fraction, 0 to 1", None)
    changed_fraction: float | None = _entry(_is_fraction, "a fraction, 0 to 1", None)


@dataclass(frozen=True, slots=True)
class GuideWindowSource:
    """Table and keywords (``{n}`` is the window's number) that name windows read for guiding."""

    extension: str = _entry(_is_text, "the name of a table")
    keywords: tuple[str, str, str, str] = _entry(_are_guide_keywords, "four keywords with {n}")
    count: int = _entry(lambda value: _is_count(value, 1), "a number from 1")


@dataclass(frozen=True, slots=True)
class _Policy:
    flags: tuple[str, ...] = _entry(_is_texts, "a list of flags", ())


def _keywords(table: dict[str, Any], where: str) -> dict[str, str]:
    for parkey, keyword in table.items():
        if not _is_text(keyword):
            raise ConfigError(f"{parkey} is {keyword!r}; expected a FITS keyword", where=where)
    return table


def _detectors(table: dict[str, Any], where: str) -> dict[str, Detector]:
    """Return the detectors, whose names and aliases must all differ."""
    detectors: dict[str, Detector] = {}
    for name, values in table.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{name} is {values!r}; expected a table", where=where)
        detectors[name] = _read(Detector, values, _inside(where, name), name=name)
    names = [name.upper() for each in detectors.values() for name in (each.name, *each.aliases)]
    if not detectors or len(set(names)) < len(names):
        raise ConfigError(
            f"detectors and aliases are {', '.join(names) or 'none'}; expected at least one "
            "detector, and each name once",
            where=where,
        )
    return detectors


def _recipe(table: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe().changed(table)
    except ConfigError as error:
        raise ConfigError(error.what, where=where, hint=error.hint) from error


def _do_not_use(table: dict[str, Any], where: str) -> tuple[str, ...]:
    flags: tuple[str, ...] = _read(_Policy, table, where).flags
    try:
        PIXEL.encode(flags)
    except UnknownFlagError as error:
        raise ConfigError(error.what, where=where, hint=error.hint) from error
    return flags


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; its fields are those of the TOML file (docs: Add an instrument).

    `keywords` leads from CRDS' parkeys to FITS keywords, `detectors` is by canonical name, and
    `do_not_use` names the flags with which new masks set DO_NOT_USE.
    """

    name: str = _entry(_is_text, "a text")
    telescope: str = _entry(_is_text, "a text")
    observatory: str = _entry(_is_text, "a text")
    reftype: str = _entry(_is_text, "a text")
    keywords: Mapping[str, str] = _entry(_is_table, "a table", read=_keywords)
    detectors: Mapping[str, Detector] = _entry(_is_table, "a table", read=_detectors)
    recipe: Recipe = _entry(_is_table, "a table", Recipe(), read=_recipe)
    guide_windows: GuideWindowSource | None = _entry(
        _is_table, "a table", None, read=functools.partial(_read, GuideWindowSource)
    )
    read_number_column: str = _entry(_is_text, "a text", "READ_NO")
    limits: Limits = _entry(_is_table, "a table", Limits(), read=functools.partial(_read, Limits))
    do_not_use: tuple[str, ...] = _entry(_is_table, "a table", (), read=_do_not_use)

    def detector(self, name: str) -> Detector:
        """Return a detector by its name or an alias.

        SelectionError if `name` is a wildcard or not one of the instrument's detectors: CRDS would
        answer with some detector's mask.
        """
        wanted = str(name).strip().upper()
        for detector in self.detectors.values():
            if wanted in map(str.upper, (detector.name, *detector.aliases)):
                return detector
        known = ", ".join("/".join((each.name, *each.aliases)) for each in self.detectors.values())
        wildcard = ", which CRDS rules take for any detector" if wanted in WILDCARDS else ""
        raise SelectionError(
            f"DETECTOR is {name!r}{wildcard}; {self.name} has {known}",
            hint="Correct the DETECTOR keyword of the file.",
        )


def available() -> tuple[str, ...]:
    """Return the names of the instruments that are described, in upper case."""
    names = [entry.name for entry in resources.files(__package__).iterdir()]
    return tuple(sorted(name[:-5].upper() for name in names if name.endswith(".toml")))


@functools.cache
def load(name: str) -> Instrument:
    """Return the description of an instrument, by its name in any case; ConfigError without one."""
    if name.upper() not in available():
        raise ConfigError(
            f"instrument {name!r} is not known; found descriptions of {', '.join(available())}",
            hint="tmt-dq is for exposures of these instruments. Another one needs a description of "
            "its own: see 'Add an instrument' in the documentation.",
        )
    file = f"{name.lower()}.toml"
    return parse(resources.files(__package__).joinpath(file).read_text("utf-8"), file)


def policy_flags(
    do_not_use: str | Iterable[str], instrument: Instrument | None = None
) -> tuple[str, ...]:
    """Return the flags whose pixels get DO_NOT_USE, by name.

    "instrument" stands for those of its description (none without one), "keep" for none; all else
    names them. UnknownFlagError where a name is not in the convention.
    """
    word = do_not_use.strip().lower() if isinstance(do_not_use, str) else ""
    if word == "instrument":
        return () if instrument is None else instrument.do_not_use
    return () if word == "keep" else PIXEL.decode(PIXEL.encode(do_not_use))


def parse(text: str, file: str) -> Instrument:
    """Return the instrument that a TOML text describes; ConfigError names `file` and field."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", where=file) from error
    described: Instrument = _read(Instrument, table, file)
    return described
