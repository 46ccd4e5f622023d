"""A context's rules for one type of reference, loaded into the private engine of crds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.errors import SelectionError
from tmt_dq.instruments import Instrument
from tmt_dq.references import rule_files
from tmt_dq.references.adapter import registered_engine
from tmt_dq.references.explain import Rule, list_rules
from tmt_dq.references.rule_files import NOT_APPLICABLE, SPECIAL_VALUES, RuleFile, Stamp

__all__ = ["Rules", "load_rules", "read_chain"]

_MAX_CACHED = 32


@dataclass(frozen=True, slots=True)
class Rules:
    """What a context says of one instrument's references of one type.

    Parameters
    ----------
    context : str
        Name of the .pmap.
    stamps : tuple
        The files that were read; see `is_current`.
    imap, rmap : crds mappings or None
        None if the rules say N/A before they get there.
    rules : tuple of Rule
        The rmap's, one by one.
    crds_version : str
        Version of crds.
    """

    context: str
    stamps: tuple[Stamp, ...]
    imap: Any
    rmap: Any
    rules: tuple[Rule, ...]
    crds_version: str

    @property
    def is_current(self) -> bool:
        """Whether all files are still as they were."""
        return all(rule_files.stamp(Path(stamp[0])) == stamp for stamp in self.stamps)


_CACHE: dict[tuple[Path, str, str, str, bool], Rules] = {}


def load_rules(
    mappings: Path, context: str, instrument: Instrument, reftype: str, *, verify_sums: bool
) -> Rules:
    """Return a context's rules, from this process' memory if its files did not change.

    Parameters
    ----------
    mappings : Path
        The folder with the .pmap, .imap and .rmap files.
    context : str
        Name of the .pmap.
    instrument : Instrument
        The instrument.
    reftype : str
        Type of reference, in lower case.
    verify_sums : bool
        Whether the files' sha1sums must be right.

    Returns
    -------
    Rules
        The rules.

    Raises
    ------
    SelectionError
        Raised if a file is missing, is not plain rules, or does not know the instrument or type.
    """
    key = (mappings, context, instrument.name, reftype, verify_sums)
    rules = _CACHE.get(key)
    if rules is None or not rules.is_current:
        rules = _load(mappings, context, instrument, reftype, verify_sums=verify_sums)
        while len(_CACHE) >= _MAX_CACHED:
            _CACHE.pop(next(iter(_CACHE)), None)
        _CACHE[key] = rules
    return rules


def read_chain(
    mappings: Path, context: str, instrument: Instrument, reftype: str, *, verify_sums: bool
) -> tuple[RuleFile, ...]:
    """Read and examine the files that lead from a context to the rules of one type.

    Parameters
    ----------
    mappings, context, instrument, reftype, verify_sums
        As for `load_rules`.

    Returns
    -------
    tuple of RuleFile
        The .pmap, .imap and .rmap; fewer if the rules say N/A before they get there.

    Raises
    ------
    SelectionError
        Raised as by `load_rules`.
    """
    read: list[RuleFile] = []
    name = context
    for key in (instrument.name, reftype.upper(), None):
        file = rule_files.read_rule_file(mappings / name, verify_sums=verify_sums)
        _check_belongs(file, instrument, reftype)
        read.append(file)
        if key is not None:
            name = _follow(file, key)
            if name.upper() in NOT_APPLICABLE:
                break
    return tuple(read)


def _load(
    mappings: Path, context: str, instrument: Instrument, reftype: str, *, verify_sums: bool
) -> Rules:
    engine = registered_engine()
    rmap_module = engine.load("crds.core.rmap")
    chain = read_chain(mappings, context, instrument, reftype, verify_sums=verify_sums)
    read = {file.path.name: file for file in chain}

    def load(name: str, **keys: Any) -> Any:
        """Give crds a mapping made of the text that was examined (crds calls this as well)."""
        classes = {
            ".pmap": rmap_module.PipelineContext,
            ".imap": rmap_module.InstrumentContext,
            ".rmap": rmap_module.ReferenceMapping,
        }
        file = read[name]
        # The sum was verified, more strictly than crds does; it must not do so again.
        keys["ignore_checksum"] = True
        return classes[file.path.suffix].from_string(file.text, name, **keys)

    def result(imap: Any = None, rmap: Any = None) -> Rules:
        files = tuple(file.stamp for file in read.values())
        parkeys = () if rmap is None else read[rmap.basename].header["parkey"]
        selectors = engine.load("crds.core.selectors")
        rules = () if rmap is None else list_rules(rmap.selector, parkeys, selectors)
        return Rules(context, files, imap, rmap, rules, engine.version)

    if chain[-1].path.suffix != ".rmap":
        return result()
    try:
        pipeline = load(context, loader=load)
        imap = pipeline.get_imap(instrument.name)
        return result(imap, imap.get_rmap(reftype))
    except (Exception, SystemExit) as error:
        # crds raises what comes: assertions, KeyError, its own errors; and it may end the process.
        raise SelectionError(
            f"crds cannot use these rules ({type(error).__name__}: {error})",
            where=mappings / context,
            hint="Examine them with: tmt-dq crds certify",
        ) from error


def _follow(file: RuleFile, key: str) -> str:
    """Return the file that a .pmap or .imap has for an instrument or type, or N/A."""
    name = file.files.get(key.upper())
    if name is None or name.upper() in SPECIAL_VALUES - NOT_APPLICABLE:
        found = "no entry" if name is None else repr(name)
        raise SelectionError(
            f"these rules have {found} for {key.upper()}; they are for "
            f"{', '.join(sorted(file.files))}",
            where=file.path,
            hint="Choose another context, or give a mask yourself (--mask FILE).",
        )
    return name


def _check_belongs(file: RuleFile, instrument: Instrument, reftype: str) -> None:
    """Check that a file of rules is for what it was taken for: crds does not."""
    expected = {"observatory": instrument.observatory}
    if file.path.suffix != ".pmap":
        expected["instrument"] = instrument.name
    if file.path.suffix == ".rmap":
        expected["filekind"] = reftype
    for key, value in expected.items():
        found = str(file.header.get(key, "missing"))
        if found.upper() != value.upper():
            raise SelectionError(
                f"its header says {key} {found!r}, but the rules use it for {value.upper()!r}",
                where=file.path,
                hint="Mend the rules, or choose another context.",
            )
