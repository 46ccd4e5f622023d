"""How results show themselves in a notebook: as HTML, escaped and bounded, and astropy tables."""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy import table as astropy_table

__all__ = ["Table", "as_astropy", "as_html", "count_rows"]

_ROWS_SHOWN = 60
_TEXT_SHOWN = 300


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


def as_html(lines: Sequence[str], tables: Sequence[Table] = ()) -> str:
    """Return lines of text and tables as HTML for a notebook.

    Everything is escaped. Long texts are cut and long tables end with the number of rows left out,
    so that a cell's output stays small whatever a file holds.

    Parameters
    ----------
    lines : sequence of str
        What to say first; the first line is the heading.
    tables : sequence of Table
        What follows.

    Returns
    -------
    str
        One ``div``.
    """
    first, *others = lines
    parts = [f"<p><strong>{_text(first)}</strong></p>"]
    parts += [f"<p>{_text(line)}</p>" for line in others]
    parts += [_table_html(table) for table in tables]
    return f"<div>{''.join(parts)}</div>"


def count_rows(counts: Mapping[str, int], total: int) -> tuple[tuple[str, str, str], ...]:
    """Return rows of flag, pixels and share for a table of counts."""
    return tuple(
        (name, f"{count:,}", f"{100 * count / total:.3f} %" if total else "")
        for name, count in counts.items()
    )


def as_astropy(
    rows: Sequence[Any],
    columns: type | Sequence[str],
    *,
    meta: Mapping[str, Any] | None = None,
) -> "astropy_table.Table":
    """Return records as a table of astropy, numbers as numbers.

    Parameters
    ----------
    rows : sequence of dataclass instances or of tuples
        The records, all of one kind.
    columns : type or sequence of str
        Their class, whose fields are the columns; or the names of the columns of tuples.
    meta : mapping, optional
        For ``Table.meta``.

    Returns
    -------
    astropy.table.Table
        A row for each record. What is missing is masked; several values in one cell are joined
        with commas.
    """
    from astropy.table import MaskedColumn
    from astropy.table import Table as AstropyTable

    if isinstance(columns, type):
        assert dataclasses.is_dataclass(columns)
        fields = dataclasses.fields(columns)
        names = [field.name for field in fields if not field.metadata.get("hidden")]
        rows = [tuple(getattr(row, name) for name in names) for row in rows]
    else:
        names = list(columns)
    made: list[Any] = []
    for number in range(len(names)):
        cells = [_cell(row[number]) for row in rows]
        missing = [cell is None for cell in cells]
        if any(missing):
            filler = next((type(cell)() for cell in cells if cell is not None), "")
            filled = [filler if cell is None else cell for cell in cells]
            made.append(MaskedColumn(filled, mask=missing))
        else:
            made.append(cells)
    return AstropyTable(made, names=names, meta=dict(meta or {}))


def _cell(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return value


def _text(text: str) -> str:
    shown = text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 1]}…"
    return html.escape(shown)


def _table_html(table: Table) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align:{"right" if place in table.right else "left"}">'
            f"{_text(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows[:_ROWS_SHOWN])
    left_out = len(table.rows) - _ROWS_SHOWN
    if left_out > 0:
        body += f'<tr><td colspan="{len(table.header)}">… {left_out:,} more</td></tr>'
    head = f"<thead><tr>{row('th', table.header)}</tr></thead>" if any(table.header) else ""
    caption = f'<caption style="text-align:left">{_text(table.title)}</caption>'
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"
