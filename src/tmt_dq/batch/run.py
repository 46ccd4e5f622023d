"""`run_batch` and `plan_batch`: many exposures, each on its own."""

import contextlib
import functools
import glob
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from tmt_dq.batch.inputs import find_inputs
from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.mappers import Mapper, Processes
from tmt_dq.batch.plan import Planner, name_outputs
from tmt_dq.batch.records import FileResult, Job, Planned, Reprocessing, Settings
from tmt_dq.batch.settings import make_settings
from tmt_dq.batch.totals import BatchResult, Totals
from tmt_dq.batch.worker import process, rehearse
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.urls import file_name, is_url, redacted

__all__ = ["make_folder", "plan_batch", "remove_leftovers", "run_batch"]

PathLike = str | os.PathLike[str]

_BLOCK = 32
"""Jobs that are entered into the journal at once, with a single wait for the disk."""


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
    on_bytes: Callable[[int], None] | None = None,
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
    on_bytes : callable, optional
        Called with numbers of bytes while files are being written, where the mapper knows; their
        sum is that of the files at work: it goes down when one of them ends.
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
    again = _reprocessing(affected_by, old_crds_path, options, flags_only=flags_only)
    settings = _settings(options, again, checksum=checksum)
    outputs = _outputs(inputs, manifests, output_dir, stdin, settings)
    if mapper is None:
        mapper = Processes(jobs)
    with contextlib.ExitStack() as stack:
        folder = _journal_folder(output_dir, state_dir)
        make_folder(folder)
        journal = Journal(folder, outputs=_url_of(output_dir))
        stack.enter_context(contextlib.closing(journal))
        planner = Planner(journal, settings, overwrite=overwrite, retry_failed=retry_failed)
        lines = None
        if report is not None:
            lines = stack.enter_context(contextlib.closing(JsonLines(Path(report))))
        totals = Totals(journal, lines, on_result)
        if on_start is not None:
            on_start(len(outputs))
        watch = getattr(mapper, "watch", None)
        if watch is not None and on_bytes is not None:
            watch(on_bytes)
        share = getattr(mapper, "share", None)
        if share is not None:
            from tmt_dq.batch.shared import shared_files

            share(shared_files(journal, settings, outputs))
        plans = itertools.starmap(planner.plan, outputs.items())
        _work(mapper, settings, _todo(plans, journal, totals), totals)
    return totals.result(time.perf_counter() - start)


def plan_batch(  # noqa: PLR0913 - those of run_batch, keyword-only
    inputs: PathLike | Iterable[PathLike],
    *,
    output_dir: PathLike,
    manifests: Iterable[PathLike] = (),
    retry_failed: bool = False,
    checksum: bool = False,
    overwrite: bool = False,
    affected_by: str | None = None,
    old_crds_path: PathLike | None = None,
    flags_only: bool = False,
    state_dir: PathLike | None = None,
    stdin: TextIO | None = None,
    **options: Any,
) -> Iterator[Planned]:
    """Return what `run_batch` would do with the same arguments; nothing is written.

    Parameters
    ----------
    inputs, output_dir, manifests, retry_failed, checksum, overwrite, affected_by, old_crds_path, \
flags_only, state_dir, stdin, **options
        As in `run_batch`.

    Returns
    -------
    iterator of Planned
        One for each exposure.
    """
    again = _reprocessing(affected_by, old_crds_path, options, flags_only=flags_only)
    settings = _settings(options, again, checksum=checksum)
    outputs = _outputs(inputs, manifests, output_dir, stdin, settings)
    folder = _journal_folder(output_dir, state_dir)
    journal = Journal(folder, outputs=_url_of(output_dir), read_only=True)
    planner = Planner(journal, settings, overwrite=overwrite, retry_failed=retry_failed)
    return (rehearse(planner.plan(*pair), settings) for pair in outputs.items())


def _reprocessing(
    affected_by: str | None,
    old_crds_path: PathLike | None,
    options: Mapping[str, Any],
    *,
    flags_only: bool,
) -> Reprocessing | None:
    """Return which exposures are wanted; None for all."""
    if affected_by is None:
        for name, value in {"old_crds_path": old_crds_path, "flags_only": flags_only}.items():
            if value:
                raise ConfigError(
                    f"{name} is given, but not affected_by",
                    hint="It is about what new rules change: name the context of before.",
                )
        return None
    if options.get("mask") is not None:
        raise ConfigError(
            "a mask and affected_by are both given; expected one of them",
            hint="affected_by compares masks that rules choose.",
        )
    old = None if old_crds_path is None else str(Path(old_crds_path).absolute())
    return Reprocessing(affected_by, old, flags_only)


def _settings(
    options: Mapping[str, Any], again: Reprocessing | None, *, checksum: bool
) -> Settings:
    """Check what all exposures share, the rules of before included."""
    settings = make_settings(options, checksum=checksum)
    if again is None:
        return settings
    from tmt_dq.delivery.affected import check_context

    check_context(again.old_crds_path or settings.options.crds_path, again.old_context)
    # What is affected is made of the raw ramp or, where that is gone, of the initialized exposure.
    return replace(settings, again=again, options=replace(settings.options, start_over=True))


def _journal_folder(output_dir: PathLike, state_dir: PathLike | None) -> Path:
    """Return the folder of the journal: that of the outputs, or a local one if that is remote."""
    if not is_url(output_dir):
        return Path(output_dir).absolute()
    if state_dir is None:
        import platformdirs

        state_dir = platformdirs.user_state_path("tmt-dq") / "batches"
    url = os.fspath(output_dir).rstrip("/")
    digest = hashlib.sha256(redacted(url).encode()).hexdigest()[:16]
    return Path(state_dir).absolute() / f"{file_name(url) or 'root'}-{digest}"


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
    folder = _url_of(output_dir) or Path(output_dir)
    outputs = name_outputs(found, folder, start_over=again)
    if settings.again is not None and any(map(is_url, (*outputs, *outputs.values()))):
        raise ConfigError(
            "affected_by is about local exposures and outputs, and some are URLs",
            hint="Copy them to this machine, or leave affected_by out.",
        )
    return outputs


def _url_of(folder: PathLike) -> str | None:
    return str(folder) if is_url(folder) else None


def make_folder(folder: Path) -> None:
    """Make a folder of outputs, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be made: {error.strerror}",
            where=folder,
            hint="Name another --output-dir.",
        ) from error


def _todo(plans: Iterator[Planned], journal: Journal, totals: Totals) -> Iterator[Job]:
    """Yield the jobs; what is not to be done is entered on the way."""
    while block := list(itertools.islice(plans, _BLOCK)):
        for plan in block:
            if plan.action != "process":
                totals.enter(plan.settled(), worked_on=False)
        work = [plan for plan in block if plan.action == "process"]
        # From here on these outputs are ours, even if the batch is killed before they are done.
        journal.begin(os.path.basename(plan.job.output) for plan in work)  # noqa: PTH119 - text
        for plan in work:
            if plan.reason == "interrupted":
                remove_leftovers(plan.job.output)
            yield plan.job


def _work(mapper: Mapper, settings: Settings, jobs: Iterator[Job], totals: Totals) -> None:
    """Do the jobs; no more of them exist at a time than the mapper takes."""
    results = mapper(functools.partial(process, settings=settings), jobs)
    try:
        for job, answer in results:
            result = FileResult.failure(job, answer) if isinstance(answer, Exception) else answer
            totals.enter(result, worked_on=True)
    finally:
        # Now, not when the garbage is collected: it ends the workers.
        close = getattr(results, "close", None)
        if close is not None:
            close()


def remove_leftovers(output: str) -> None:
    """Remove what a killed worker left where the file system has no nameless files."""
    if is_url(output):
        return  # what was not sent whole is not there
    target = Path(output)
    for path in target.parent.glob(f".{glob.escape(target.name[:200])}.????????.part"):
        path.unlink(missing_ok=True)
