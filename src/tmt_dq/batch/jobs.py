"""One exposure of a batch: what is to be done, doing it, and the account of it."""

import dataclasses
import hashlib
import os
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from tmt_dq import __version__
from tmt_dq.batch.meter import meter
from tmt_dq.errors import RampFormatError, TmtDqError
from tmt_dq.files.urls import Url, is_url, place_of, redacted

__all__ = [
    "FileResult",
    "FileState",
    "Job",
    "Reprocessing",
    "Rule",
    "Settings",
    "Terms",
    "process",
    "state_of",
]

_PIECE = 4 * 1024 * 1024


class FileState(NamedTuple):
    """A file as the system sees it: what tells, without reading it, that it changed."""

    size: int
    mtime_ns: int


class Rule(NamedTuple):
    """The CRDS rules that chose a mask: the observatory, the cache's folder, the context."""

    observatory: str
    cache: str
    context: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What an output depends on, beside its input.

    Parameters
    ----------
    version : str
        Version of tmt-dq.
    parameters : str
        The options that change the result, as JSON.
    rules : tuple of Rule
        The rules that were asked.
    references : tuple of (str, FileState)
        Mask and user DQ files, as they were.
    """

    version: str
    parameters: str
    rules: tuple[Rule, ...] = ()
    references: tuple[tuple[str, FileState], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One exposure to work on.

    Parameters
    ----------
    input, output : str
        The files, absolute.
    replace : bool
        Whether an existing output is replaced: it is an outdated one of this batch, or the user
        said so.
    sha256 : str or None
        Digest of the input that the existing output was made of: where it is still the same, there
        is nothing to do.
    """

    input: str
    output: str
    replace: bool = False
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Reprocessing:
    """That only those exposures are meant which new rules change.

    Parameters
    ----------
    old_context : str
        The rules of before.
    old_crds_path : str or None
        CRDS cache of the rules of before, if it is another one.
    flags_only : bool
        Whether another mask with the same flags in an exposure's pixels changes nothing.
    """

    old_context: str
    old_crds_path: str | None = None
    flags_only: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What all jobs of a batch have in common.

    Parameters
    ----------
    options : mapping of str to object
        Arguments of `tmt_dq.apply_dq`.
    parameters : str
        Those that change the result, as JSON.
    rules : tuple of Rule
        The rules of all observatories as they are when the batch starts.
    checksum : bool
        Whether the sha256 of inputs is recorded.
    embedded : bool
        Whether the masks are those that come with tmt-dq, wherever the worker keeps them.
    again : Reprocessing or None
        Which exposures are meant; None for all.
    """

    options: Mapping[str, Any]
    parameters: str
    rules: tuple[Rule, ...] = ()
    checksum: bool = False
    embedded: bool = False
    again: Reprocessing | None = None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one exposure.

    Attributes
    ----------
    input, output : Path
        The files.
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
        The error's class; that of the original where it was not one of ours.
    worker : str
        Host and process that did it.
    reason : str
        Why it was to be done, or why not.
    input_state, output_state : FileState or None
        Size and times of the files, for the batch's own record.
    sha256 : str or None
        Digest of the input, where it was asked for.
    terms : Terms or None
        What the output depends on, beside its input.
    unaffected : bool
        Whether it was left out because the new rules change nothing in it.
    """

    input: Path
    output: Path
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
        """Return the account of a failure; an error that is not ours keeps its traceback.

        Parameters
        ----------
        job : Job
            What was to be done.
        error : Exception
            Why it was not.
        seconds : float
            Time that it took.
        size : int
            Bytes of the input.

        Returns
        -------
        FileResult
            The account, with an error of tmt-dq's own that crosses processes.
        """
        kind = type(error).__name__
        if not isinstance(error, TmtDqError):
            text = _shown("".join(traceback.format_exception(error)).rstrip(), job)
            error = TmtDqError(
                _shown(f"{kind}: {error}", job),
                where=redacted(job.input),
                hint=f"This is not an error of the file that tmt-dq foresees.\n{text}",
            )
        return cls(
            path_of(job.input),
            path_of(job.output),
            "failed",
            error=error,
            error_class=kind,
            seconds=seconds,
            size=size,
            worker=here(),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what a report says, without entries that say nothing."""
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


def here() -> str:
    """Return host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def state_of(path: str | os.PathLike[str]) -> FileState | None:
    """Return the state of a file; None if it is not there or cannot be asked."""
    if is_url(path):
        from tmt_dq.batch import elsewhere

        numbers = elsewhere.state_numbers(str(path))
        return None if numbers is None else FileState(*numbers)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileState(status.st_size, status.st_mtime_ns)


def process(job: Job, *, settings: Settings) -> FileResult:
    """Work on one exposure; what goes wrong with it is in the result.

    Parameters
    ----------
    job : Job
        The exposure.
    settings : Settings
        What it has in common with the others.

    Returns
    -------
    FileResult
        What became of it.
    """
    start = time.perf_counter()
    before = state_of(job.input)
    try:
        done = _process(job, settings, before)
    except Exception as error:  # noqa: BLE001 - one bad file never stops the night
        size = 0 if before is None else before.size
        return FileResult.failure(job, error, seconds=time.perf_counter() - start, size=size)
    return dataclasses.replace(done, seconds=time.perf_counter() - start)


def _process(job: Job, settings: Settings, before: FileState | None) -> FileResult:
    digest = None
    if settings.checksum:
        digest = _sha256(job.input)
        if digest == job.sha256:
            return _result(job, "skipped", before, digest)
    options = dict(settings.options)
    if settings.embedded:
        from tmt_dq.references import embedded

        options["crds_path"] = embedded.cache_path()
    if settings.again is not None:
        from tmt_dq.batch import again

        needed, why = again.judge(job, settings, options)
        if not needed:
            skipped = _result(job, "skipped", before, digest)
            return dataclasses.replace(skipped, reason=why, unaffected=True)
    from tmt_dq.apply.apply import apply_dq

    replace = job.replace or _left_by_a_lost_worker(job)
    applied = apply_dq(job.input, job.output, overwrite=replace, progress=meter(), **options)
    selection = applied.selection
    rules: tuple[Rule, ...] = ()
    if selection is not None:
        rules = (Rule(selection.observatory, str(selection.cache), selection.context),)
    elif options.get("mask") is None:
        # No rule matched; any other rules might.
        rules = settings.rules
    paths = [applied.mask_path, options.get("user_dq")]
    full = {redacted(str(name)): str(name) for name in options.values() if is_url(name)}
    shown = [redacted(str(path)) for path in paths if path is not None]
    states = [(path, state_of(full.get(path, path))) for path in shown]
    terms = Terms(
        version=__version__,
        parameters=settings.parameters,
        rules=rules,
        references=tuple((path, state) for path, state in states if state is not None),
    )
    return dataclasses.replace(
        _result(job, "done", before, digest),
        s_dqinit=applied.status,
        mask=applied.mask,
        mask_path=None if applied.mask_path is None else str(applied.mask_path),
        context=None if selection is None else selection.context,
        counts=applied.counts,
        output_state=state_of(job.output),
        terms=terms,
    )


def _result(
    job: Job, status: Literal["done", "skipped"], before: FileState | None, digest: str | None
) -> FileResult:
    return FileResult(
        path_of(job.input),
        path_of(job.output),
        status,
        size=0 if before is None else before.size,
        input_state=before,
        output_state=state_of(job.output),
        sha256=digest,
        worker=here(),
    )


def _left_by_a_lost_worker(job: Job) -> bool:
    """Tell whether the output, absent when the job was planned, is a whole one of ours by now.

    A worker can be killed after the output got its name and before anyone heard of it. A file that
    is not an output of tmt-dq is nobody's to replace.
    """
    if is_url(job.output):
        if state_of(job.output) is None:
            return False
    elif not os.path.lexists(job.output):
        return False
    from tmt_dq.fits.file import open_input

    try:
        with open_input(place_of(job.output)) as file:
            return "S_DQINIT" in file.units[0].header
    except RampFormatError:
        return False


def path_of(name: str) -> Path:
    """Return a name as a path, or as a `Url`, which can be shown and named like one."""
    return cast("Path", place_of(name))


def _shown(text: str, job: Job) -> str:
    """Return text without what is secret in the names of a job's files."""
    for name in (job.input, job.output):
        text = text.replace(name, redacted(name))
    return text


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    if is_url(path):
        from tmt_dq.io.remote import connect

        for piece in connect(Url(path)).stream():
            digest.update(piece)
        return digest.hexdigest()
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the name is text all the way
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise RampFormatError(
            f"cannot be read: {error.strerror}", where=path, hint="Check the name and the rights."
        ) from error
    return digest.hexdigest()
