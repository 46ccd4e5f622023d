"""The files that describe instruments: ours, and those of folders of the user's."""

import functools
import os
from pathlib import Path

from tmt_dq.errors import ConfigError
from tmt_dq.instruments.description import Instrument, parse

VARIABLE = "TMT_DQ_INSTRUMENTS"
"""Names folders with more descriptions, as PATH names folders with programs."""


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
