"""Results as tables: plain text, HTML for notebooks, tables of astropy; and as JSON."""

import base64
import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy import table as astropy_table

HIDDEN: dict[str, Any] = {"hidden": True}
"""Metadata of a field that is kept for further work but is no part of a result."""

_ROWS_SHOWN = 60
_TEXT_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a result: title, names of columns, cells, and which columns align right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        title: str,
        header: Sequence[str],
        rows: Iterable[Sequence[str | int | float | None]],
        right: Sequence[int] = (),
    ) -> "Table":
        """Make a table of text, counts (int) and shares (float); numbers align right."""
        whole = [tuple(row) for row in rows]
        columns = enumerate(zip(*whole, strict=True))
        numbers = {
            at for at, cells in columns if any(isinstance(one, int | float) for one in cells)
        }
        shown = tuple(tuple(map(_shown, row)) for row in whole)
        return cls(title, tuple(header), shown, tuple(sorted(numbers | set(right))))


def number(value: int) -> str:
    """Return a number with its thousands separated."""
    return f"{value:,}"


def share(fraction: float) -> str:
    """Return a fraction as per cent; a single pixel is not 0 %, and all but one are not 100 %."""
    if 0 < fraction < 0.5e-5:
        return "<0.001 %"
    if 1 - 0.5e-5 < fraction < 1:
        return ">99.999 %"
    return f"{100 * fraction:.3f} %"


def flag_table(
    counts: Mapping[str, int], total: int, more: Mapping[str, Mapping[str, str | int]] | None = None
) -> Table:
    """Return pixels per flag, their share of `total`, and `more` columns by flag."""
    more = more or {}
    rows = [
        (name, count, count / total if total else "", *(cells.get(name) for cells in more.values()))
        for name, count in counts.items()
    ]
    header = ("flag", "pixels", "share", *more)
    return Table.of("Pixels per flag", header, rows, range(1, len(header)))


def _shown(cell: str | float | None) -> str:
    if isinstance(cell, int):
        return number(cell)
    return share(cell) if isinstance(cell, float) else cell or ""


def as_lines(table: Table) -> list[str]:
    """Return a table as lines of plain text, columns two spaces apart."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in table.right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (table.header, *table.rows)
    ]


def as_html(
    lines: Sequence[str], tables: Sequence[Table] = (), picture: bytes | None = None
) -> str:
    """Return lines of text, the first as heading, a PNG and tables as one escaped ``div``.

    Long texts are cut and long tables end with the number of rows left out, so that a notebook
    stays small whatever a file holds.
    """
    first, *others = lines
    parts = [f"<p><strong>{_text(first)}</strong></p>"]
    parts += [f"<p>{_text(line)}</p>" for line in others]
    if picture is not None:
        data = base64.b64encode(picture).decode()
        parts.append(f'<img alt="flagged pixels" src="data:image/png;base64,{data}">')
    parts += [_table_html(table) for table in tables]
    return f"<div>{''.join(parts)}</div>"


def as_astropy(
    rows: Sequence[Any],
    columns: type | Sequence[str],
    *,
    meta: Mapping[str, Any] | None = None,
) -> "astropy_table.Table":
    """Return dataclass instances (`columns` is their class) or tuples as a table of astropy.

    Numbers stay numbers, what is missing is masked, and several values in one cell are joined
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
    for place in range(len(names)):
        cells = [_cell(row[place]) for row in rows]
        missing = [cell is None for cell in cells]
        if any(missing):
            filler = next((type(cell)() for cell in cells if cell is not None), "")
            filled = [filler if cell is None else cell for cell in cells]
            made.append(MaskedColumn(filled, mask=missing))
        else:
            made.append(cells)
    return AstropyTable(made, names=names, meta=dict(meta or {}))


def plain(value: Any) -> Any:
    """Return what JSON has no form for: dataclasses, less hidden fields, and paths."""
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if not field.metadata.get("hidden")]
        return {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


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
        body += f'<tr><td colspan="{len(table.header)}">… {number(left_out)} more</td></tr>'
    head = f"<thead><tr>{row('th', table.header)}</tr></thead>" if any(table.header) else ""
    caption = f'<caption style="text-align:left">{_text(table.title)}</caption>'
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"
