"""Descriptions of observatories for crds, read from data: instruments, types and keywords."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    if not folder.is_dir():
        folder = _GENERIC
    own = [
        instrument
        for instrument in map(instruments.load, instruments.available())
        if instrument.observatory == name
    ]
    filekinds = {instrument.reftype: "Bad-pixel mask" for instrument in own}
    keywords: dict[str, str] = {}
    for source in dict.fromkeys((_GENERIC, folder)):
        table = tomllib.loads((source / "observatory.toml").read_text("utf-8"))
        filekinds |= table.get("filekinds", {})
        keywords |= table.get("keywords", {})
    for instrument in own:
        keywords |= instrument.keywords
    names = tuple(sorted(instrument.name.lower() for instrument in own))
    return Observatory(name, folder, names, filekinds, keywords)
