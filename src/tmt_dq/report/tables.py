"""Reports as headings and tables: what the command line prints, pages show and Python returns."""

import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HIDDEN", "Report", "Table", "number", "share"]

HIDDEN: dict[str, Any] = {"hidden": True}
"""Metadata of a field that is kept for further work but is no part of the report."""

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a report.

    Parameters
    ----------
    title : str
        What it is about.
    header : tuple of str
        Names of the columns.
    rows : tuple of tuple of str
        The cells.
    right : tuple of int
        Columns to align right: numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()


class Report:
    """A result that can be printed, shown in a notebook and written as JSON."""

    def headline(self) -> Sequence[str]:
        """Return what to say before the tables, a line each."""
        raise NotImplementedError

    def tables(self) -> Sequence[Table]:
        """Return the tables."""
        raise NotImplementedError

    def to_dict(self) -> Plain:
        """Return the report as dictionaries, lists, text and numbers, ready for JSON."""
        plain: Plain = _plain(self)
        return plain

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        first, *others = self.headline()
        parts = [f"<p><strong>{html.escape(first)}</strong></p>"]
        parts += [f"<p>{html.escape(line)}</p>" for line in others]
        parts += [_table_html(table) for table in self.tables()]
        return f"<div>{''.join(parts)}</div>"


def number(value: int) -> str:
    """Return a number with its thousands separated."""
    return f"{value:,}"


def share(fraction: float) -> str:
    """Return a fraction as per cent."""
    return f"{100 * fraction:.3f} %"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not field.metadata.get("hidden")
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _table_html(table: Table) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align:{"right" if place in table.right else "left"}">'
            f"{html.escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows)
    return (
        f"<table><caption>{html.escape(table.title)}</caption>"
        f"<thead><tr>{row('th', table.header)}</tr></thead><tbody>{body}</tbody></table>"
    )
