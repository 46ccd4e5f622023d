"""Progress on standard error: a bar on a terminal, for a batch plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from tmt_dq.cli.console import echo, manner, report_error, terminal
from tmt_dq.errors import printable
from tmt_dq.tables import number

if TYPE_CHECKING:
    from tmt_dq.batch import FileResult

Item = TypeVar("Item")

_WORTH_A_BAR = 64 * 1024 * 1024
_LINE_EVERY_S = 10.0
_ERRORS_SHOWN = 100


def _on_terminal() -> bool:
    """Return whether there is somebody to whom progress is shown."""
    return sys.stderr.isatty() and not manner.quiet


def _label(text: str) -> str:
    """Return what rich shows as this text: a name may hold what it would take for its markup."""
    from rich.markup import escape

    return escape(printable(text))


@contextlib.contextmanager
def progress_bar(label: str, size: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar while `size` bytes are worked on, if there is a terminal and they are many."""
    if not _on_terminal() or size < _WORTH_A_BAR:
        yield None
        return
    from rich import progress as rich

    columns = (*rich.Progress.get_default_columns(), rich.TransferSpeedColumn())
    with rich.Progress(*columns, console=terminal(stderr=True), transient=True) as bar:
        task = bar.add_task(_label(label), total=size)
        yield lambda count: bar.advance(task, count)


def counted(label: str, items: Sequence[Item]) -> Iterator[Item]:
    """Yield items, with a bar of how many are done if there is a terminal and several of them."""
    if not _on_terminal() or len(items) < 2:
        yield from items
        return
    from rich.progress import track

    console = terminal(stderr=True)
    yield from track(items, description=_label(label), console=console, transient=True)


class BatchProgress:
    """Counts of a batch, which `show` is given as text whenever they change."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.total = self.seen = self.failed = self.size = 0
        self._show = show
        self._begun = time.monotonic()

    def start(self, total: int) -> None:
        """Begin with `total` exposures."""
        self.total = total
        self._show(self.text())

    def result(self, result: "FileResult") -> None:
        """Count a result; show an error at once."""
        self.seen += 1
        if result.status != "skipped":
            self.size += result.size
        if result.error is not None:
            self.failed += 1
            if self.failed <= _ERRORS_SHOWN:
                report_error(result.error)
            if self.failed == _ERRORS_SHOWN:
                echo("Further errors are not shown; they are in the report.", err=True)
        self._show(self.text())

    def text(self) -> str:
        """Return the counts and the mean rate in words."""
        rate = self.size / 1e6 / max(time.monotonic() - self._begun, 1e-9)
        return (
            f"{number(self.seen)} of {number(self.total)} ramps, {number(self.failed)} failed, "
            f"{self.size / 1e9:.2f} GB, {rate:.0f} MB/s"
        )


def _now_and_then() -> Callable[[str], None]:
    """Return a function that prints a line from time to time."""
    shown = time.monotonic()

    def show(text: str) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _LINE_EVERY_S:
            shown = time.monotonic()
            echo(text, err=True)

    return show


@contextlib.contextmanager
def batch_progress() -> Iterator[BatchProgress]:
    """Show the progress of a batch on standard error, or its errors only."""
    if not _on_terminal():
        yield BatchProgress((lambda _text: None) if manner.quiet else _now_and_then())
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    # Lines beside the bar pass through it, at their full length; the text is cut to its place.
    console = Console(stderr=True, soft_wrap=True)
    text = TextColumn(
        "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="crop")
    )
    columns = (text, BarColumn(bar_width=None), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(text: str) -> None:
            bar.update(task, description=text, completed=progress.seen, total=progress.total)

        progress = BatchProgress(show)
        yield progress
