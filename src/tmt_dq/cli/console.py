"""What the command line shows: errors, tables, progress. Plain text where there is no terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from tmt_dq.errors import BatchError, TmtDqError

__all__ = ["counted", "progress_bar", "report_error", "table", "working"]

Item = TypeVar("Item")

_WORTH_A_BAR = 64 * 1024 * 1024


def report_error(error: TmtDqError | BatchError) -> None:
    """Show an error: what and where first, then what to do."""
    if isinstance(error, BatchError):
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {error.message}", err=True)
        return
    where = "" if error.where is None else f"{error.where}: "
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {where}{error.what}", err=True)
    if error.hint is not None:
        click.echo(f"{click.style('Hint:', fg='yellow')} {error.hint}", err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table; `right` holds the columns to align right."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        shown = Table(box=None, header_style="bold", pad_edge=False)
        for number, title in enumerate(header):
            shown.add_column(title, justify="right" if number in right else "left")
        for row in rows:
            shown.add_row(*row)
        Console().print(shown)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


@contextlib.contextmanager
def progress_bar(label: str, size: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar while `size` bytes are worked on, if there is a terminal and they are many."""
    if not sys.stderr.isatty() or size < _WORTH_A_BAR:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=False),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=size)
        yield lambda count: bar.advance(task, count)


@contextlib.contextmanager
def working(label: str) -> Iterator[None]:
    """Show that something is being worked on that has no count, if there is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield


def counted(label: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yield items, with a bar of how many are done if there is a terminal and several of them."""
    if not sys.stderr.isatty() or len(items) < 2:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=label, console=Console(stderr=True), transient=True)
