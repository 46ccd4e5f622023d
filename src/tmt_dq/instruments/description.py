"""Instruments: facts of one instrument, read from its TOML file."""

import dataclasses
import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, SelectionError, UnknownFlagError
from tmt_dq.instruments.toml_table import TomlTable, is_count, is_text, is_texts

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


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector: its name in the rules, other names, rows and columns, border in pixels."""

    name: str
    aliases: tuple[str, ...]
    shape: tuple[int, int]
    reference_border: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest plausible fractions of active pixels in a mask; None for no limit."""

    flagged_fraction: float | None = None
    do_not_use_fraction: float | None = None
    changed_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class GuideWindowSource:
    """Table and keywords (``{n}`` is the window's number) that name windows read for guiding."""

    extension: str
    keywords: tuple[str, str, str, str]
    count: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; its fields are those of the TOML file (docs: Add an instrument).

    `keywords` leads from CRDS' parkeys to FITS keywords, `detectors` is by canonical name, and
    `do_not_use` names the flags with which new masks set DO_NOT_USE.
    """

    name: str
    telescope: str
    observatory: str
    reftype: str
    keywords: Mapping[str, str]
    detectors: Mapping[str, Detector]
    recipe: Recipe = field(default_factory=Recipe)
    guide_windows: GuideWindowSource | None = None
    read_number_column: str = "READ_NO"
    limits: Limits = Limits()
    do_not_use: tuple[str, ...] = ()

    def detector(self, name: str) -> Detector:
        """Return a detector by its name or an alias.

        SelectionError if `name` is a wildcard or not one of the instrument's detectors: CRDS would
        answer with some detector's mask.
        """
        wanted = str(name).strip().upper()
        known = ", ".join(
            "/".join((detector.name, *detector.aliases)) for detector in self.detectors.values()
        )
        if wanted in WILDCARDS:
            raise SelectionError(
                f"DETECTOR is {name!r}, which CRDS rules take for any detector; expected one of "
                f"{known}",
                hint="Correct the DETECTOR keyword of the file.",
            )
        for detector in self.detectors.values():
            if wanted == detector.name.upper() or wanted in map(str.upper, detector.aliases):
                return detector
        raise SelectionError(
            f"DETECTOR is {name!r}; {self.name} has {known}",
            hint="Correct the DETECTOR keyword of the file.",
        )


def available() -> tuple[str, ...]:
    """Return the names of the instruments that are described, in upper case."""
    folder = resources.files(__package__)
    return tuple(
        sorted(
            entry.name[:-5].upper() for entry in folder.iterdir() if entry.name.endswith(".toml")
        )
    )


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
        table = TomlTable(tomllib.loads(text), file)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", where=file) from error
    limits, do_not_use = table.table("limits"), table.table("do_not_use")
    described = Instrument(
        name=table.take("name", is_text, "a text"),
        telescope=table.take("telescope", is_text, "a text"),
        observatory=table.take("observatory", is_text, "a text"),
        reftype=table.take("reftype", is_text, "a text"),
        keywords=_keywords(table.table("keywords", needed=True)),
        detectors=_detectors(table.table("detectors", needed=True)),
        recipe=_recipe(table.table("recipe")),
        guide_windows=_guide_windows(table),
        read_number_column=table.take("read_number_column", is_text, "a text", "READ_NO"),
        limits=Limits(
            **{
                entry.name: limits.take(entry.name, _is_fraction, "a fraction, 0 to 1", None)
                for entry in dataclasses.fields(Limits)
            }
        ),
        do_not_use=tuple(do_not_use.take("flags", is_texts, "a list of flags", ())),
    )
    for part in (limits, do_not_use, table):
        part.close()
    try:
        PIXEL.encode(described.do_not_use)
    except UnknownFlagError as error:
        raise ConfigError(error.what, where=do_not_use.where, hint=error.hint) from error
    return described


def _keywords(table: TomlTable) -> dict[str, str]:
    """Return the keyword of each parkey."""
    keywords = table.rest()
    for parkey, keyword in keywords.items():
        if not is_text(keyword):
            raise ConfigError(
                f"{parkey} is {keyword!r}; expected a FITS keyword", where=table.where
            )
    return keywords


def _detectors(table: TomlTable) -> dict[str, Detector]:
    """Return the detectors, whose names and aliases must all differ."""
    names: list[str] = []
    detectors: dict[str, Detector] = {}
    for name in table.names():
        entry = table.table(name)
        detectors[name] = Detector(
            name=name,
            aliases=tuple(entry.take("aliases", is_texts, "a list of names")),
            shape=tuple(entry.take("shape", _is_shape, "two numbers of pixels: rows, columns")),
            reference_border=entry.take("reference_border", is_count, "a number of pixels"),
            channels=entry.take("channels", lambda n: is_count(n, 1), "a number from 1", 1),
        )
        entry.close()
        names += [name.upper(), *map(str.upper, detectors[name].aliases)]
    if not detectors or len(set(names)) < len(names):
        raise ConfigError(
            f"detectors and aliases are {', '.join(names) or 'none'}; expected at least one "
            "detector, and each name once",
            where=table.where,
        )
    return detectors


def _guide_windows(table: TomlTable) -> GuideWindowSource | None:
    """Return where files name guide windows."""
    if "guide_windows" not in table.names():
        return None
    guide = table.table("guide_windows")
    source = GuideWindowSource(
        extension=guide.take("extension", is_text, "the name of a table"),
        keywords=tuple(guide.take("keywords", _are_guide_keywords, "four keywords with {n}")),
        count=guide.take("count", lambda n: is_count(n, 1), "a number from 1"),
    )
    guide.close()
    return source


def _recipe(table: TomlTable) -> Recipe:
    """Return the instrument's recipe."""
    try:
        return Recipe().changed(table.rest())
    except ConfigError as error:
        raise ConfigError(error.what, where=table.where, hint=error.hint) from error


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(is_count(n, 1) for n in value)


def _are_guide_keywords(value: Any) -> bool:
    return is_texts(value) and len(value) == 4 and all("{n}" in keyword for keyword in value)
