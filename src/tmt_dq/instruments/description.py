"""Instruments: facts of one instrument, read from its TOML file."""

import functools
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Border
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, SelectionError, UnknownFlagError

__all__ = [
    "VARIABLE",
    "WILDCARDS",
    "Detector",
    "Instrument",
    "Limits",
    "available",
    "load",
    "load_own",
    "origin",
    "parse",
]

VARIABLE = "TMT_DQ_INSTRUMENTS"
"""Names folders with more descriptions, as PATH names folders with programs."""

WILDCARDS = frozenset({"N/A", "NA", "ANY", "*", "", "UNDEFINED", "NONE"})
"""Values that CRDS' rules treat as "matches everything": never the name of a real detector."""

_SIDES = frozenset(Border._fields)
_WIDTHS = "a number of pixels, or a table of bottom, top, left, right"


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


def _is_border(value: Any) -> bool:
    sides = value.values() if isinstance(value, dict) else [value]
    return all(map(_is_count, sides)) and set(value if isinstance(value, dict) else ()) <= _SIDES


def _border(value: int | dict[str, int], _where: str) -> Border:
    return Border(**value) if isinstance(value, dict) else Border(value, value, value, value)


def _are_values(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_texts, value.values()))


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
class Frame:
    """A readout mode whose frame is not as large as the detector: NIRSpec's IRS2 has more rows.

    It is that of the exposures and masks whose keywords all have one of the values of `when`.
    """

    when: Mapping[str, list[str]] = _entry(_are_values, "a table: keyword to a list of values")
    shape: tuple[int, int] = _entry(_is_shape, "two numbers of pixels: rows, columns")
    reference_border: Border = _entry(_is_border, _WIDTHS, read=_border)
    pixel_flags: str | None = _entry(_is_text, "the name of an extension", None)


def _frames(table: dict[str, Any], where: str) -> tuple[Frame, ...]:
    return tuple(_read(Frame, frame, _inside(where, name)) for name, frame in table.items())


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector: its name in the rules, other names, rows and columns, border in pixels.

    `gain_e_per_dn` is None where it is not known: darks and flats then must state it. `pixels` is
    the detector's own shape where `shape` is that of one of its frames.
    """

    name: str
    aliases: tuple[str, ...] = _entry(_is_texts, "a list of names")
    shape: tuple[int, int] = _entry(_is_shape, "two numbers of pixels: rows, columns")
    reference_border: Border = _entry(_is_border, _WIDTHS, read=_border)
    channels: int = _entry(lambda value: _is_count(value, 1), "a number from 1", 1)
    gain_e_per_dn: float | None = _entry(_is_gain, "a number above 0, e-/DN", None)
    pixel_flags: str = _entry(_is_text, "the name of an extension", "PIXELDQ")
    frames: tuple[Frame, ...] = _entry(_is_table, "a table of tables", (), read=_frames)
    pixels: tuple[int, int] | None = None

    def read_as(self, header: Mapping[str, object]) -> "Detector":
        """Return the detector with the frame into which it was read, by a file's keywords."""
        for frame in self.frames:
            found = [
                str(header.get(keyword) or "").strip().upper() in map(str.upper, values)
                for keyword, values in frame.when.items()
            ]
            if all(found):
                return replace(
                    self,
                    shape=frame.shape,
                    reference_border=frame.reference_border,
                    pixel_flags=frame.pixel_flags or self.pixel_flags,
                    pixels=self.shape,
                    frames=(),
                )
        return self


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
            raise ConfigError(f"{parkey} is {keyword!r}; expected a text", where=where)
    return table


def _detectors(table: dict[str, Any], where: str) -> dict[str, Detector]:
    """Return the detectors, whose names and aliases must all differ."""
    detectors: dict[str, Detector] = {}
    for name, values in table.items():
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
class Observatory:
    """Another CRDS observatory whose rules serve the instrument: what they call its properties."""

    name: str
    reftype: str = _entry(_is_text, "a text")
    keywords: Mapping[str, str] = _entry(_is_table, "a table", read=_keywords)
    detectors: Mapping[str, str] = _entry(_is_table, "a table", read=_keywords)


def _observatories(table: dict[str, Any], where: str) -> tuple[Observatory, ...]:
    return tuple(
        _read(Observatory, values, _inside(where, name), name=name)
        for name, values in table.items()
    )


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
    other_observatories: tuple[Observatory, ...] = _entry(
        _is_table, "a table", (), read=_observatories
    )
    recipe: Recipe = _entry(_is_table, "a table", Recipe(), read=_recipe)
    guide_windows: GuideWindowSource | None = _entry(
        _is_table, "a table", None, read=functools.partial(_read, GuideWindowSource)
    )
    read_number_column: str = _entry(_is_text, "a text", "READ_NO")
    limits: Limits = _entry(_is_table, "a table", Limits(), read=functools.partial(_read, Limits))
    do_not_use: tuple[str, ...] = _entry(_is_table, "a table", (), read=_do_not_use)

    @property
    def selectors(self) -> tuple[str, ...]:
        """The FITS keywords that rules of any observatory look at."""
        tables = (self.keywords, *(other.keywords for other in self.other_observatories))
        return tuple(word for table in tables for words in table.values() for word in words.split())

    @property
    def observatories(self) -> tuple[str, ...]:
        """The CRDS observatories whose rules serve the instrument, its own first."""
        return (self.observatory, *(other.name for other in self.other_observatories))

    @property
    def reftypes(self) -> tuple[str, ...]:
        """The types that masks have in the rules of these observatories."""
        return (self.reftype, *(other.reftype for other in self.other_observatories))

    def under(self, observatory: str) -> "Instrument":
        """Return the instrument as the rules of one of its observatories know it."""
        if observatory == self.observatory:
            return self
        (rules,) = (other for other in self.other_observatories if other.name == observatory)
        detectors = {}
        for detector in self.detectors.values():
            name = rules.detectors.get(detector.name, detector.name)
            others = tuple({detector.name, *detector.aliases} - {name})
            detectors[name] = replace(detector, name=name, aliases=others)
        return replace(
            self,
            observatory=observatory,
            reftype=rules.reftype,
            keywords=rules.keywords,
            detectors=detectors,
        )

    def detector(self, name: str, header: Mapping[str, object] | None = None) -> Detector:
        """Return a detector by its name or an alias, with the frame that a file's header states.

        SelectionError if `name` is a wildcard or not one of the instrument's detectors: CRDS would
        answer with some detector's mask.
        """
        wanted = str(name).strip().upper()
        for detector in self.detectors.values():
            if wanted in map(str.upper, (detector.name, *detector.aliases)):
                return detector.read_as(header or {})
        known = ", ".join("/".join((each.name, *each.aliases)) for each in self.detectors.values())
        wildcard = ", which CRDS rules take for any detector" if wanted in WILDCARDS else ""
        raise SelectionError(
            f"DETECTOR is {name!r}{wildcard}; {self.name} has {known}",
            hint="Correct the DETECTOR keyword of the file.",
        )


def available() -> tuple[str, ...]:
    """Return the names of the instruments that are described, in upper case."""
    return tuple(sorted(_files(os.environ.get(VARIABLE, ""))))


def load(name: str) -> Instrument:
    """Return the description of an instrument, by its name in any case; ConfigError without one."""
    return _parse_file(origin(name))


def load_own(name: str) -> Instrument:
    """Return the description of an instrument that comes with the package."""
    return _parse_file(_files("")[name.upper()])


def origin(name: str) -> Path:
    """Return the file that describes an instrument; ConfigError where there is none."""
    found = _files(os.environ.get(VARIABLE, "")).get(name.upper())
    if found is None:
        raise ConfigError(
            f"instrument {name!r} is not known; found descriptions of {', '.join(available())}",
            hint="tmt-dq is for exposures of these instruments. Another one needs a description of "
            f"its own, in a folder that {VARIABLE} names: see 'Add an instrument' in the "
            "documentation.",
        )
    return found


@functools.cache
def _files(folders: str) -> dict[str, Path]:
    """Return the file that describes each instrument: the first one found, ours last."""
    found: dict[str, Path] = {}
    for folder in (*map(Path, filter(None, folders.split(os.pathsep))), Path(__file__).parent):
        if not folder.is_dir():
            raise ConfigError(
                f"there is no folder {str(folder)!r}",
                where=VARIABLE,
                hint=f"Name folders with descriptions of instruments, separated by {os.pathsep}",
            )
        for file in sorted(folder.glob("*.toml")):
            found.setdefault(file.stem.upper(), file)
    return found


@functools.cache
def _parse_file(path: Path) -> Instrument:
    try:
        described = parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=path) from error
    if described.name.upper() != path.stem.upper():
        expected = f"{described.name.lower()}.toml"
        raise ConfigError(f"describes {described.name}; expected the name {expected}", where=path)
    return described


def parse(text: str, file: str) -> Instrument:
    """Return the instrument that a TOML text describes; ConfigError names `file` and field."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", where=file) from error
    described: Instrument = _read(Instrument, table, file)
    return described
