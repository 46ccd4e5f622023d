"""The books of a batch: what is remembered, reported and summed up of each exposure."""
# Names are text here, as everywhere in a batch.
# ruff: noqa: PTH119

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tmt_dq.batch.jobs import FileResult
from tmt_dq.batch.lines import JsonLines
from tmt_dq.batch.state import State
from tmt_dq.errors import BatchError, TmtDqError

__all__ = ["Account", "BatchResult", "Folder"]

_KEPT_ERRORS = 1000


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    done, skipped, failed : int
        Number of exposures: worked on; done before and still true, or not asked for; failed.
    size : int
        Bytes of the inputs that were worked on.
    seconds : float
        Time that it took.
    masks : mapping of str to int
        Masks that were used, and for how many exposures.
    counts : mapping of str to int
        Pixels per flag, of all outputs together.
    reasons : mapping of str to int
        Why exposures were skipped, and how many.
    failures : mapping of str to int
        Classes of errors and how often they came.
    errors : tuple of TmtDqError
        The first 1000 errors.
    """

    done: int
    skipped: int
    failed: int
    size: int
    seconds: float
    masks: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[TmtDqError, ...] = ()

    @property
    def total(self) -> int:
        """Number of exposures."""
        return self.done + self.skipped + self.failed

    def raise_failures(self) -> None:
        """Raise `BatchError` if exposures failed."""
        if self.failed:
            raise BatchError(f"{self.failed} of {self.total} exposures failed", self.errors)


class Folder:
    """What is remembered of the folder of outputs."""

    def __init__(self, state: State) -> None:
        self._state = state

    def begin(self, outputs: Iterable[str]) -> None:
        """Remember that these outputs are about to be written."""
        self._state.begin(os.path.basename(path) for path in outputs)

    def finish(self, result: FileResult) -> None:
        """Remember what became of an output."""
        if result.unaffected:
            self._state.change(result)
        else:
            self._state.finish(result)

    def close(self) -> None:
        """Give the folder back."""
        self._state.close()


class Account:
    """Keeps the books: the folder's memory, the report, the sums."""

    def __init__(
        self,
        memory: Folder,
        lines: JsonLines | None,
        on_result: Callable[[FileResult], None] | None,
    ) -> None:
        self.memory = memory
        self._lines = lines
        self._on_result = on_result
        self._status: Counter[str] = Counter()
        self._masks: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._errors: list[TmtDqError] = []
        self._size = 0

    def enter(self, result: FileResult, *, worked_on: bool) -> None:
        """Take a result down."""
        # What is remembered is skipped next time: without a line now, it would never get one.
        with _ctrl_c_waits():
            if worked_on or result.status == "failed":
                self.memory.finish(result)
            if self._lines is not None:
                self._lines.append(result.as_dict())
        if worked_on and result.status != "skipped":
            self._size += result.size
        self._status[result.status] += 1
        if result.status == "skipped":
            self._reasons[result.reason or "the same content"] += 1
        if result.mask is not None:
            self._masks[result.mask] += 1
        self._counts.update(result.counts)
        if result.error is not None:
            self._failures[result.error_class or ""] += 1
            if len(self._errors) < _KEPT_ERRORS:
                self._errors.append(result.error)
        if self._on_result is not None:
            self._on_result(result)

    def result(self, seconds: float) -> BatchResult:
        """Return the sums."""
        return BatchResult(
            done=self._status["done"],
            skipped=self._status["skipped"],
            failed=self._status["failed"],
            size=self._size,
            seconds=seconds,
            masks=dict(self._masks),
            counts=dict(self._counts),
            reasons=dict(self._reasons),
            failures=dict(self._failures),
            errors=tuple(self._errors),
        )


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Interrupt the program after this, not in the middle of it."""
    before = signal.getsignal(signal.SIGINT)
    # Handlers run in the main thread only. One that is not Python's could not be put back.
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    noticed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: noticed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if noticed:
            signal.raise_signal(signal.SIGINT)
