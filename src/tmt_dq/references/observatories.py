"""Observatories as crds wants them: the modules ``crds.<observatory>``, built from data.

crds looks up the same names in each observatory's package: what instruments and types there are,
how files are named and where they lie, which keywords mean the same, which checks apply. The names
of the members are crds' own: ``crds.jwst`` and ``crds.roman`` have the same ones.
"""

import functools
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tmt_dq import instruments

_FOLDER = Path(__file__).parent / "observatories"
_GENERIC = _FOLDER / "generic"
_DATE, _TIME = "META.OBSERVATION.DATE", "META.OBSERVATION.TIME"


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

    @property
    def dates(self) -> tuple[str, ...]:
        """The parkeys of date and time: one whose FITS keywords are two, or one for each."""
        both = (parkey for parkey, words in self.keywords.items() if " " in words)
        return tuple(both) or (_DATE, _TIME)


def available() -> tuple[str, ...]:
    """Return the observatories of the instruments that are described.

    crds takes an instrument to be of the first one that has it: those that serve an instrument of
    another observatory come last.
    """
    described = [instruments.load(name) for name in instruments.available()]
    names = sorted(name for each in described for name in each.observatories)
    others = {name for each in described for name in each.observatories[1:]}
    return tuple(dict.fromkeys(sorted(names, key=others.__contains__)))


def load(name: str) -> Observatory:
    """Return the description of an observatory, one of `available`."""
    return _load(name, instruments.available())


@functools.cache
def _load(name: str, described: tuple[str, ...]) -> Observatory:
    folder = _FOLDER / name if (_FOLDER / name).is_dir() else _GENERIC
    own = [
        instrument.under(name)
        for instrument in map(instruments.load, described)
        if name in instrument.observatories
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


class ObservatoryModule(ModuleType):
    """The package ``crds.<observatory>``."""

    def __init__(self, observatory: Observatory, crds: Any) -> None:
        name = f"crds.{observatory.name}"
        super().__init__(name, f"The observatory {observatory.name}, described by tmt-dq.")
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []
        # refactor2 looks for prototypes of rules next to this file.
        self.__file__ = str(observatory.folder / "__init__.py")
        self.HERE = str(observatory.folder)
        self.OBSERVATORY = observatory.name
        # "all" is how crds' .tpn files address every instrument; crds.jwst has it as well.
        self.INSTRUMENTS = ["all", *observatory.instruments]
        self.FILEKINDS = ["all", *sorted(observatory.filekinds)]
        self.TEXT_DESCR = {"all": "All types", **observatory.filekinds}
        self.INSTRUMENT_FIXERS: dict[str, str] = {}
        self.PROVENANCE_KEYWORDS = ("DESCRIP", "PEDIGREE", "USEAFTER", "HISTORY", "AUTHOR")
        self.USEAFTER_KEYWORDS = observatory.dates
        self.DEFAULT_SELECTORS = ("Match", "UseAfter")
        reftypes = crds.core.reftypes
        kinds = {
            kind: {"filekind": kind, "filetype": kind, "suffix": kind, "text_descr": text}
            for kind, text in self.TEXT_DESCR.items()
        }
        specs = {
            instrument: {
                kind: reftypes.TypeSpec({"instrument": instrument, **values})
                for kind, values in kinds.items()
            }
            for instrument in self.INSTRUMENTS
        }
        self.TYPES = reftypes.TypeParameters(self.OBSERVATORY, specs)


class LocateModule(ModuleType):
    """The module ``crds.<observatory>.locate``."""

    def __init__(self, package: ObservatoryModule, observatory: Observatory, crds: Any) -> None:
        name = f"{package.__name__}.locate"
        super().__init__(name, f"Names and places of the files of {observatory.name}.")
        self.__spec__ = ModuleSpec(name, None)
        self.HERE = package.HERE
        self.INSTRUMENTS = package.INSTRUMENTS
        self.FILEKINDS = package.FILEKINDS
        self.TYPES = types = package.TYPES
        self.get_all_tpninfos = types.get_all_tpninfos
        self._observatory = observatory
        self._crds = crds

    def tpn_path(self, name: str) -> str:
        """Return where a .tpn file is."""
        return str(self._observatory.folder / "tpns" / name)

    def get_extra_tpninfos(self, path: str) -> list[Any]:
        """Return checks beside those of .tpn files: none."""
        return []

    def project_check(self, path: str, rmap: Any = None) -> None:
        """Do the observatory's own checks: there are none."""

    def match_context_key(self, key: str) -> str:
        """Return a key in the case in which rules have it."""
        return key.upper()

    def fits_to_parkeys(self, header: Mapping[str, Any]) -> dict[str, str]:
        """Return a header under the names that rules use."""
        found = {str(key).upper(): str(value) for key, value in header.items()}
        for parkey, words in self._observatory.keywords.items():
            values = [found[word] for word in words.split() if word in found]
            if len(values) == len(words.split()):
                found[parkey] = " ".join(values)
        return found

    def get_cross_strapped_pairs(self, header: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return pairs of names that mean the same, in both directions."""
        pairs = self._observatory.keywords.items()
        return [pair for parkey, fits in pairs for pair in ((parkey, fits), (fits, parkey))]

    def reference_keys_to_dataset_keys(
        self, rmapping: Any, header: dict[str, Any]
    ) -> dict[str, Any]:
        """Return a reference's header as rules see it: USEAFTER becomes the date and time."""
        header = dict(header)
        for source, target in self.get_cross_strapped_pairs(header):
            if header.get(source, "UNDEFINED") != "UNDEFINED":
                header.setdefault(target, header[source])
        keywords = self._observatory.keywords
        if header.get("USEAFTER", "UNDEFINED") != "UNDEFINED":
            name = header.get("FILENAME") or rmapping.filename
            useafter = self._crds.timestamp.reformat_useafter(name, header)
            dates = self._observatory.dates
            values = useafter.split() if len(dates) > 1 else [useafter]
            for parkey, value in zip(dates, values, strict=True):
                header[parkey] = header[keywords.get(parkey, parkey)] = value
        return header

    def condition_matching_header(self, rmapping: Any, header: dict[str, Any]) -> dict[str, Any]:
        """Return a header ready for insertion into rules: as it is."""
        return dict(header)

    def header_to_reftypes(self, header: Mapping[str, Any], context: str = "") -> list[str]:
        """Return the types that an exposure needs: an empty list, for all that the rules have."""
        return []

    def filekind_to_keyword(self, filekind: str) -> str:
        """Return the keyword that records a type's file: R_MASK."""
        return f"R_{filekind.upper()[:6]}"

    def get_env_prefix(self, instrument: str) -> str:
        """Return what precedes a file's name in that keyword."""
        return "crds://"

    def get_file_properties(self, filename: str) -> tuple[str, str]:
        """Return the instrument and the type of a mapping or reference."""
        found = self._properties_of_name(filename)
        if found is not None:
            return found
        if filename.endswith((".pmap", ".imap", ".rmap")):
            mapping = self._crds.rmap.fetch_mapping(filename, ignore_checksum=True)
            return getattr(mapping, "instrument", ""), getattr(mapping, "filekind", "")
        header = self._crds.data_file.get_free_header(filename, (), None, self._observatory.name)
        instrument = str(header.get("META.INSTRUMENT.NAME", header.get("INSTRUME", ""))).lower()
        filekind = str(header.get("META.REFTYPE", header.get("REFTYPE", ""))).lower()
        for value, known, keyword in (
            (instrument, self.INSTRUMENTS, "INSTRUME"),
            (filekind, self.FILEKINDS, "REFTYPE"),
        ):
            if value not in known:
                raise self._crds.exceptions.CrdsNamingError(
                    f"{filename}: {keyword} is {value.upper()!r}; expected one of "
                    f"{', '.join(name.upper() for name in known)}"
                )
        return instrument, filekind

    def _properties_of_name(self, filename: str) -> tuple[str, str] | None:
        """Read ``<observatory>_<instrument>_<type>_<serial>.<extension>``, if it is such a name."""
        path = Path(filename)
        parts = path.stem.split("_")
        if parts[-1].isdigit():
            parts.pop()
        expected = {".pmap": 1, ".imap": 2}.get(path.suffix, 3)
        if len(parts) != expected or parts[0] != self._observatory.name:
            return None
        instrument, filekind = [*parts[1:], "", ""][:2]
        is_known = instrument in ("", *self.INSTRUMENTS) and filekind in ("", *self.FILEKINDS)
        return (instrument, filekind) if is_known else None

    def locate_file(
        self, name: str, mode: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> str:
        """Return a reference's place in the cache, where it is or would be; never uses a server."""
        base = os.path.basename(name)  # noqa: PTH119 (crds passes and expects strings)
        properties = self._properties_of_name(base)
        own = self._observatory.instruments
        likely = own if properties is None else (properties[0], *own)
        folders = [self.locate_dir(instrument, mode) for instrument in likely]
        folders += [self.locate_dir(likely[0], other) for other in ("instrument", "flat")]
        paths = [Path(folder) / base for folder in folders]
        return str(next((path for path in paths if path.exists()), paths[0]))

    def locate_dir(self, instrument: str, mode: str | None = None) -> str:
        """Return the folder of an instrument's references."""
        config = self._crds.config
        mode = mode or config.get_crds_ref_subdir_mode(self._observatory.name)
        config.check_crds_ref_subdir_mode(mode)
        root = config.get_crds_refpath(self._observatory.name)
        return str(Path(root) / instrument.lower()) if mode == "instrument" else str(root)
