"""A batch: many exposures, each on its own, and what became of them."""

import contextlib
import functools
import glob
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from tmt_dq.batch.inputs import find_inputs
from tmt_dq.batch.jobs import FileResult, Job, Settings, process
from tmt_dq.batch.lines import JsonLines
from tmt_dq.batch.plan import Planned, Planner, name_outputs
from tmt_dq.batch.settings import make_settings
from tmt_dq.batch.state import State
from tmt_dq.errors import BatchError, OutputError, TmtDqError

__all__ = ["BatchResult", "Mapper", "plan_batch", "remove_leftovers", "run_batch"]

PathLike = str | os.PathLike[str]

_BLOCK = 32
"""Jobs that are announced in the folder's memory at once, with a single wait for the disk."""

_KEPT_ERRORS = 1000


class Mapper(Protocol):
    """Does jobs somewhere; takes them one by one, and returns them as they end."""

    def __call__(
        self, work: Callable[[Job], FileResult], jobs: Iterable[Job], /
    ) -> Iterator[tuple[Job, FileResult | Exception]]:
        """Do the jobs."""
        ...


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


def run_batch(  # noqa: PLR0913 - the options of the verb, keyword-only
    inputs: PathLike | Iterable[PathLike],
    *,
    output_dir: PathLike,
    manifests: Iterable[PathLike] = (),
    jobs: int | None = None,
    report: PathLike | None = None,
    retry_failed: bool = False,
    checksum: bool = False,
    overwrite: bool = False,
    mapper: Mapper | None = None,
    on_start: Callable[[int], None] | None = None,
    on_result: Callable[[FileResult], None] | None = None,
    stdin: TextIO | None = None,
    **options: Any,
) -> BatchResult:
    """Initialize the data quality of many exposures; one bad file never stops the others.

    What was done before, and would come out the same, is skipped: same size and time of change of
    the input, same rules, mask, parameters and version, and the output still there as it was
    made. What failed or was interrupted is done again.

    Parameters
    ----------
    inputs : path or iterable of path
        Files, patterns, folders, ``-``, ``@manifest``, associations: `tmt_dq.batch.find_inputs`.
    output_dir : path
        Folder of the outputs ``<root>_dqinit.fits``; made if it does not exist. A small file in
        it, ``.tmt-dq-batch.jsonl``, remembers what was done.
    manifests : iterable of path
        Files with names of exposures.
    jobs : int, optional
        Processes on this machine; by default the number of cores.
    report : path, optional
        File to add one JSON line per exposure to.
    retry_failed : bool
        Whether only what failed before is done.
    checksum : bool
        Whether the sha256 of inputs is recorded and compared, which reads them once more.
    overwrite : bool
        Whether files that this batch did not make are replaced.
    mapper : callable, optional
        Does the jobs, instead of processes on this machine: a `tmt_dq.batch.Cluster`.
    on_start : callable, optional
        Called with the number of exposures before the first of them.
    on_result : callable, optional
        Called with the result of each exposure.
    stdin : text stream, optional
        What the input ``-`` reads.
    **options
        Of `tmt_dq.apply_dq`: mask, user_dq, user_reading, subarray, propagate_do_not_use, recipe,
        if_no_mask, unknown, crds_path, context, sync.

    Returns
    -------
    BatchResult
        What became of them; its ``raise_failures()`` raises if some failed.

    Raises
    ------
    ConfigError
        Raised, before any work, if there is no input, two exposures have the same output, or an
        option makes no sense.
    MaskFormatError, SelectionError
        Raised, before any work, if a file named in the options, or the context, is not there.
    OutputError
        Raised if the folder or the report cannot be written, or another batch works in the folder.

    Examples
    --------
    >>> from tmt_dq import run_batch
    >>> result = run_batch("night", output_dir="reduced")  # doctest: +SKIP
    >>> result.done, result.skipped, result.failed  # doctest: +SKIP
    (1200, 0, 0)
    """
    start = time.perf_counter()
    folder = Path(output_dir).absolute()
    settings = make_settings(options, checksum=checksum)
    outputs = name_outputs(_find(inputs, manifests, folder, stdin), folder)
    if mapper is None:
        from tmt_dq.batch.processes import Processes

        mapper = Processes(jobs)
    with contextlib.ExitStack() as stack:
        _make_folder(folder)
        state = State(folder)
        stack.callback(state.close)
        lines = None
        if report is not None:
            lines = JsonLines(Path(report))
            stack.callback(lines.close)
        account = _Account(state, lines, on_result)
        planner = Planner(state, settings, overwrite=overwrite, retry_failed=retry_failed)
        if on_start is not None:
            on_start(len(outputs))
        share = getattr(mapper, "share", None)
        if share is not None:
            share(_shared(state, settings, outputs))
        _work(outputs, planner, settings, mapper, account)
    return account.result(time.perf_counter() - start)


def plan_batch(
    inputs: PathLike | Iterable[PathLike],
    *,
    output_dir: PathLike,
    manifests: Iterable[PathLike] = (),
    retry_failed: bool = False,
    checksum: bool = False,
    overwrite: bool = False,
    stdin: TextIO | None = None,
    **options: Any,
) -> Iterator[Planned]:
    """Say what `run_batch` would do with the same arguments; nothing is written.

    Parameters
    ----------
    inputs, output_dir, manifests, retry_failed, checksum, overwrite, stdin, **options
        As in `run_batch`.

    Yields
    ------
    Planned
        One for each exposure.
    """
    folder = Path(output_dir).absolute()
    settings = make_settings(options, checksum=checksum)
    outputs = name_outputs(_find(inputs, manifests, folder, stdin), folder)
    state = State(folder, read_only=True)
    planner = Planner(state, settings, overwrite=overwrite, retry_failed=retry_failed)
    return itertools.starmap(planner.decide, outputs.items())


def _find(
    inputs: PathLike | Iterable[PathLike],
    manifests: Iterable[PathLike],
    folder: Path,
    stdin: TextIO | None,
) -> list[str]:
    names = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    return find_inputs(names, manifests=manifests, output_dir=folder, stdin=stdin)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be made: {error.strerror}",
            where=folder,
            hint="Name another --output-dir.",
        ) from error


def _shared(state: State, settings: Settings, outputs: Mapping[str, str]) -> object:
    """Say what the workers of a cluster must see."""
    from tmt_dq.batch.cluster import Shared

    files = [settings.options.get("mask"), settings.options.get("user_dq")]
    named = [str(path) for path in files if path is not None and str(path).upper() != "N/A"]
    folders = {str(Path(path).parent) for path in outputs}
    if not settings.embedded:
        folders |= {rule.cache for rule in settings.rules}
    return Shared(
        memory=str(state.path),
        identity=state.identity,
        # Folders that are not here either are the business of the files in them.
        folders=tuple(sorted(filter(os.path.isdir, folders))),
        files=tuple((path, Path(path).stat().st_size) for path in named),
    )


class _Account:
    """Keeps the books: the folder's memory, the report, the sums."""

    def __init__(
        self,
        state: State,
        lines: JsonLines | None,
        on_result: Callable[[FileResult], None] | None,
    ) -> None:
        self.state = state
        self._lines = lines
        self._on_result = on_result
        self._status: Counter[str] = Counter()
        self._masks: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._errors: list[TmtDqError] = []
        self._size = 0

    def enter(self, result: FileResult, *, worked_on: bool) -> None:
        """Take a result down."""
        if worked_on or result.status == "failed":
            self.state.finish(result)
        if worked_on:
            self._size += result.size
        self._status[result.status] += 1
        if result.mask is not None:
            self._masks[result.mask] += 1
        self._counts.update(result.counts)
        if result.error is not None:
            self._failures[result.error_class or ""] += 1
            if len(self._errors) < _KEPT_ERRORS:
                self._errors.append(result.error)
        if self._lines is not None:
            self._lines.append(result.as_dict())
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
            failures=dict(self._failures),
            errors=tuple(self._errors),
        )


def _work(
    outputs: Mapping[str, str],
    planner: Planner,
    settings: Settings,
    mapper: Mapper,
    account: _Account,
) -> None:
    """Plan, announce and do the jobs; no more of them exist at a time than the mapper takes."""

    def todo() -> Iterator[Job]:
        pairs = iter(outputs.items())
        while block := list(itertools.islice(pairs, _BLOCK)):
            plans = [planner.decide(*pair) for pair in block]
            for plan in plans:
                if plan.action != "process":
                    account.enter(plan.settled(), worked_on=False)
            work = [plan for plan in plans if plan.action == "process"]
            # From here on these outputs are ours, even if nobody lives to say that they are done.
            account.state.begin(Path(plan.job.output).name for plan in work)
            for plan in work:
                remove_leftovers(plan)
                yield plan.job

    task = functools.partial(process, settings=settings)
    results = mapper(task, todo())
    try:
        for job, answer in results:
            if isinstance(answer, FileResult):
                account.enter(answer, worked_on=True)
            else:
                account.enter(FileResult.failure(job, answer), worked_on=True)
    finally:
        # Now, not when the garbage is collected: it ends the workers.
        close = getattr(results, "close", None)
        if close is not None:
            close()


def remove_leftovers(plan: Planned) -> None:
    """Remove what a killed worker left where the file system has no nameless files."""
    if plan.reason != "interrupted":
        return
    target = Path(plan.job.output)
    for path in target.parent.glob(f".{glob.escape(target.name[:200])}.????????.part"):
        path.unlink(missing_ok=True)
