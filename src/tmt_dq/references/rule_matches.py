"""The rules of an rmap, one by one: which one selected a reference, or came nearest to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import le
from typing import Any

from tmt_dq.tables import Table, as_lines

__all__ = ["Rule", "RuleCheck", "checks_table", "describe", "list_rules", "winner"]

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


def list_rules(selector: Any, parkeys: Sequence[Any], selectors: Any) -> tuple[Rule, ...]:
    """Return the rules of a selector.

    `selectors` is the module ``crds.core.selectors``, whose matchers decide, and `parkeys` the
    rmap's: for each level of selectors one name or a tuple.
    """
    names = (parkeys[0],) if isinstance(parkeys[0], str) else tuple(parkeys[0])
    is_match = isinstance(selector, selectors.MatchSelector)
    level = _match_keys(selector, names, selectors) if is_match else _date_keys(selector, names)
    rules: list[Rule] = []
    for keys, choice in level:
        if isinstance(choice, str):
            rules.append(Rule(keys, choice))
        else:
            deeper = list_rules(choice, parkeys[1:], selectors)
            rules += (Rule((*keys, *rule.keys), rule.leads_to) for rule in deeper)
    return tuple(rules)


def _match_keys(
    selector: Any, names: tuple[str, ...], selectors: Any
) -> Iterator[tuple[tuple[_Key, ...], Any]]:
    for raw, choice in zip(selector.raw_keys(), selector.raw_choices(), strict=True):
        # The rules as written say GENERIC where, after substitution, they mean N/A: anything.
        meant = selector.condition_key(next(iter(selector.do_substitutions({raw: None}))))
        keys = []
        for name, value, shown in zip(names, meant, selector.condition_key(raw), strict=True):
            exact = value not in ("N/A", "*")
            required = shown if exact else f"{shown} (any)"
            matches = partial(_matches, selectors.matcher(value))
            keys.append(_Key(name, (name,), required, exact, matches))
        yield tuple(keys), choice


def _matches(matcher: Any, value: str) -> bool:
    """Return whether a crds matcher accepts a value: 1 means yes, 0 "does not matter", -1 no."""
    return bool(matcher.match(value) >= 0)


def _date_keys(selector: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[_Key, ...], Any]]:
    for start, choice in zip(selector.keys(), selector.choices(), strict=True):
        yield (_Key("USEAFTER", names, f"{start} or later", True, partial(le, start)),), choice


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
