"""Totals of a batch, and the report and journal that they are entered into."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tmt_dq.batch.interrupts import sigint_held
from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.records import FileResult
from tmt_dq.errors import BatchError, TmtDqError

__all__ = ["BatchResult", "Totals"]

_KEPT_ERRORS = 1000


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    done, skipped, failed : int
        Number of exposures: worked on; done before and still true, or not wanted; failed.
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


class Totals:
    """Sums over results, each of which is entered into the journal and the report first."""

    def __init__(
        self,
        journal: Journal,
        report: JsonLines | None,
        on_result: Callable[[FileResult], None] | None,
    ) -> None:
        self._journal = journal
        self._report = report
        self._on_result = on_result
        self._status: Counter[str] = Counter()
        self._masks: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._errors: list[TmtDqError] = []
        self._size = 0

    def enter(self, result: FileResult, *, worked_on: bool) -> None:
        """Add a result; `worked_on` tells whether a worker had it."""
        # What the journal has is skipped next time: without a line in the report now, it would
        # never get one.
        with sigint_held():
            if worked_on or result.status == "failed":
                self._journal.finish(result)
            if self._report is not None:
                self._report.append(result.as_dict())
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
