"""Records of a batch: exposures to work on, what was decided about them, what became of them."""

import hashlib
import os
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from tmt_dq.errors import BatchError, OutputError, TmtDqError
from tmt_dq.files import remote
from tmt_dq.files.identity import identify
from tmt_dq.files.urls import is_url, redacted

Work = Callable[[Any], Any]
"""Does one job, wherever a mapper runs it."""

FileState = tuple[int, int]
"""Size and time of change of a file: what shows, without reading it, that it changed."""

_KEPT_ERRORS = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One exposure, and what is to be done with it.

    `action` is "process"; "skip": done and still true, or not wanted; or "refuse": its output
    exists already and was not written by this batch. `size` is that of the input.
    `replace` allows to replace an existing output. `sha256` is the digest of the input that the
    existing output was made of: where it is still the same, there is nothing to do.
    """

    input: str
    output: str
    action: Literal["process", "skip", "refuse"] = "process"
    reason: str = ""
    size: int = 0
    replace: bool = False
    sha256: str | None = None

    def settled(self) -> "FileResult":
        """Return the result of an exposure with which nothing is to be done."""
        if self.action == "skip":
            return FileResult.of(self, "skipped", size=self.size, reason=self.reason)
        error = OutputError(
            "already exists and was not written by this batch (or was modified since)",
            where=redacted(self.output),
            hint="Name another --output-dir, or use --overwrite (overwrite=True) to replace it.",
        )
        return FileResult.failure(self, error)


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one exposure.

    `status` is "done", "skipped" (was done before and is still true), or "failed" with `error` and
    the class of the original error. `mask` is R_MASK, `counts` are pixels per flag, `size` is that
    of the input, `worker` host and process, `reason` why it was to be done, or why not. Names of
    files are text for a URL, without what is secret in it. What begins with `input_state` is for
    the journal: size and times of the files, what the output depends on beside its input, whether
    it was left out because the new rules change nothing in it.
    """

    input: Path | str
    output: Path | str
    status: Literal["done", "skipped", "failed"]
    s_dqinit: str | None = None
    mask: str | None = None
    mask_path: str | None = None
    context: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    size: int = 0
    error: TmtDqError | None = None
    error_class: str | None = None
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    reason: str = ""
    sha256: str | None = None
    input_state: FileState | None = None
    output_state: FileState | None = None
    terms: Mapping[str, Any] | None = None
    unaffected: bool = False

    @classmethod
    def of(cls, job: Job, status: Literal["done", "skipped", "failed"], **more: Any) -> Self:
        """Return the result of a job."""
        source, target = (
            redacted(name) if is_url(name) else Path(name) for name in (job.input, job.output)
        )
        return cls(source, target, status, **more)

    @classmethod
    def failure(cls, job: Job, error: Exception) -> Self:
        """Return the result of a job that failed; an unforeseen error keeps its traceback."""
        kind = type(error).__name__
        if not isinstance(error, TmtDqError):
            text = "".join(traceback.format_exception(error)).rstrip()
            error = TmtDqError(
                f"{kind}: {error}",
                where=redacted(job.input),
                hint=f"This is not an error of the file that tmt-dq foresees.\n{text}",
            )
        return cls.of(job, "failed", error=error, error_class=kind, size=job.size)

    def as_dict(self) -> dict[str, Any]:
        """Return the line of a report, without entries that are empty."""
        same = ("s_dqinit", "mask", "mask_path", "context", "worker", "sha256")
        record: dict[str, Any] = {
            "input": str(self.input),
            "output": str(self.output),
            "status": self.status,
            **{name: getattr(self, name) for name in same},
            "counts": dict(self.counts) or None,
            "seconds": round(self.seconds, 4),
            "bytes": self.size,
            "reason": self.reason or None,
        }
        if self.error is not None:
            record |= {"error": self.error_class, "message": self.error.what}
            record |= {"where": self.error.where, "hint": self.error.hint}
        return {name: value for name, value in record.items() if value is not None}


@dataclass(slots=True)
class BatchResult:
    """What became of a batch: exposures that were worked on, skipped, and that failed.

    `size` are the bytes of inputs that were worked on, `masks` the masks that were used and for how
    many exposures, `counts` pixels per flag of all outputs together, `reasons` why exposures were
    skipped, `failures` classes of errors and how often they came, `errors` the first 1000 of them.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    size: int = 0
    seconds: float = 0.0
    masks: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    errors: list[TmtDqError] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of exposures."""
        return self.done + self.skipped + self.failed

    def add(self, result: FileResult, *, worked_on: bool) -> None:
        """Add what became of an exposure; `worked_on` tells whether a worker had it."""
        setattr(self, result.status, getattr(self, result.status) + 1)
        if worked_on and result.status != "skipped":
            self.size += result.size
        if result.status == "skipped":
            self.reasons[result.reason or "the same content"] += 1
        if result.mask is not None:
            self.masks[result.mask] += 1
        self.counts.update(result.counts)
        if result.error is not None:
            self.failures[result.error_class or ""] += 1
            if len(self.errors) < _KEPT_ERRORS:
                self.errors.append(result.error)

    def raise_failures(self) -> None:
        """Raise `BatchError` if exposures failed."""
        if self.failed:
            raise BatchError(f"{self.failed:,} of {self.total:,} exposures failed", self.errors)


def state_of(path: str | os.PathLike[str]) -> FileState | None:
    """Return the state of a file; None if it is not there or cannot be examined.

    A remote file has a number for its ETag in the place of a time.
    """
    try:
        if not is_url(path):
            found = identify(Path(path))
            return None if found is None else (found.size, found.mtime_ns)
        there = remote.state(str(path))
    except (TmtDqError, OSError, ValueError):
        return None
    if there is None:
        return None
    digest = hashlib.sha256((there.mark or "").encode()).digest()
    return there.size or 0, int.from_bytes(digest[:7], "big")
