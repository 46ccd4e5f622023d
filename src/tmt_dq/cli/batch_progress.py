"""How far a batch is: a bar on a terminal, plain lines elsewhere."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.cli.console import report_error

if TYPE_CHECKING:
    from tmt_dq.batch import FileResult

__all__ = ["Progress", "watch"]

_LINE_EVERY_S = 10.0
_ERRORS_SHOWN = 100


class Progress:
    """Counts results; subclasses show the counts.

    Parameters
    ----------
    quiet : bool
        Whether only errors are shown.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.total = 0
        self.seen = 0
        self.worked = 0
        self.failed = 0
        self.size = 0
        self.began = time.monotonic()
        self._shown = self.began

    def start(self, total: int) -> None:
        """Begin with `total` exposures."""
        self.total = total
        self.began = self._shown = time.monotonic()

    def result(self, result: "FileResult") -> None:
        """Take a result into account; show an error at once."""
        self.seen += 1
        if result.status != "skipped":
            self.worked += 1
            self.size += result.size
        if result.error is not None:
            self.failed += 1
            if self.failed <= _ERRORS_SHOWN:
                report_error(result.error)
            if self.failed == _ERRORS_SHOWN:
                click.echo("Further errors are not shown; they are in the report.", err=True)
        self.show()

    def show(self) -> None:
        """Write a line from time to time."""
        now = time.monotonic()
        if not self.quiet and now - self._shown >= _LINE_EVERY_S:
            self._shown = now
            click.echo(self.describe(), err=True)

    def describe(self) -> str:
        """Describe how far it is."""
        elapsed = max(time.monotonic() - self.began, 1e-9)
        left = elapsed / max(self.worked, 1) * (self.total - self.seen)
        return (
            f"{self.seen} of {self.total} ramps, {self.failed} failed, {self.size / 1e9:.2f} GB, "
            f"{self.size / 1e6 / elapsed:.1f} MB/s, {self.worked / elapsed:.1f} ramps/s, "
            f"{_clock(left)} left"
        )


class _Bar(Progress):
    """A bar of rich."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def start(self, total: int) -> None:
        super().start(total)
        self._bar.update(self._task, total=total)

    def show(self) -> None:
        self._bar.update(self._task, completed=self.seen, description=self.describe())


@contextlib.contextmanager
def watch(*, quiet: bool) -> Iterator[Progress]:
    """Show how far a batch is, on standard error.

    Parameters
    ----------
    quiet : bool
        Whether only errors are shown.

    Yields
    ------
    Progress
        Its `start` and `result` are to be called.
    """
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("tmt_dq.batch")
    logger.addHandler(handler)
    if not quiet:
        logger.setLevel(logging.INFO)
    try:
        if quiet or not sys.stderr.isatty():
            yield Progress(quiet=quiet)
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield _Bar(bar)
    finally:
        logger.removeHandler(handler)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
