"""What tmt-dq must know of an instrument, read from its TOML file."""

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, SelectionError

__all__ = ["Detector", "Instrument", "Limits", "available", "load"]

WILDCARDS = frozenset({"N/A", "NA", "ANY", "*", "", "UNDEFINED", "NONE"})
"""Values that CRDS' rules treat as "matches everything": never the name of a real detector."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector of an instrument.

    Parameters
    ----------
    name : str
        Canonical name: the one that the reference rules use.
    aliases : tuple of str
        Other names of the same detector.
    shape : tuple of int
        Rows and columns of the full frame.
    reference_border : int
        Width in pixels of the border of reference pixels.
    channels : int
        Readout channels of the full frame: stripes of equal width across the fast axis.
    """

    name: str
    aliases: tuple[str, ...]
    shape: tuple[int, int]
    reference_border: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What is plausible in a mask of the instrument.

    Parameters
    ----------
    flagged_fraction : float or None
        Largest fraction of the active pixels with any flag; None for no limit.
    do_not_use_fraction : float or None
        Largest fraction of the active pixels with DO_NOT_USE; None for no limit.
    """

    flagged_fraction: float | None = None
    do_not_use_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class GuideWindowSource:
    """Where an instrument's files name the windows that were read for guiding.

    Parameters
    ----------
    extension : str
        EXTNAME of a table with the columns X, Y (1-based), NX, NY and, where windows move, GROUP1
        and GROUP2 (the first and last group, 1-based).
    keywords : tuple of str
        Keywords of X, Y, NX and NY in the header, ``{n}`` standing for the window's number.
    count : int
        The highest number.
    """

    extension: str
    keywords: tuple[str, str, str, str]
    count: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument.

    Parameters
    ----------
    name, telescope : str
        INSTRUME and TELESCOP.
    observatory : str
        CRDS observatory.
    reftype : str
        CRDS type of the bad-pixel mask.
    keywords : mapping of str to str
        CRDS parkey to FITS keyword.
    detectors : mapping of str to Detector
        By canonical name.
    recipe : Recipe
        Which flag sources run unless the caller says otherwise.
    guide_windows : GuideWindowSource or None
        Where files name guide windows; None where they do not.
    read_number_column : str
        Column of a table that holds the read number of each group.
    limits : Limits
        What is plausible in a mask.
    do_not_use : tuple of str
        Flags whose pixels must not be used: new masks set DO_NOT_USE with them.
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

        Raises
        ------
        SelectionError
            Raised if `name` is a wildcard or not one of the instrument's detectors: CRDS would
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
    """Return the description of an instrument.

    Parameters
    ----------
    name : str
        Instrument name, in any case.

    Returns
    -------
    Instrument
        Its description.

    Raises
    ------
    ConfigError
        Raised if there is no such instrument.
    """
    if name.upper() not in available():
        raise ConfigError(
            f"instrument {name!r} is not known; found descriptions of {', '.join(available())}",
            hint="Correct the INSTRUME keyword of the file.",
        )
    text = resources.files(__package__).joinpath(f"{name.lower()}.toml").read_text("utf-8")
    table = tomllib.loads(text)
    guide = table.get("guide_windows")
    return Instrument(
        name=table["name"],
        telescope=table["telescope"],
        observatory=table["observatory"],
        reftype=table["reftype"],
        keywords=dict(table["keywords"]),
        recipe=_recipe(table.get("recipe", {})),
        guide_windows=None
        if guide is None
        else GuideWindowSource(guide["extension"], tuple(guide["keywords"]), guide["count"]),
        read_number_column=table.get("read_number_column", "READ_NO"),
        detectors={
            key: Detector(
                name=key,
                aliases=tuple(entry["aliases"]),
                shape=(entry["shape"][0], entry["shape"][1]),
                reference_border=entry["reference_border"],
                channels=entry.get("channels", 1),
            )
            for key, entry in table["detectors"].items()
        },
        limits=Limits(**table.get("limits", {})),
        do_not_use=tuple(table.get("do_not_use", {}).get("flags", ())),
    )


def _recipe(table: Mapping[str, object]) -> Recipe:
    """Return a recipe from its table; TOML's arrays become tuples."""
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    known = {field.name for field in dataclasses.fields(Recipe)}
    unknown = sorted(values.keys() - known)
    if unknown:
        raise ConfigError(
            f"the recipe has no {', '.join(unknown)}; expected some of {', '.join(sorted(known))}",
            where="instrument description",
        )
    return Recipe(**values)  # type: ignore[arg-type]
