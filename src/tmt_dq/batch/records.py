"""Records of a batch: exposures to work on, what was decided about them, what became of them."""

import hashlib
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from tmt_dq import __version__
from tmt_dq.apply.options import ApplyOptions
from tmt_dq.errors import OutputError, TmtDqError
from tmt_dq.files.urls import is_url, redacted

if TYPE_CHECKING:
    from tmt_dq.files.remote import State

__all__ = [
    "FileResult",
    "FileState",
    "Job",
    "Planned",
    "Progress",
    "Reprocessing",
    "Rule",
    "Settings",
    "Terms",
    "Work",
    "remote_state",
    "shown",
    "state_of",
]

Progress = Callable[[int], None]
"""Called with the bytes that a job writes, piece by piece; may raise to end the job."""

_JobT_contra = TypeVar("_JobT_contra", contravariant=True)
_ResultT_co = TypeVar("_ResultT_co", covariant=True)


class Work(Protocol[_JobT_contra, _ResultT_co]):
    """Function that does one job, wherever a mapper runs it."""

    def __call__(self, job: _JobT_contra, progress: Progress | None = None, /) -> _ResultT_co:
        """Do the job; call `progress` with the bytes written, where it is given."""
        ...


class FileState(NamedTuple):
    """Size and time of change of a file: what shows, without reading it, that it changed."""

    size: int
    mtime_ns: int


class Rule(NamedTuple):
    """CRDS rules that chose a mask: observatory, folder of the cache, context."""

    observatory: str
    cache: str
    context: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything that an output depends on beside its input: version, options, rules, files."""

    version: str
    parameters: str
    rules: tuple[Rule, ...] = ()
    references: tuple[tuple[str, FileState], ...] = ()

    def difference(self, settings: "Settings") -> str | None:
        """Return why these settings would give another output; None if they would not."""
        if self.version != __version__:
            return f"made by version {self.version}"
        if self.parameters != settings.parameters:
            return "parameters changed"
        if not set(self.rules) <= set(settings.rules):
            return "rules changed"
        for path, state in self.references:
            if state_of(settings.full_name(path)) != state:
                return f"{Path(path).name} changed"
        return None


@dataclass(frozen=True, slots=True)
class Job:
    """One exposure to work on.

    `replace` allows to replace an existing output. `sha256` is the digest of the input that the
    existing output was made of: where it is still the same, there is nothing to do.
    """

    input: str
    output: str
    replace: bool = False
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Reprocessing:
    """Selection of those exposures that new rules change, compared with `old_context`."""

    old_context: str
    old_crds_path: str | None = None
    flags_only: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What all exposures of a batch share.

    `options` are those of `tmt_dq.apply_dq`, `parameters` those of them that change the result, as
    JSON. `rules` are the rules that exist, `embedded` tells whether those of the package are
    used: each machine has them in a folder of its own.
    """

    options: ApplyOptions
    parameters: str
    rules: tuple[Rule, ...] = ()
    checksum: bool = False
    embedded: bool = False
    again: Reprocessing | None = None

    def full_name(self, path: str) -> str:
        """Return the name of a mask or list as it was given: records have URLs without secrets."""
        given = map(str, (self.options.mask, self.options.user_dq))
        return next((name for name in given if redacted(name) == path), path)


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
    input_state, output_state : FileState or None
        Size and times of the files, for the batch's own journal.
    sha256 : str or None
        Digest of the input, where it was wanted.
    terms : Terms or None
        What the output depends on, beside its input.
    unaffected : bool
        Whether it was left out because the new rules change nothing in it.
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
    worker: str = ""
    reason: str = ""
    input_state: FileState | None = None
    output_state: FileState | None = None
    sha256: str | None = None
    terms: Terms | None = None
    unaffected: bool = False

    @classmethod
    def failure(
        cls, job: Job, error: Exception, *, seconds: float = 0.0, size: int = 0
    ) -> "FileResult":
        """Return the result of a job that failed; an unforeseen error keeps its traceback."""
        kind = type(error).__name__
        if not isinstance(error, TmtDqError):
            text = "".join(traceback.format_exception(error)).rstrip()
            error = TmtDqError(
                f"{kind}: {error}",
                where=redacted(job.input),
                hint=f"This is not an error of the file that tmt-dq foresees.\n{text}",
            )
        return cls(
            shown(job.input),
            shown(job.output),
            "failed",
            error=error,
            error_class=kind,
            seconds=seconds,
            size=size,
            worker=_worker(),
        )

    @classmethod
    def success(
        cls, job: Job, status: Literal["done", "skipped"], before: FileState | None, **more: Any
    ) -> "FileResult":
        """Return the result of a job that went well; `before` is the input as it was."""
        return cls(
            shown(job.input),
            shown(job.output),
            status,
            size=0 if before is None else before.size,
            input_state=before,
            output_state=state_of(job.output),
            worker=_worker(),
            **more,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the line of a report, without entries that are empty."""
        error = self.error
        record: dict[str, Any] = {
            "input": str(self.input),
            "output": str(self.output),
            "status": self.status,
            "s_dqinit": self.s_dqinit,
            "mask": self.mask,
            "mask_path": self.mask_path,
            "context": self.context,
            "counts": dict(self.counts) or None,
            "seconds": round(self.seconds, 4),
            "bytes": self.size,
            "error": self.error_class,
            "message": None if error is None else error.what,
            "where": None if error is None else error.where,
            "hint": None if error is None else error.hint,
            "worker": self.worker or None,
            "reason": self.reason or None,
            "sha256": self.sha256,
        }
        return {name: value for name, value in record.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done with one exposure.

    Attributes
    ----------
    job : Job
        The exposure: ``job.input`` and ``job.output`` are its files.
    action : str
        "process"; "skip": done and still true, or not wanted; or "refuse": its output exists
        already and was not written by this batch.
    reason : str
        Why.
    size : int
        Bytes of the input; 0 if it is not there.
    """

    job: Job
    action: Literal["process", "skip", "refuse"]
    reason: str
    size: int = 0

    def settled(self) -> FileResult:
        """Return the result of an exposure with which nothing is to be done."""
        if self.action == "skip":
            files = shown(self.job.input), shown(self.job.output)
            return FileResult(*files, "skipped", size=self.size, reason=self.reason)
        error = OutputError(
            "already exists and was not written by this batch (or was modified since)",
            where=redacted(self.job.output),
            hint="Name another --output-dir, or use --overwrite (overwrite=True) to replace it.",
        )
        return FileResult.failure(self.job, error, size=self.size)


def state_of(path: str | os.PathLike[str]) -> FileState | None:
    """Return the state of a file; None if it is not there or cannot be examined."""
    if is_url(path):
        from tmt_dq.files.remote import state

        try:
            return remote_state(state(str(path)))
        except TmtDqError:
            return None
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileState(status.st_size, status.st_mtime_ns)


def remote_state(found: "State | None") -> FileState | None:
    """Return the state of a remote file, with a number for its ETag in the place of a time."""
    if found is None:
        return None
    digest = hashlib.sha256((found.mark or "").encode()).digest()
    return FileState(found.size or 0, int.from_bytes(digest[:7], "big"))


def shown(name: str) -> Path | str:
    """Return the name of a file as a path; a URL as text without what is secret in it."""
    return redacted(name) if is_url(name) else Path(name)


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
