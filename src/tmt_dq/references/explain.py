"""Which rule selected a reference, or what rules there are if none did."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import le
from typing import Any

from tmt_dq.tables import Table, as_lines

__all__ = ["Rule", "RuleCheck", "list_rules", "table", "winner"]

_MAX_LISTED = 12
"""How many rules an error message lists."""


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """One key of a rule: what the rule required, and what the exposure had.

    Parameters
    ----------
    parkey : str
        The key, in the rules' words: ``META.INSTRUMENT.DETECTOR``; USEAFTER for the date.
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
    """One key of a rule, ready to be checked."""

    parkey: str
    sources: tuple[str, ...]
    required: str
    exact: bool
    matches: Callable[[str], bool]

    def check(self, header: Mapping[str, str]) -> RuleCheck:
        found = " ".join(header.get(source, "UNDEFINED") for source in self.sources)
        return RuleCheck(self.parkey, self.required, found, self.matches(found))


@dataclass(frozen=True, slots=True)
class Rule:
    """One path through an rmap: its keys, and the file or special value at its end."""

    keys: tuple[_Key, ...]
    leads_to: str

    def check(self, header: Mapping[str, str]) -> tuple[RuleCheck, ...]:
        """Return the rule's keys, compared with an exposure's parameters."""
        return tuple(key.check(header) for key in self.keys)


def list_rules(selector: Any, parkeys: Sequence[Any], selectors: Any) -> tuple[Rule, ...]:
    """Return the rules of an rmap, one by one.

    Parameters
    ----------
    selector : crds selector
        The rmap's.
    parkeys : sequence
        The rmap's parkey: for each level of selectors, one name or a tuple.
    selectors : module
        ``crds.core.selectors``.

    Returns
    -------
    tuple of Rule
        What is reached through Match and UseAfter; crds' rarer selectors are left out.
    """
    return tuple(Rule(keys, end) for keys, end in _walk(selector, parkeys, selectors))


def _walk(
    selector: Any, parkeys: Sequence[Any], selectors: Any
) -> Iterator[tuple[tuple[_Key, ...], str]]:
    names = (parkeys[0],) if isinstance(parkeys[0], str) else tuple(parkeys[0])
    if isinstance(selector, selectors.MatchSelector):
        choices = _match_keys(selector, names, selectors)
    elif type(selector) is selectors.UseAfterSelector:
        choices = _date_keys(selector, names)
    else:
        return
    for keys, choice in choices:
        if isinstance(choice, str):
            yield keys, choice
        else:
            for deeper, end in _walk(choice, parkeys[1:], selectors):
                yield (*keys, *deeper), end


def _match_keys(
    selector: Any, names: tuple[str, ...], selectors: Any
) -> Iterator[tuple[tuple[_Key, ...], Any]]:
    for raw, choice in zip(selector.raw_keys(), selector.raw_choices(), strict=True):
        # The rules as written say GENERIC where, after substitution, they mean N/A: anything.
        meant = selector.condition_key(next(iter(selector.do_substitutions({raw: None}))))
        written = selector.condition_key(raw)
        keys = tuple(
            _Key(
                parkey=name,
                sources=(name,),
                required=f"{shown} (any)" if value in ("N/A", "*") else shown,
                exact=value not in ("N/A", "*"),
                matches=partial(_matches, selectors.matcher(value)),
            )
            for name, value, shown in zip(names, meant, written, strict=True)
        )
        yield keys, choice


def _matches(matcher: Any, value: str) -> bool:
    """Tell whether a crds matcher accepts a value: it says 1 for yes, 0 for "does not matter"."""
    return bool(matcher.match(value) >= 0)


def _date_keys(selector: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[_Key, ...], Any]]:
    for start, choice in zip(selector.keys(), selector.choices(), strict=True):
        key = _Key("USEAFTER", names, f"{start} or later", exact=True, matches=partial(le, start))
        yield (key,), choice


def winner(rules: Sequence[Rule], header: Mapping[str, str], name: str) -> tuple[RuleCheck, ...]:
    """Return the keys of the rule that led crds to `name`; none if it was a rarer selector.

    Among the matching rules for the file crds takes the one with most keys that are not "any", and
    of these the latest.
    """
    best: tuple[int, str] = (-1, "")
    found: tuple[RuleCheck, ...] = ()
    for rule in rules:
        if rule.leads_to == name:
            checks = rule.check(header)
            rank = sum(key.exact for key in rule.keys), checks[-1].required if checks else ""
            if all(check.matched for check in checks) and rank > best:
                best, found = rank, checks
    return found


def table(rules: Sequence[Rule], header: Mapping[str, str]) -> str:
    """Return a table of the rule that comes nearest, and a list of what the rules cover."""
    if not rules:
        return "It has no rules of the kinds Match and UseAfter."
    checked = sorted(
        ((rule.check(header), rule.leads_to) for rule in rules),
        key=lambda one: -sum(check.matched for check in one[0]),
    )
    rows = tuple(
        (check.parkey, check.required, check.found, "yes" if check.matched else "no")
        for check in checked[0][0]
    )
    nearest = Table("", ("rule key", "required", "found", "matched"), rows)
    lines = ["The rule that comes nearest:", *(f"  {line}" for line in as_lines(nearest))]
    lines.append("The rules cover:")
    for checks, leads_to in checked[:_MAX_LISTED]:
        lines.append(f"  {', '.join(check.required for check in checks)}: {leads_to}")
    if len(checked) > _MAX_LISTED:
        lines.append(f"  and {len(checked) - _MAX_LISTED} more")
    return "\n".join(lines)
