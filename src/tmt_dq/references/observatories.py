"""Descriptions of observatories for crds, read from data: instruments, types and keywords."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq import instruments

__all__ = ["Observatory", "available", "load"]

_FOLDER = Path(__file__).parent / "observatories"
_GENERIC = _FOLDER / "generic"


@dataclass(frozen=True, slots=True)
class Observatory:
    """One observatory.

    `name` is CRDS' in lower case, `folder` has its ``substitutions.dat`` and ``tpns``,
    `instruments` are names in lower case, `filekinds` the types of reference files with their
    descriptions, `keywords` lead from CRDS parkey to FITS keyword.
    """

    name: str
    folder: Path
    instruments: tuple[str, ...]
    filekinds: Mapping[str, str]
    keywords: Mapping[str, str]


@functools.cache
def available() -> tuple[str, ...]:
    """Return the observatories of the instruments that are described."""
    found = (instruments.load(name).observatory for name in instruments.available())
    return tuple(sorted(set(found)))


@functools.cache
def load(name: str) -> Observatory:
    """Return the description of an observatory, one of `available`."""
    folder = _FOLDER / name
    tables = [_read(_GENERIC)]
    if folder.is_dir():
        tables.append(_read(folder))
    else:
        folder = _GENERIC
    own = [
        instrument
        for instrument in map(instruments.load, instruments.available())
        if instrument.observatory == name
    ]
    filekinds = {instrument.reftype: "Bad-pixel mask" for instrument in own}
    keywords: dict[str, str] = {}
    for table in tables:
        filekinds |= table.get("filekinds", {})
        keywords |= table.get("keywords", {})
    for instrument in own:
        keywords |= instrument.keywords
    return Observatory(
        name=name,
        folder=folder,
        instruments=tuple(sorted(instrument.name.lower() for instrument in own)),
        filekinds=filekinds,
        keywords=keywords,
    )


def _read(folder: Path) -> dict[str, Any]:
    """Return the tables of a folder's observatory.toml."""
    return tomllib.loads((folder / "observatory.toml").read_text("utf-8"))
