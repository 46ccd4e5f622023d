"""What the command line prints: text, errors, JSON, tables; plain where there is no terminal."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.cli import logs
from tmt_dq.errors import BatchError, TmtDqError, printable
from tmt_dq.tables import Table, as_lines, plain

if TYPE_CHECKING:
    from tmt_dq.report.report import Report


@dataclass(slots=True)
class _Manner:
    """How one call of the command line prints; `params` are those of the verb that runs."""

    json_errors: bool = False
    quiet: bool = False
    params: Sequence[click.Parameter] = ()


manner = _Manner()


def begin(*, json_errors: bool) -> None:
    """Begin a call of the command line: forget the settings of an earlier one in this process."""
    manner.json_errors = json_errors
    manner.quiet = False
    manner.params = ()


def _color() -> bool | None:
    """Return False where colours are not wanted; None: on terminals."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def echo(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print one line; what names may have that is no text is shown as escape sequences."""
    if manner.quiet and not err:
        return
    shown = printable(text)
    # The stream itself: where it is ASCII, click would replace what it does not have by "?".
    stream = sys.stderr if err else sys.stdout
    styled = click.style(shown, **style) if style else shown
    click.echo(styled, file=stream, nl=nl, color=_color())


def remark(label: str, text: str, **style: Any) -> None:
    """Print a label in colour and text, possibly several lines, to standard error."""
    first, *others = text.split("\n")
    line = f"{click.style(label, **style)} {printable(first)}"
    click.echo(line, file=sys.stderr, color=_color())
    for line in others:
        # Set in, so that a line break in a name cannot pass for a message of its own.
        echo(line if line.startswith(" ") else f"  {line}", err=True)


# --- errors -----------------------------------------------------------------------------------


def as_record(error: BaseException) -> dict[str, Any]:
    """Return an error as it stands in JSON: kind, exit_code, what, where, hint."""
    what, where, hint = str(error), None, None
    if isinstance(error, BatchError):
        what = error.message
    elif isinstance(error, TmtDqError):
        what, where = error.what, error.where
        hint = error.advice([name for option in error.options for name in _option_names(option)])
    elif isinstance(error, click.UsageError):
        what = error.format_message().expandtabs(2)
        if error.ctx is not None:
            hint = f"Run '{error.ctx.command_path} --help' for usage."
    exit_code = getattr(error, "exit_code", 1)
    kind = type(error).__name__
    return {"kind": kind, "exit_code": exit_code, "what": what, "where": where, "hint": hint}


def _option_names(option: str) -> Iterator[str]:
    """Yield an option of a function as the verb that runs calls it; nothing if it has none."""
    for param in manner.params:
        if param.name in {option, f"user_{option}"}:
            value = "" if param.metavar is None else f" {param.metavar}"
            yield f"{param.opts[0]}{value}"


def report_error(error: BaseException) -> None:
    """Show an error: what and where first, then what to do."""
    record = as_record(error)
    where = "" if record["where"] is None else f"{printable(record['where'])}: "
    logs.record_error(f"{where}{record['what']}")
    if manner.json_errors:
        click.echo(json.dumps({"error": record}), err=True)
        return
    remark("Error:", f"{where}{record['what']}", fg="red", bold=True)
    if record["hint"] is not None:
        remark("Hint:", record["hint"], fg="yellow")


# --- JSON -------------------------------------------------------------------------------------


def fields_of(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    return as_record(value) if isinstance(value, BaseException) else plain(value)


def print_json(document: Any) -> None:
    """Print the one JSON document of a call."""
    click.echo(json.dumps(document, indent=2, default=_plain))


@contextlib.contextmanager
def json_list(name: str, *, wanted: bool = True) -> Iterator[Callable[[Any], None]]:
    """Print one JSON document that holds a list, item by item as they come.

    The document is complete also where the command ends early: it then holds what came.
    """
    if not wanted:
        yield lambda _item: None
        return
    separator = ""
    click.echo(f'{{"{name}": [', nl=False)

    def add(item: Any) -> None:
        nonlocal separator
        click.echo(f"{separator}\n{json.dumps(item, default=_plain)}", nl=False)
        separator = ","

    try:
        yield add
    finally:
        click.echo("\n]}")


# --- tables -----------------------------------------------------------------------------------


def terminal(*, stderr: bool = False) -> Any:
    """Return rich's view of a terminal, in colours only where they are wanted."""
    from rich.console import Console

    return Console(stderr=stderr)


def table(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Print a table of text and counts."""
    show_table(Table.of("", header, rows))


def show_table(table: Table) -> None:
    """Print a table without its title."""
    if manner.quiet:
        return
    rows = tuple(tuple(map(printable, row)) for row in table.rows)
    if not sys.stdout.isatty():
        for line in as_lines(dataclasses.replace(table, rows=rows)):
            echo(line)
        return
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=None, header_style="bold", pad_edge=False)
    for place, title in enumerate(table.header):
        shown.add_column(title, justify="right" if place in table.right else "left")
    for row in rows:
        # As they are: a file's name may hold what rich would take for its markup.
        shown.add_row(*map(Text, row))
    terminal().print(shown)


def show_report(report: "Report", *, as_json: bool) -> None:
    """Print a report: its headline and tables, or JSON."""
    if as_json:
        click.echo(report.to_json(indent=2))
        return
    for line in report.headline():
        echo(line)
    for shown in report.tables():
        echo()
        echo(shown.title, bold=True)
        show_table(shown)
