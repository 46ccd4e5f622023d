"""The rules of a context for an instrument's masks: read, examined, and applied by crds.

The .pmap and the .imap only lead from one file to the next; the .rmap is given to crds as the very
text that was examined, so that nothing is read twice.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq import instruments
from tmt_dq.errors import NoMatchError, SelectionError
from tmt_dq.instruments import Instrument
from tmt_dq.references.adapter import LOCK, import_crds
from tmt_dq.references.cache import Cache, open_cache_of
from tmt_dq.references.rule_files import NOT_APPLICABLE, SPECIAL_VALUES, RuleFile, read_rule_file
from tmt_dq.references.rule_matches import Rule, RuleCheck, compile_rules, describe, winner
from tmt_dq.references.selectors import UNDEFINED

_GIVE_ONE = "Give a mask yourself (--mask FILE), or choose another context or cache."


@dataclass(frozen=True, slots=True)
class Rules:
    """What a context has for one instrument's masks.

    `rmap` is crds' object, None where the .pmap or .imap leads to N/A; `rules` are its rules.
    """

    files: tuple[RuleFile, ...]
    rmap: Any
    rules: tuple[Rule, ...]

    @property
    def context(self) -> str:
        """The name of the context."""
        return self.files[0].path.name

    def select(
        self, parameters: Mapping[str, str], where: object = None
    ) -> tuple[str | None, tuple[RuleCheck, ...]]:
        """Return the name that crds selects, None for N/A, and the rule that leads to it.

        `parameters` are an exposure's, by parkey. NoMatchError is raised if no rule matches.
        """
        if self.rmap is None:
            return None, ()
        with LOCK:
            header = self._conditioned(parameters)
            try:
                answer = self.rmap.get_best_ref(dict(header))
            except (Exception, SystemExit) as error:
                # Failed lookups come as text, below; this is a failure within crds.
                raise SelectionError(
                    f"crds cannot apply the rules ({type(error).__name__}: {error})",
                    where=self.files[-1].path,
                    hint=_GIVE_ONE,
                ) from error
            if isinstance(answer, str) and not answer.startswith("NOT FOUND"):
                return answer, winner(self.rules, header, answer)
            # crds answers n/a also where no rule matches.
            for special in NOT_APPLICABLE if answer == "NOT FOUND n/a" else ():
                checks = winner(self.rules, header, special)
                if checks:
                    return None, checks
            raise NoMatchError(
                f"no rule of {self.rmap.basename} in {self.context} matches this exposure.\n"
                f"{describe(self.rules, header)}",
                where=where,
                hint=_GIVE_ONE,
            )

    def _conditioned(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters that the rmap uses, in crds' form."""
        utils = import_crds().utils
        header: dict[str, str] = utils.condition_header(self.rmap.minimize_header(parameters))
        # crds matches a dataset's N/A or * with every rule; a rule for FULL must not be taken.
        return {
            parkey: UNDEFINED if value in ("N/A", "*") else value
            for parkey, value in header.items()
        }


def open_rules(
    crds_path: str | os.PathLike[str] | None, context: str | None, instrument: Instrument
) -> tuple[Cache, Instrument, Rules]:
    """Return the cache to use, the instrument as its rules know it, and the rules."""
    cache, instrument = open_cache_of(crds_path, instrument, context)
    try:
        rules = load_rules(cache.mappings, cache.context(context), instrument)
    except SelectionError:
        # A rollback may have taken the context away since it was chosen: look again, once.
        rules = load_rules(cache.mappings, cache.context(context), instrument)
    return cache, instrument, rules


def served(cache: Cache, context: str) -> Iterator[Instrument]:
    """Yield the instruments that a context has rules for, as it knows them."""
    files = read_rule_file(cache.mappings / context).files
    for instrument in map(instruments.load, instruments.available()):
        if cache.observatory in instrument.observatories and instrument.name.upper() in files:
            yield instrument.under(cache.observatory)


def load_rules(mappings: Path, context: str, instrument: Instrument) -> Rules:
    """Return a context's rules, from this process' memory if their files did not change.

    `mappings` is the folder of the .pmap, .imap and .rmap. SelectionError is raised if a file is
    missing, is not plain rules, or has nothing for the instrument's masks.
    """
    with LOCK:
        return _load(read_chain(mappings, context, instrument))


def read_chain(mappings: Path, context: str, instrument: Instrument) -> tuple[RuleFile, ...]:
    """Read and examine the .pmap, .imap and .rmap; fewer where the rules lead to N/A before."""
    read: list[RuleFile] = []
    name = context
    for key in (instrument.name, instrument.reftype.upper(), None):
        file = read_rule_file(mappings / name)
        _check_belongs(file, instrument)
        read.append(file)
        if key is not None:
            name = _follow(file, key)
            if name.upper() in NOT_APPLICABLE:
                break
    return tuple(read)


@functools.lru_cache(maxsize=32)
def _load(chain: tuple[RuleFile, ...]) -> Rules:
    """Give crds the text of an rmap."""
    crds = import_crds()
    file = chain[-1]
    if file.path.suffix != ".rmap":
        return Rules(chain, None, ())
    try:
        # The sum was verified, more strictly than crds does.
        rmap = crds.rmap.ReferenceMapping.from_string(
            file.text, file.path.name, ignore_checksum=True
        )
        rules = tuple(compile_rules(file, crds.selectors))
    except (Exception, SystemExit) as error:
        # crds raises what comes: assertions, KeyError, its own errors; and it may end the process.
        raise SelectionError(
            f"crds cannot use these rules ({type(error).__name__}: {error})",
            where=file.path,
            hint="Examine them with: tmt-dq crds certify",
        ) from error
    return Rules(chain, rmap, rules)


def _follow(file: RuleFile, key: str) -> str:
    """Return the file that a .pmap or .imap has for an instrument or type, or N/A."""
    name = file.files.get(key.upper())
    if name is None or name.upper() in SPECIAL_VALUES - NOT_APPLICABLE:
        found = "no entry" if name is None else repr(name)
        raise SelectionError(
            f"these rules have {found} for {key.upper()}; they are for "
            f"{', '.join(sorted(file.files))}",
            where=file.path,
            hint=_GIVE_ONE,
        )
    return name


def _check_belongs(file: RuleFile, instrument: Instrument) -> None:
    """Check that a file of rules is for what the rules above use it for: crds does not."""
    expected = {"observatory": instrument.observatory}
    if file.path.suffix != ".pmap":
        expected["instrument"] = instrument.name
    if file.path.suffix == ".rmap":
        expected["filekind"] = instrument.reftype
    for key, value in expected.items():
        found = str(file.header.get(key, "missing"))
        if found.upper() != value.upper():
            raise SelectionError(
                f"its header has {key} {found!r}, but the rules use it for {value.upper()!r}",
                where=file.path,
                hint="Repair the rules, or choose another context.",
            )
