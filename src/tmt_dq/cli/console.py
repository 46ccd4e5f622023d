"""What the command line shows: errors, tables, progress. Plain text where there is no terminal."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from tmt_dq.cli import logs
from tmt_dq.errors import BatchError, TmtDqError, printable
from tmt_dq.tables import Table, as_lines

__all__ = [
    "as_record",
    "begin",
    "complain",
    "counted",
    "echo",
    "json_list",
    "manner",
    "print_json",
    "progress_bar",
    "remark",
    "report_error",
    "set_color",
    "set_params",
    "show_table",
    "table",
    "working",
]

Item = TypeVar("Item")

_WORTH_A_BAR = 64 * 1024 * 1024


@dataclass(slots=True)
class _Manner:
    """How one call of the command line shows things."""

    color: bool | None = None
    """Whether to colour; None where it depends on each stream being a terminal."""

    json_errors: bool = False
    quiet: bool = False
    """Whether nothing but errors, warnings and JSON is shown."""

    params: Sequence[click.Parameter] = ()
    """Parameters of the verb that runs: what its options are called."""


manner = _Manner()


def begin(*, json_errors: bool) -> None:
    """Begin a call of the command line: forget the settings of an earlier one in this process."""
    manner.json_errors = json_errors
    manner.quiet = False
    manner.params = ()
    set_color("auto")


def set_params(params: Sequence[click.Parameter]) -> None:
    """Let errors name options as the verb that runs calls them."""
    manner.params = params


def set_color(when: str) -> None:
    """Colour text "always", "never", or "auto": on terminals without NO_COLOR and TERM=dumb."""
    manner.color = {"always": True, "never": False}.get(when)
    if when == "auto" and (os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"):
        manner.color = False


def echo(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print one line; what names may have that is no text is shown as escape sequences."""
    if manner.quiet and not err:
        return
    shown = printable(text)
    # The stream itself: where it is ASCII, click would replace what it does not have by "?".
    stream = sys.stderr if err else sys.stdout
    styled = click.style(shown, **style) if style else shown
    click.echo(styled, file=stream, nl=nl, color=manner.color)


def remark(label: str, text: str, **style: Any) -> None:
    """Print a label in colour and text, possibly several lines, to standard error."""
    first, *others = text.split("\n")
    line = f"{click.style(label, **style)} {printable(first)}"
    click.echo(line, file=sys.stderr, color=manner.color)
    for line in others:
        # Set in, so that a line break in a name cannot pass for a message of its own.
        echo(line if line.startswith(" ") else f"  {line}", err=True)


def print_json(document: Any) -> None:
    """Print the one JSON document of a call."""
    click.echo(json.dumps(document, indent=2))


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
        click.echo(f"{separator}\n{json.dumps(item)}", nl=False)
        separator = ","

    try:
        yield add
    finally:
        click.echo("\n]}")


def as_record(error: BaseException) -> dict[str, Any]:
    """Return an error as it stands in JSON: kind, exit_code, what, where, hint."""
    if isinstance(error, BatchError):
        what, where, hint = error.message, None, None
    elif isinstance(error, TmtDqError):
        what, where = error.what, error.where
        hint = error.advice([name for option in error.options for name in _option_names(option)])
    else:
        what, where, hint = str(error), None, None
    return {
        "kind": type(error).__name__,
        "exit_code": getattr(error, "exit_code", 1),
        "what": what,
        "where": where,
        "hint": hint,
    }


def _option_names(option: str) -> Iterator[str]:
    """Yield an option of a function as the verb that runs calls it; nothing if it has none."""
    for param in manner.params:
        if param.name in {option, f"user_{option}"}:
            value = "" if param.metavar is None else f" {param.metavar}"
            yield f"{param.opts[0]}{value}"


def report_error(error: TmtDqError | BatchError) -> None:
    """Show an error: what and where first, then what to do."""
    _show_error(as_record(error))


def complain(kind: str, what: str, *, exit_code: int, hint: str | None = None) -> None:
    """Show an error that has no class of ours: wrong options, an interruption."""
    _show_error({"kind": kind, "exit_code": exit_code, "what": what, "where": None, "hint": hint})


def _show_error(record: Mapping[str, Any]) -> None:
    where = "" if record["where"] is None else f"{printable(record['where'])}: "
    logs.record_error(f"{where}{record['what']}")
    if manner.json_errors:
        click.echo(json.dumps({"error": record}), err=True)
        return
    remark("Error:", f"{where}{record['what']}", fg="red", bold=True)
    if record["hint"] is not None:
        remark("Hint:", record["hint"], fg="yellow")


def _terminal(*, stderr: bool = False) -> Any:
    """Return rich's view of a terminal, in colours only where they are wanted."""
    from rich.console import Console

    return Console(stderr=stderr, no_color=manner.color is False or None)


def table(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Print a table of text and counts."""
    show_table(Table.of("", header, rows))


def show_table(table: Table) -> None:
    """Print a table without its title."""
    if manner.quiet:
        return
    rows = tuple(tuple(map(printable, row)) for row in table.rows)
    table = dataclasses.replace(table, rows=rows)
    if sys.stdout.isatty() and manner.color is not False:
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(box=None, header_style="bold", pad_edge=False)
        for place, title in enumerate(table.header):
            shown.add_column(title, justify="right" if place in table.right else "left")
        for row in table.rows:
            # As they are: a file's name may hold what rich would take for its markup.
            shown.add_row(*map(Text, row))
        _terminal().print(shown)
        return
    for line in as_lines(table):
        echo(line)


def _label(text: str) -> str:
    """Return what rich shows as this text: a name may hold what it would take for its markup."""
    from rich.markup import escape

    return escape(printable(text))


def _on_terminal() -> bool:
    """Return whether there is somebody to whom progress is shown."""
    return sys.stderr.isatty() and not manner.quiet


@contextlib.contextmanager
def progress_bar(label: str, size: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar while `size` bytes are worked on, if there is a terminal and they are many."""
    if not _on_terminal() or size < _WORTH_A_BAR:
        yield None
        return
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(binary_units=False),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=_terminal(stderr=True), transient=True) as bar:
        task = bar.add_task(_label(label), total=size)
        yield lambda count: bar.advance(task, count)


@contextlib.contextmanager
def working(label: str) -> Iterator[None]:
    """Show that something is being worked on that has no count, if there is a terminal."""
    if not _on_terminal():
        yield
        return
    with _terminal(stderr=True).status(_label(label), spinner="line"):
        yield


def counted(label: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yield items, with a bar of how many are done if there is a terminal and several of them."""
    if not _on_terminal() or len(items) < 2:
        yield from items
        return
    from rich.progress import track

    yield from track(
        items, description=_label(label), console=_terminal(stderr=True), transient=True
    )
