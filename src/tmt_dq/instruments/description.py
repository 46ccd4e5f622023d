"""Instruments: facts of one instrument, read from its TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Border
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, SelectionError, UnknownFlagError
from tmt_dq.instruments.fields import (
    entry,
    inside,
    is_count,
    is_text,
    is_texts,
    read_table,
    read_tables,
    table_entry,
)

WILDCARDS = frozenset({"N/A", "NA", "ANY", "*", "", "UNDEFINED", "NONE"})
"""Values that CRDS' rules treat as "matches everything": never the name of a real detector."""

_AXES = ("integration", "group", "y", "x")
_OUR_EXTENSIONS = frozenset({"SCI", "DQ_DEF", "DQ_SOURCES", "ASDF"})
"""What cannot be the name of another pipeline's extension, nor that of the flags of pixels."""
_SIDES = frozenset(Border._fields)
_WIDTHS = "a number of pixels, or a table of bottom, top, left, right"


def _is_border(value: Any) -> bool:
    sides = value.values() if isinstance(value, dict) else [value]
    return all(map(is_count, sides)) and set(value if isinstance(value, dict) else ()) <= _SIDES


def _border(value: int | dict[str, int], _where: str) -> Border:
    return Border(**value) if isinstance(value, dict) else Border(value, value, value, value)


def _are_values(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(is_texts, value.values()))


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_gain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(is_count(n, 1) for n in value)


def _are_guide_keywords(value: Any) -> bool:
    return is_texts(value) and len(value) == 4 and all("{n}" in keyword for keyword in value)


def _are_axes(value: Any) -> bool:
    return is_texts(value) and sorted(value) == sorted(_AXES)


def _are_two_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)


@dataclass(frozen=True, slots=True)
class Frame:
    """A readout mode whose frame is not as large as the detector: NIRSpec's IRS2 has more rows.

    It is that of the exposures and masks whose keywords all have one of the values of `when`.
    """

    name: str
    when: Mapping[str, list[str]] = entry(_are_values, "a table: keyword to a list of values")
    shape: tuple[int, int] = entry(_is_shape, "two numbers of pixels: rows, columns")
    reference_border: Border = entry(_is_border, _WIDTHS, read=_border)
    pixel_flags: str | None = entry(is_text, "the name of an extension", None)


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector: its name in the rules, other names, rows and columns, border in pixels.

    `gain_e_per_dn` is None where it is not known: darks and flats then must state it. `pixels` is
    the detector's own shape where `shape` is that of one of its frames.
    """

    name: str
    aliases: tuple[str, ...] = entry(is_texts, "a list of names")
    shape: tuple[int, int] = entry(_is_shape, "two numbers of pixels: rows, columns")
    reference_border: Border = entry(_is_border, _WIDTHS, read=_border)
    channels: int = entry(lambda value: is_count(value, 1), "a number from 1", 1)
    gain_e_per_dn: float | None = entry(_is_gain, "a number above 0, e-/DN", None)
    pixel_flags: str = entry(is_text, "the name of an extension", "PIXELDQ")
    frames: tuple[Frame, ...] = table_entry(partial(read_tables, Frame), ())
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

    flagged_fraction: float | None = entry(_is_fraction, "a fraction, 0 to 1", None)
    do_not_use_fraction: float | None = entry(_is_fraction, "a fraction, 0 to 1", None)
    changed_fraction: float | None = entry(_is_fraction, "a fraction, 0 to 1", None)


@dataclass(frozen=True, slots=True)
class GuideWindowSource:
    """Table and keywords (``{n}`` is the window's number) that name windows read for guiding."""

    extension: str = entry(is_text, "the name of a table")
    keywords: tuple[str, str, str, str] = entry(_are_guide_keywords, "four keywords with {n}")
    count: int = entry(lambda value: is_count(value, 1), "a number from 1")


@dataclass(frozen=True, slots=True)
class _Policy:
    flags: tuple[str, ...] = entry(is_texts, "a list of flags", ())


def _keywords(table: dict[str, Any], where: str) -> dict[str, str]:
    for parkey, keyword in table.items():
        if not is_text(keyword):
            raise ConfigError(f"{parkey} is {keyword!r}; expected a text", where=where)
    return table


def _detectors(table: dict[str, Any], where: str) -> dict[str, Detector]:
    """Return the detectors, whose names and aliases must all differ."""
    detectors: dict[str, Detector] = {}
    for name, values in table.items():
        detectors[name] = read_table(Detector, values, inside(where, name), name=name)
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
    flags: tuple[str, ...] = read_table(_Policy, table, where).flags
    try:
        PIXEL.encode(flags)
    except UnknownFlagError as error:
        raise ConfigError(error.what, where=where, hint=error.hint) from error
    return flags


@dataclass(frozen=True, slots=True)
class Observatory:
    """Another CRDS observatory whose rules serve the instrument: what they call its properties."""

    name: str
    reftype: str = entry(is_text, "a text")
    keywords: Mapping[str, str] = table_entry(_keywords)
    detectors: Mapping[str, str] = table_entry(_keywords)


@dataclass(frozen=True, slots=True)
class Layout:
    """How files of another pipeline, which DATAMODL tells, hold a ramp.

    `data` and `flags` are extensions of one shape with the axes of `axes`; `flags` has those of
    each sample. `date` is the keyword for DATE-OBS, `unknown_orientation` what FASTAXIS and
    SLOWAXIS are where they mean nothing, `status` where a tree of ASDF has S_DQINIT.
    """

    name: str
    datamodl: str = entry(is_text, "a text")
    data: str = entry(is_text, "the name of an extension")
    flags: str = entry(is_text, "the name of an extension")
    axes: tuple[str, ...] = entry(_are_axes, f"{', '.join(_AXES)}, in the order of the array")
    date: str | None = entry(is_text, "a keyword", None)
    unknown_orientation: tuple[int, int] | None = entry(_are_two_numbers, "two numbers", None)
    status: str | None = entry(is_text, "a place such as meta.step.dq_init", None)

    @property
    def order(self) -> tuple[int, ...]:
        """The numbers of the axes integration, group, y and x in the array."""
        return tuple(map(self.axes.index, _AXES))


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; its fields are those of the TOML file (docs: Add an instrument).

    `keywords` leads from CRDS' parkeys to FITS keywords, `detectors` is by canonical name, and
    `do_not_use` names the flags with which new masks set DO_NOT_USE.
    """

    name: str = entry(is_text, "a text")
    telescope: str = entry(is_text, "a text")
    observatory: str = entry(is_text, "a text")
    reftype: str = entry(is_text, "a text")
    keywords: Mapping[str, str] = table_entry(_keywords)
    detectors: Mapping[str, Detector] = table_entry(_detectors)
    other_observatories: tuple[Observatory, ...] = table_entry(
        partial(read_tables, Observatory), ()
    )
    recipe: Recipe = table_entry(_recipe, Recipe())
    guide_windows: GuideWindowSource | None = table_entry(
        partial(read_table, GuideWindowSource), None
    )
    read_number_column: str = entry(is_text, "a text", "READ_NO")
    limits: Limits = table_entry(partial(read_table, Limits), Limits())
    do_not_use: tuple[str, ...] = table_entry(_do_not_use, ())
    layouts: tuple[Layout, ...] = table_entry(partial(read_tables, Layout), ())

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


def _check_layouts(described: Instrument, file: str) -> None:
    """Refuse layouts whose reads or flags would be taken for something else in a file."""
    detectors = described.detectors.values()
    names_of_flags = {one.pixel_flags for one in detectors}
    names_of_flags |= {frame.pixel_flags or "" for one in detectors for frame in one.frames}
    used = _OUR_EXTENSIONS | set(map(str.upper, names_of_flags))
    for layout in described.layouts:
        names = (layout.data.strip().upper(), layout.flags.strip().upper())
        if names[0] == names[1] or not used.isdisjoint(names):
            raise ConfigError(
                f"has data = {layout.data!r} and flags = {layout.flags!r}; expected two names, and "
                f"none of {', '.join(sorted(used - {''}))}",
                where=inside(file, f"layouts.{layout.name}"),
            )


def parse(text: str, file: str) -> Instrument:
    """Return the instrument that a TOML text describes; ConfigError names `file` and field."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", where=file) from error
    described: Instrument = read_table(Instrument, table, file)
    _check_layouts(described, file)
    for other in described.other_observatories:
        for name, there in other.detectors.items():
            detector = described.detectors.get(name)
            if detector is None or there not in (name, *detector.aliases):
                raise ConfigError(
                    f"has {name} = {there!r}; expected a detector and one of its aliases",
                    where=inside(file, f"other_observatories.{other.name}.detectors"),
                )
    return described
