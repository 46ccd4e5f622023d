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

__all__ = [
    "BatchResult",
    "FileResult",
    "FileState",
    "Job",
    "Progress",
    "Work",
    "remote_state",
    "state_of",
]

Progress = Callable[[int], None]
"""Called with the bytes that a job writes, piece by piece; may raise to end the job."""

Work = Callable[..., Any]
"""Does one job, wherever a mapper runs it: called with the job and, optionally, a `Progress`."""

FileState = tuple[int, int]
"""Size and time of change of a file: what shows, without reading it, that it changed."""

_KEPT_ERRORS = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One exposure, and what is to be done with it.

    Attributes
    ----------
    input, output : str
        Its files.
    action : str
        "process"; "skip": done and still true, or not wanted; or "refuse": its output exists
        already and was not written by this batch.
    reason : str
        Why.
    size : int
        Bytes of the input; 0 if it is not there.
    replace : bool
        Whether an existing output may be replaced.
    sha256 : str or None
        Digest of the input that the existing output was made of: where it is still the same, there
        is nothing to do.
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

    Attributes
    ----------
    input, output : Path or str
        The files; text for a URL, without what is secret in it.
    status : str
        "done", "skipped" (was done before and is still true), or "failed".
    s_dqinit : str or None
        S_DQINIT of the output: "COMPLETE" or "SKIPPED" (no mask applies).
    mask, mask_path : str or None
        R_MASK, and the file that was read.
    context : str or None
        The CRDS context that chose it.
    counts : mapping of str to int
        Pixels per flag in the output.
    seconds : float
        Time that it took.
    size : int
        Bytes of the input.
    error : TmtDqError or None
        Why it failed.
    error_class : str or None
        The error's class; that of the original where it was not one of tmt-dq's.
    worker : str
        Host and process that did it.
    reason : str
        Why it was to be done, or why not.
    sha256 : str or None
        Digest of the input, where it was wanted.
    input_state, output_state, terms, unaffected
        For the journal: size and times of the files, what the output depends on beside its input,
        whether it was left out because the new rules change nothing in it.
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
    errors : list of TmtDqError
        The first 1000 errors.
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
            raise BatchError(f"{self.failed} of {self.total} exposures failed", self.errors)


def state_of(path: str | os.PathLike[str]) -> FileState | None:
    """Return the state of a file; None if it is not there or cannot be examined."""
    try:
        if is_url(path):
            return remote_state(remote.state(str(path)))
        found = identify(Path(path))
    except (TmtDqError, OSError, ValueError):
        return None
    return None if found is None else (found.size, found.mtime_ns)


def remote_state(found: remote.State | None) -> FileState | None:
    """Return the state of a remote file, with a number for its ETag in the place of a time."""
    if found is None:
        return None
    digest = hashlib.sha256((found.mark or "").encode()).digest()
    return found.size or 0, int.from_bytes(digest[:7], "big")
