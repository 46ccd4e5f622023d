"""Recipes: which finders run, with which thresholds, on how much data; one TOML file each."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tmt_dq.calibration.finders import Finder, known_finders
from tmt_dq.calibration.maps import MapsSettings
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.options import Option
from tmt_dq.errors import ConfigError, UnknownFlagError

_LIMITS: dict[str, tuple[int, float | None]] = {
    "mesh_pixels": (1, None),
    "linearity_parts": (1, None),
    "ipc_coupling": (0, 0.1),
}
"""Least and largest values in the tables of a recipe; all others are numbers from 0."""
_FRACTION = Option(help="", kind=float, minimum=0, maximum=1, unit="at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLimits:
    """What darks and flats must be; the table ``inputs`` of a recipe."""

    minimum_darks: int = 5  # one must not decide: cosmic rays are in each
    minimum_flats: int = 3
    minimum_dark_reads: int = 10
    minimum_flat_reads: int = 6
    maximum_dark_dn: float = 500.0  # signal of the median pixel, from the first to the last read
    minimum_flat_dn: float = 1000.0
    maximum_saturated_fraction: float = 0.01  # of a flat's pixels; more of a long flat's may
    maximum_threshold_noise: float = 0.2  # of the median dark rate, in units of warm pixels' limit


@dataclass(frozen=True)
class MaskRecipe:
    """How a mask is made of darks and flats."""

    name: str
    inputs: InputLimits
    statistics: MapsSettings
    finders: Mapping[str, tuple[Finder, Mapping[str, Any]]]  # those that run; all their parameters
    maximum_fractions: Mapping[str, float]  # of the pixels, that each finder may flag
    do_not_use: str | tuple[str, ...]  # flags that set DO_NOT_USE: "instrument", "keep", names
    due_fraction: float = 1e-5  # of the pixels, whose DO_NOT_USE changes: a delivery is due

    def describe(self) -> list[str]:
        """Return every threshold, a line a table: ``warm: minimum_rate_e_per_s=0.1 …``."""
        tables: dict[str, Mapping[str, Any]] = {
            "inputs": dataclasses.asdict(self.inputs),
            "statistics": dataclasses.asdict(self.statistics),
        }
        tables |= {
            name: {**parameters, "maximum_fraction": self.maximum_fractions[name]}
            for name, (_, parameters) in self.finders.items()
        }
        return [
            f"{name}: {' '.join(f'{key}={value}' for key, value in values.items())}"
            for name, values in tables.items()
        ]


def load_recipe(name: str | Path) -> MaskRecipe:
    """Return a recipe by the name of one of ours (``iris``), or from a TOML file.

    ConfigError, which names file and field, where there is none or it is not understood.
    """
    text, where = _read(name)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}", where=where) from error
    unknown = set(table) - {"name", "do_not_use", "due_fraction", "inputs", "statistics", "finders"}
    if unknown:
        raise ConfigError(f"has the unknown field {', '.join(sorted(unknown))}", where=where)
    title = table.get("name")
    if not isinstance(title, str) or not title.strip():
        raise ConfigError(f"name is {title!r}; expected a text", where=where)
    due = _FRACTION.check(
        "due_fraction", table.get("due_fraction", MaskRecipe.due_fraction), where=where
    )
    finders, fractions = _finders(table.get("finders"), where)
    return MaskRecipe(
        name=title,
        inputs=InputLimits(**_fields(table.get("inputs", {}), InputLimits, f"{where}[inputs]")),
        statistics=MapsSettings(
            **_fields(table.get("statistics", {}), MapsSettings, f"{where}[statistics]")
        ),
        finders=finders,
        maximum_fractions=fractions,
        do_not_use=_policy(table.get("do_not_use", "instrument"), where),
        due_fraction=float(due),
    )


def _read(name: str | Path) -> tuple[str, str]:
    folder = resources.files(__package__).joinpath("recipes")
    own = {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir()}
    if str(name).lower() in own:
        return own[str(name).lower()].read_text("utf-8"), f"recipe {str(name).lower()}"
    try:
        return Path(name).read_text("utf-8"), str(name)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "is neither a recipe of tmt-dq nor a TOML file that can be read; expected "
            f"{', '.join(sorted(own))}, or the name of a file",
            where=name,
        ) from error


def _finders(
    table: Any, where: str
) -> tuple[dict[str, tuple[Finder, Mapping[str, Any]]], dict[str, float]]:
    """Return the finders that a recipe names, with their parameters, and the largest fractions."""
    if not isinstance(table, dict):
        raise ConfigError("has no table finders; expected one for each finder", where=where)
    finders: dict[str, tuple[Finder, Mapping[str, Any]]] = {}
    fractions: dict[str, float] = {}
    known = known_finders()
    for name, values in table.items():
        if name not in known or not isinstance(values, dict):
            raise ConfigError(
                f"there is no finder {name}; found {', '.join(known)}", where=f"{where}[finders]"
            )
        place, parameters = f"{where}[finders.{name}]", dict(values)
        fraction = parameters.pop("maximum_fraction", 1.0)
        fractions[name] = float(_FRACTION.check("maximum_fraction", fraction, where=place))
        finders[name] = known[name], known[name].check(parameters, where=place)
    return finders, fractions


def _fields(table: Any, kind: type, where: str) -> dict[str, Any]:
    """Return the fields of a settings class that a table has; their types are their defaults'."""
    defaults: dict[str, Any] = {entry.name: entry.default for entry in dataclasses.fields(kind)}
    if not isinstance(table, dict):
        raise ConfigError(f"is {table!r}; expected a table", where=where)
    unknown = ", ".join(set(table) - set(defaults))
    if unknown:
        known = ", ".join(defaults)
        raise ConfigError(f"has the unknown field {unknown}; known are {known}", where=where)
    checked = {}
    for name, value in table.items():
        number = type(defaults[name])
        least, most = _LIMITS.get(name, (0, None))
        unit = f"at most {most}" if most else ""
        option = Option(help="", kind=number, minimum=least, maximum=most, unit=unit)
        checked[name] = number(option.check(name, value, where=where))
    return checked


def _policy(value: Any, where: str) -> str | tuple[str, ...]:
    """Return which flags set DO_NOT_USE."""
    if value in ("instrument", "keep"):
        return str(value)
    if not isinstance(value, list):
        raise ConfigError(
            f"do_not_use is {value!r}; expected instrument, keep, or a list of flags", where=where
        )
    try:
        return PIXEL.decode(PIXEL.encode(map(str, value)))
    except UnknownFlagError as error:
        raise ConfigError(error.what, where=f"{where}[do_not_use]") from error
