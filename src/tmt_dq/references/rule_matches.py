"""The rules of an rmap, one by one: which one selected a reference, or came nearest to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import le
from typing import Any

from tmt_dq.references.rule_files import RuleFile
from tmt_dq.tables import Table, as_lines

_MAX_LISTED = 12
"""How many rules an error message lists."""


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """One key of a rule: what the rule required, and what the exposure had.

    Parameters
    ----------
    parkey : str
        The key, as the rules name it: ``META.INSTRUMENT.DETECTOR``; USEAFTER for the date.
    required : str
        What the rule required; "(any)" is added to a value that everything matches.
    found : str
        What the exposure had; UNDEFINED if nothing.
    matched : bool
        Whether that was enough.
    """

    parkey: str
    required: str
    found: str
    matched: bool


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of a rule, ready to be checked; `exact` if not everything matches it."""

    parkey: str
    sources: tuple[str, ...]
    required: str
    exact: bool
    matches: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One path through an rmap: its keys, and the file or special value at its end."""

    keys: tuple[_Key, ...]
    leads_to: str

    def check(self, parameters: Mapping[str, str]) -> tuple[RuleCheck, ...]:
        """Compare the rule's keys with an exposure's parameters."""
        checks = []
        for key in self.keys:
            found = " ".join(parameters.get(source, "UNDEFINED") for source in key.sources)
            checks.append(RuleCheck(key.parkey, key.required, found, key.matches(found)))
        return tuple(checks)


def compile_rules(file: RuleFile, selectors: Any) -> Iterator[Rule]:
    """Yield the rules of an rmap; `selectors` is the module of crds whose matchers decide."""
    levels = [(key,) if isinstance(key, str) else tuple(key) for key in file.header["parkey"]]
    for path, leads_to in file.rules:
        keys: list[_Key] = []
        for names, (kind, key) in zip(levels, path, strict=True):
            if kind == "UseAfter":
                keys.append(_Key("USEAFTER", names, f"{key} or later", True, partial(le, key)))
                continue
            # The rules as written say GENERIC where, after substitution, they mean N/A: anything.
            rule = selectors.MatchSelector(names, {key: leads_to}, file.header)
            (meant,), written = rule.keys(), rule.condition_key(key)
            for name, value, shown in zip(names, meant, written, strict=True):
                exact = value not in ("N/A", "*")
                required = shown if exact else f"{shown} (any)"
                matches = partial(_matches, selectors.matcher(value))
                keys.append(_Key(name, (name,), required, exact, matches))
        yield Rule(tuple(keys), leads_to)


def _matches(matcher: Any, value: str) -> bool:
    """Return whether a crds matcher accepts a value: 1 means yes, 0 "does not matter", -1 no."""
    return bool(matcher.match(value) >= 0)


def winner(
    rules: Sequence[Rule], parameters: Mapping[str, str], name: str
) -> tuple[RuleCheck, ...]:
    """Return the keys of the rule that led crds to `name`, none if there is no such rule.

    Among the matching rules for the file crds takes the one with most keys that are not "any", and
    of these the latest.
    """
    best: tuple[int, str] = (-1, "")
    found: tuple[RuleCheck, ...] = ()
    for rule in rules:
        if rule.leads_to == name:
            checks = rule.check(parameters)
            rank = sum(key.exact for key in rule.keys), checks[-1].required
            if all(check.matched for check in checks) and rank > best:
                best, found = rank, checks
    return found


def checks_table(checks: Sequence[RuleCheck]) -> Table:
    """Return the keys of a rule, with what it required and the exposure had."""
    rows = [
        (check.parkey, check.required, check.found, "yes" if check.matched else "no")
        for check in checks
    ]
    return Table("Rule", ("rule key", "required", "found", "matched"), tuple(rows))


def describe(rules: Sequence[Rule], parameters: Mapping[str, str]) -> str:
    """Return a table of the rule that comes nearest, and a list of what the rules cover."""
    if not rules:
        return "It has no rules."
    checked = sorted(
        ((rule.check(parameters), rule.leads_to) for rule in rules),
        key=lambda one: -sum(check.matched for check in one[0]),
    )
    lines = ["The rule that comes nearest:"]
    lines += (f"  {line}" for line in as_lines(checks_table(checked[0][0])))
    lines.append("The rules cover:")
    for checks, leads_to in checked[:_MAX_LISTED]:
        lines.append(f"  {', '.join(check.required for check in checks)}: {leads_to}")
    if len(checked) > _MAX_LISTED:
        lines.append(f"  and {len(checked) - _MAX_LISTED} more")
    return "\n".join(lines)
