"""`run_batch` and `plan_batch`: many exposures, each on its own."""

import contextlib
import functools
import glob
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tmt_dq.batch.cluster import Cluster
from tmt_dq.batch.inputs import find_inputs
from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.plan import Planner, name_outputs
from tmt_dq.batch.pool import Processes
from tmt_dq.batch.records import BatchResult, FileResult, Job, Work
from tmt_dq.batch.settings import Settings, make_settings
from tmt_dq.batch.worker import process, rehearse
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.urls import file_name, is_url, redacted

PathLike = str | os.PathLike[str]

_log = logging.getLogger(__name__)

_BLOCK = 32
"""Jobs that are entered into the journal at once, with a single wait for the disk."""


Results = Iterator[tuple[Job, FileResult | Exception]]
Mapper = Callable[[Work, Iterable[Job]], Results]
"""Way to do jobs: takes them one by one, and returns them with their results as they end."""


def serial(work: Work, jobs: Iterable[Job]) -> Results:
    """Do one job after the other in this process: a mapper for tests and debuggers."""
    for job in jobs:
        yield job, work(job)


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
    affected_by: str | None = None,
    old_crds_path: PathLike | None = None,
    flags_only: bool = False,
    state_dir: PathLike | None = None,
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
        it, ``.tmt-dq-batch.jsonl``, is the journal of what was done.
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
    affected_by : str, optional
        The CRDS context of before: only exposures are processed that the new one (`context`)
        gives another mask. Where there is an output, the mask that it names is what counts.
    old_crds_path : path, optional
        CRDS cache of `affected_by`, if it is another one.
    flags_only : bool
        Whether another mask with the same flags in an exposure's pixels changes nothing.
    state_dir : path, optional
        Folder on this machine for the journal of a remote `output_dir` (a URL). By
        default one in the user's own folder for the state of programs.
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
    settings = make_settings(
        {
            **options,
            "checksum": checksum,
            "affected_by": affected_by,
            "old_crds_path": old_crds_path,
            "flags_only": flags_only,
        }
    )
    outputs = _outputs(inputs, manifests, output_dir, stdin, settings)
    if mapper is None:
        mapper = Processes(jobs)
    total = BatchResult()
    with contextlib.ExitStack() as stack:
        journal = Journal(*_journal_place(output_dir, state_dir, make=True))
        stack.enter_context(contextlib.closing(journal))
        lines = None
        if report is not None:
            lines = stack.enter_context(contextlib.closing(JsonLines(Path(report))))
        enter = functools.partial(_enter, total, journal, lines, on_result)
        if on_start is not None:
            on_start(len(outputs))
        if isinstance(mapper, Cluster):
            mapper.share(journal, settings)
        planner = Planner(journal, settings, overwrite=overwrite, retry_failed=retry_failed)
        todo = _todo(itertools.starmap(planner.plan, outputs.items()), journal, enter)
        results = mapper(functools.partial(process, settings=settings), todo)
        # Now, not when the garbage is collected: it ends the workers.
        stack.callback(getattr(results, "close", int))
        for job, answer in results:
            enter(job, answer)
    total.seconds = time.perf_counter() - start
    return total


def plan_batch(
    inputs: PathLike | Iterable[PathLike],
    *,
    output_dir: PathLike,
    manifests: Iterable[PathLike] = (),
    retry_failed: bool = False,
    overwrite: bool = False,
    state_dir: PathLike | None = None,
    stdin: TextIO | None = None,
    **options: Any,
) -> Iterator[Job]:
    """Return what `run_batch` would do with the same arguments; nothing is written."""
    settings = make_settings(options)
    outputs = _outputs(inputs, manifests, output_dir, stdin, settings)
    journal = Journal(*_journal_place(output_dir, state_dir), read_only=True)
    planner = Planner(journal, settings, overwrite=overwrite, retry_failed=retry_failed)
    return (rehearse(planner.plan(*pair), settings) for pair in outputs.items())


def _journal_place(
    output_dir: PathLike, state_dir: PathLike | None, *, make: bool = False
) -> tuple[Path, str | None]:
    """Return the folder of the journal: that of the outputs, or a local one and their URL."""
    url = str(output_dir).rstrip("/") if is_url(output_dir) else None
    folder = Path(output_dir).absolute()
    if url is not None:
        if state_dir is None:
            import platformdirs

            state_dir = platformdirs.user_state_path("tmt-dq") / "batches"
        digest = hashlib.sha256(redacted(url).encode()).hexdigest()[:16]
        folder = Path(state_dir).absolute() / f"{file_name(url) or 'root'}-{digest}"
    if make:
        make_folder(folder)
    return folder, url


def _outputs(
    inputs: PathLike | Iterable[PathLike],
    manifests: Iterable[PathLike],
    output_dir: PathLike,
    stdin: TextIO | None,
    settings: Settings,
) -> dict[str, str]:
    """Find the exposures; return the output of each."""
    names = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    again = settings.options.start_over
    found = find_inputs(
        names, manifests=manifests, output_dir=output_dir, stdin=stdin, outputs=again
    )
    folder = str(output_dir) if is_url(output_dir) else Path(output_dir)
    outputs = name_outputs(found, folder, start_over=again)
    if settings.affected_by is not None and any(map(is_url, (*outputs, *outputs.values()))):
        what = "affected_by is about local exposures and outputs, and some are URLs"
        raise ConfigError(what, hint="Copy them to this machine, or leave affected_by out.")
    return outputs


def make_folder(folder: Path) -> None:
    """Make a folder of outputs, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"the folder cannot be made: {error.strerror}"
        raise OutputError(what, where=folder, hint="Name another --output-dir.") from error


def _enter(
    total: BatchResult,
    journal: Journal,
    report: JsonLines | None,
    on_result: Callable[[FileResult], None] | None,
    job: Job,
    answer: FileResult | Exception,
) -> None:
    """Enter what became of an exposure everywhere."""
    result = FileResult.failure(job, answer) if isinstance(answer, Exception) else answer
    # What the journal has is skipped next time: by then, it must have a line in the report.
    if report is not None:
        report.append(result.as_dict())
    if job.action != "skip":
        journal.finish(result)
    total.add(result, worked_on=job.action == "process")
    source, target = redacted(str(result.input)), redacted(str(result.output))
    if result.error is not None:
        _log.debug("%s: failed: %s", source, result.error)
    elif result.status == "done":
        _log.info("%s: %s, mask %s; %s written", source, result.s_dqinit, result.mask, target)
    if on_result is not None:
        on_result(result)


def _todo(
    jobs: Iterator[Job], journal: Journal, enter: Callable[[Job, FileResult], None]
) -> Iterator[Job]:
    """Yield the jobs; what is not to be done is entered on the way."""
    while block := list(itertools.islice(jobs, _BLOCK)):
        for job in block:
            if job.action != "process":
                enter(job, job.settled())
        work = [job for job in block if job.action == "process"]
        # From here on these outputs are ours, even if the batch is killed before they are done.
        journal.begin(os.path.basename(job.output) for job in work)  # noqa: PTH119 - text
        for job in work:
            if job.reason == "interrupted":
                remove_leftovers(job.output)
            yield job


def remove_leftovers(output: str) -> None:
    """Remove what a killed worker left where the file system has no nameless files."""
    if is_url(output):
        return  # what was not sent whole is not there
    target = Path(output)
    for path in target.parent.glob(f".{glob.escape(target.name[:200])}.????????.part"):
        path.unlink(missing_ok=True)
