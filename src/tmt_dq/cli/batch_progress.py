"""Progress of a batch: a bar on a terminal, plain lines elsewhere."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tmt_dq.cli import logs
from tmt_dq.cli.console import echo, manner, report_error

if TYPE_CHECKING:
    from tmt_dq.batch import FileResult

__all__ = ["Progress", "watch"]

_LINE_EVERY_S = 10.0
_ERRORS_SHOWN = 100
_BAR_WIDTH = 24
_NARROW = 60
"""On terminals narrower than this there is no bar, only numbers."""


class Progress:
    """Counts of a batch, shown as a line now and then.

    Rates and the time left are those since work began: neither the start of the workers nor files
    that were skipped before count.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.quiet = quiet
        self.total = 0
        self.seen = 0
        self.worked = 0
        self.failed = 0
        self.size = 0
        self.moving = 0
        self._clock = clock
        self._shown = clock()
        self._before: tuple[float, int, int, int] | None = None

    def start(self, total: int) -> None:
        """Begin with `total` exposures."""
        self.total = total
        self._shown = self._clock()

    def moved(self, size: int) -> None:
        """Count bytes that were written; they are taken back when their file ends."""
        self.moving += size
        if self._before is None:
            self._before = (self._clock(), self.seen, self.worked, self.size)
        self.show()

    def result(self, result: "FileResult") -> None:
        """Count a result; show an error at once."""
        self.seen += 1
        if result.status != "skipped":
            self.worked += 1
            self.size += result.size
            if self._before is None:
                self._before = (self._clock(), self.seen, self.worked, self.size)
        if result.error is not None:
            self.failed += 1
            if self.failed <= _ERRORS_SHOWN:
                report_error(result.error)
            if self.failed == _ERRORS_SHOWN:
                echo("Further errors are not shown; they are in the report.", err=True)
        self.show()

    def show(self) -> None:
        """Write a line from time to time."""
        now = self._clock()
        if not self.quiet and now - self._shown >= _LINE_EVERY_S:
            self._shown = now
            echo(", ".join(self.parts()), err=True)

    def parts(self) -> list[str]:
        """Return the counts in words, the least important ones before the last."""
        pieces = [f"{self.seen} of {self.total} ramps", f"{self.failed} failed"]
        done = self.size + self.moving
        pieces.append(f"{done / 1e9:.2f} GB" if done >= 1e9 else f"{done / 1e6:.1f} MB")
        left = "-:--:--"
        if self._before is not None:
            since, seen, worked, size = self._before
            elapsed = self._clock() - since
            if elapsed > 0:
                pieces.append(f"{max(0, done - size) / 1e6 / elapsed:.0f} MB/s")
                pieces.append(_pace(self.worked - worked, elapsed))
            if self.seen > seen:
                ahead = elapsed / (self.seen - seen) * (self.total - self.seen)
                left = str(timedelta(seconds=round(ahead)))
        if self.seen == self.total:
            left = str(timedelta(0))
        return [piece for piece in pieces if piece] + [f"{left} left"]


def _pace(number: int, elapsed: float) -> str:
    """Return how fast ramps end; nothing where none has."""
    if not number:
        return ""
    per_s = number / elapsed
    return f"{per_s:.1f} ramps/s" if per_s >= 1 else f"{1 / per_s:.1f} s/ramp"


class _Bar(Progress):
    """Bar of rich."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def start(self, total: int) -> None:
        super().start(total)
        self._bar.update(self._task, total=total)
        self.show()

    def show(self) -> None:
        self._bar.update(self._task, completed=self.seen, description=self._line())

    def _line(self) -> str:
        """Return as much as there is room for."""
        pieces = self.parts()
        room = self._bar.console.width - 1
        if self._bar.console.width >= _NARROW:
            room -= _BAR_WIDTH + 1
        # GB first, then the pace, then the failures if there are none.
        for index in (2, -2, 1, -2):
            if len(", ".join(pieces)) > room and len(pieces) > 2:
                del pieces[index if abs(index) < len(pieces) else -2]
        return ", ".join(pieces)


@contextlib.contextmanager
def watch() -> Iterator[Progress]:
    """Show the progress of a batch on standard error, or its errors only."""
    if not manner.quiet:
        logs.show(logging.INFO, "tmt_dq.batch")
    if manner.quiet or not sys.stderr.isatty():
        yield Progress(quiet=manner.quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    # Lines beside the bar pass through it, at their full length.
    console = Console(stderr=True, soft_wrap=True)
    text = TextColumn(
        "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="crop")
    )
    columns = (BarColumn(bar_width=_BAR_WIDTH), text) if console.width >= _NARROW else (text,)
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar)
