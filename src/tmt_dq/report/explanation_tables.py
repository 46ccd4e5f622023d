"""The tables of an explanation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tmt_dq.tables import Table, number

if TYPE_CHECKING:
    from tmt_dq.report.explanation import Explanation

__all__ = ["explanation_tables"]


def explanation_tables(explanation: "Explanation") -> Sequence[Table]:
    """Return flags, sources, groups and history as tables; empty ones are left out."""
    groups = tuple(
        (flag.name, number(flag.groups), number(flag.total)) for flag in explanation.groups
    )
    tables = [
        _flags(explanation),
        _sources(explanation),
        Table("Samples in GROUPDQ", ("flag", "flagged", "of"), groups, (1, 2)),
        _history(explanation),
    ]
    return [table for table in tables if table.rows]


def _names(flags: Sequence[str]) -> str:
    return " ".join(flags) or "GOOD"


def _flags(explanation: "Explanation") -> Table:
    rows = []
    for flag in explanation.flags:
        since = ""
        if flag.since is not None:
            since = f"{flag.since}, USEAFTER {flag.since_useafter or 'unknown'}"
        rows.append((flag.name, f"{flag.value}", flag.meaning, "; ".join(flag.sources), since))
    return Table("Flags", ("flag", "value", "meaning", "set by", "since"), tuple(rows), (1,))


def _sources(explanation: "Explanation") -> Table:
    rows = []
    for source in explanation.sources:
        if source.flags is None:
            found = source.problem or "does not cover the pixel"
        else:
            found = _names(source.flags)
        rows.append((source.kind, source.origin, found))
    return Table("Sources", ("kind", "origin", "flags of this pixel"), tuple(rows))


def _history(explanation: "Explanation") -> Table:
    rows = []
    for entry in explanation.history:
        changes = [f"+{name}" for name in entry.gained] + [f"-{name}" for name in entry.lost]
        rows.append(
            (
                entry.useafter or "unknown",
                entry.name,
                entry.problem if entry.flags is None else _names(entry.flags),
                " ".join(changes),
                "yes" if entry.in_context else "no",
            )
        )
    return Table(
        f"Masks of {explanation.detector} in the cache {explanation.cache}, by USEAFTER",
        ("useafter", "mask", "flags of this pixel", "change", f"in {explanation.context}"),
        tuple((a, b, c or "", d, e) for a, b, c, d, e in rows),
    )
