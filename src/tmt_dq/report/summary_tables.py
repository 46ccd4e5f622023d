"""The tables of a summary."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tmt_dq.report.areas import Area, BadLine
from tmt_dq.tables import Table, flag_table, number, share

if TYPE_CHECKING:
    from tmt_dq.report.summary import Summary

__all__ = ["summary_tables"]

_MAX_LINES = 20
"""How many bad rows or columns a table lists; JSON has all."""


def summary_tables(summary: "Summary") -> Sequence[Table]:
    """Return flags, areas, clusters and bad lines as tables; empty ones are left out."""
    lines = [
        ("row", summary.bad_rows),
        ("column", summary.bad_columns),
    ]
    tables = [
        _flags(summary),
        _areas("Quadrants", summary.quadrants),
        _areas("Readout channels", summary.channels),
        _sizes(summary),
        _largest(summary),
        *(_lines(name, found, summary.line_fraction) for name, found in lines),
    ]
    return [table for table in tables if table.rows]


def _flags(summary: "Summary") -> Table:
    counts = {flag.name: flag.pixels for flag in summary.flags} | {"GOOD": summary.good}
    together = {flag.name: number(flag.do_not_use) for flag in summary.flags}
    return flag_table(counts, summary.pixels, {"with DO_NOT_USE": together})


def _areas(title: str, areas: Sequence[Area]) -> Table:
    return Table(
        title,
        ("area", "pixels", "flagged", "defects", "share", "DO_NOT_USE", "detector pixels"),
        tuple(
            (
                area.name,
                number(area.pixels),
                number(area.flagged),
                number(area.defects),
                share(area.fraction),
                number(area.do_not_use),
                area.place,
            )
            for area in areas
        ),
        (1, 2, 3, 4, 5),
    )


def _sizes(summary: "Summary") -> Table:
    rows = [
        (size.label, number(size.clusters), number(size.pixels)) for size in summary.cluster_sizes
    ]
    return Table(
        f"Clusters of defects ({summary.connectivity} neighbours): {number(summary.clusters)}",
        ("size", "clusters", "pixels"),
        tuple(rows),
        (0, 1, 2),
    )


def _largest(summary: "Summary") -> Table:
    return Table(
        "Largest clusters (1-based detector pixels)",
        ("pixels", "x", "y", "width", "height"),
        tuple(
            tuple(map(number, (found.pixels, found.x, found.y, found.width, found.height)))
            for found in summary.largest_clusters
        ),
        (0, 1, 2, 3, 4),
    )


def _lines(name: str, lines: Sequence[BadLine], limit: float) -> Table:
    rows = [(f"{line.position}", number(line.defects), share(line.fraction)) for line in lines]
    title = f"Bad {name}s (at least {100 * limit:g} % defects): {len(lines)}"
    if len(rows) > _MAX_LINES:
        title += f", the first {_MAX_LINES}"
    return Table(title, (name, "defects", "share"), tuple(rows[:_MAX_LINES]), (0, 1, 2))
