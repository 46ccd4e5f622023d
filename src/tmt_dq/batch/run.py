"""A batch: many exposures, each on its own, and what became of them."""

import contextlib
import functools
import glob
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TextIO

from tmt_dq.batch.account import Account, BatchResult, Folder
from tmt_dq.batch.again import check_again, check_old_rules, rehearse
from tmt_dq.batch.inputs import find_inputs
from tmt_dq.batch.jobs import FileResult, Job, Reprocessing, Settings, process
from tmt_dq.batch.lines import JsonLines
from tmt_dq.batch.plan import Planned, Planner, name_outputs
from tmt_dq.batch.settings import make_settings
from tmt_dq.batch.state import State
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.urls import Place, Url, is_url, place_of

__all__ = ["BatchResult", "Mapper", "plan_batch", "remove_leftovers", "run_batch"]

PathLike = str | os.PathLike[str]

_BLOCK = 32
"""Jobs that are announced in the folder's memory at once, with a single wait for the disk."""

_KNOWN_BY = 3


class Mapper(Protocol):
    """Does jobs somewhere; takes them one by one, and returns them as they end."""

    def __call__(
        self, work: Callable[[Job], FileResult], jobs: Iterable[Job], /
    ) -> Iterator[tuple[Job, FileResult | Exception]]:
        """Do the jobs."""
        ...


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
    affected_by : str, optional
        The CRDS context of before: only exposures are processed that the new one (`context`)
        gives another mask. Where there is an output, the mask that it names is what counts.
    old_crds_path : path, optional
        CRDS cache of `affected_by`, if it is another one.
    flags_only : bool
        Whether another mask with the same flags in an exposure's pixels changes nothing.
    state_dir : path, optional
        Folder on this machine for what is remembered of an `output_dir` elsewhere (a URL). By
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
    again = _again(affected_by, old_crds_path, flags_only=flags_only)
    settings, outputs = _prepare(
        inputs,
        manifests,
        output_dir,
        stdin,
        options,
        again,
        checksum=checksum,
    )
    if mapper is None:
        from tmt_dq.batch.processes import Processes

        mapper = Processes(jobs)
    with contextlib.ExitStack() as stack:
        folder = _memory_of(_absolute(output_dir), state_dir)
        _make_folder(folder)
        state = State(folder)
        memory = Folder(state)
        stack.callback(memory.close)
        planner = Planner(state, settings, overwrite=overwrite, retry_failed=retry_failed)
        lines = None
        if report is not None:
            lines = JsonLines(Path(report))
            stack.callback(lines.close)
        account = Account(memory, lines, on_result)
        if on_start is not None:
            on_start(len(outputs))
        watch = getattr(mapper, "watch", None)
        if watch is not None and on_bytes is not None:
            watch(on_bytes)
        share = getattr(mapper, "share", None)
        if share is not None:
            share(_shared(state, settings, outputs))
        _work(outputs, planner, settings, mapper, account)
    return account.result(time.perf_counter() - start)


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
    """Say what `run_batch` would do with the same arguments; nothing is written.

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
    again = _again(affected_by, old_crds_path, flags_only=flags_only)
    settings, outputs = _prepare(
        inputs,
        manifests,
        output_dir,
        stdin,
        options,
        again,
        checksum=checksum,
    )
    state = State(_memory_of(_absolute(output_dir), state_dir), read_only=True)
    planner = Planner(state, settings, overwrite=overwrite, retry_failed=retry_failed)
    plans = itertools.starmap(planner.decide, outputs.items())
    return plans if again is None else (rehearse(plan, settings) for plan in plans)


def _again(
    affected_by: str | None, old_crds_path: PathLike | None, *, flags_only: bool
) -> Reprocessing | None:
    """Return which exposures are meant; None for all."""
    if affected_by is None:
        said = {"old_crds_path": old_crds_path, "flags_only": flags_only}
        for name, value in said.items():
            if value:
                raise ConfigError(
                    f"{name} is given, but not affected_by",
                    hint="It is about what new rules change: name the context of before.",
                )
        return None
    old = None if old_crds_path is None else str(Path(old_crds_path).absolute())
    return Reprocessing(affected_by, old, flags_only)


def _prepare(
    inputs: PathLike | Iterable[PathLike],
    manifests: Iterable[PathLike],
    output_dir: PathLike,
    stdin: TextIO | None,
    options: Mapping[str, Any],
    again: Reprocessing | None,
    *,
    checksum: bool,
) -> tuple[Settings, dict[str, str]]:
    """Check what all exposures share, and name their outputs; nothing is written."""
    told = {name: value for name, value in options.items() if value is not None}
    check_again(again, told)
    settings = make_settings(options, checksum=checksum)
    if again is not None:
        check_old_rules(again, settings)
        settings = replace(settings, again=again)
    folder = _absolute(output_dir)
    here = folder if isinstance(folder, Path) else Path(os.devnull)
    outputs = name_outputs(_find(inputs, manifests, here, stdin), folder)
    if again is not None and any(is_url(name) for pair in outputs.items() for name in pair):
        raise ConfigError(
            "affected_by is about files on this machine, and there is a URL",
            hint="Run the batch with the new context: what is done and still true is skipped.",
        )
    return settings, outputs


def _absolute(folder: PathLike) -> Place:
    place = place_of(folder)
    return place if isinstance(place, Url) else place.absolute()


def _memory_of(folder: Place, state_dir: PathLike | None) -> Path:
    """Return the folder with the batch's own file; beside outputs elsewhere it cannot be locked."""
    if not isinstance(folder, Url):
        return folder
    from tmt_dq.batch.elsewhere import memory_folder

    return memory_folder(folder, None if state_dir is None else Path(state_dir).absolute())


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


def _shared(state: State | None, settings: Settings, outputs: Mapping[str, str]) -> object:
    """Say what the workers of a cluster must see."""
    from tmt_dq.batch.cluster import Shared

    files = [settings.options.get("mask"), settings.options.get("user_dq")]
    named = [str(path) for path in files if path is not None and str(path).upper() != "N/A"]
    named = [path for path in named if not is_url(path)]
    folders = {str(Path(path).parent) for path in outputs if not is_url(path)}
    if not settings.embedded:
        folders |= {rule.cache for rule in settings.rules}
    if any(is_url(path) for path in outputs.values()):
        state = None  # what is remembered is here, and the workers' outputs are not
    if state is None:
        # No file of ours is there to know the folders by: some of the exposures must do.
        named += [path for path in list(outputs)[:_KNOWN_BY] if Path(path).is_file()]
    elif settings.again is not None and settings.again.old_crds_path is not None:
        folders.add(settings.again.old_crds_path)
    return Shared(
        memory=None if state is None else str(state.path),
        identity="" if state is None else state.identity,
        # Folders that are not here either are the business of the files in them.
        folders=tuple(sorted(filter(os.path.isdir, folders))),
        files=tuple((path, Path(path).stat().st_size) for path in named),
    )


def _work(
    outputs: Mapping[str, str],
    planner: Planner,
    settings: Settings,
    mapper: Mapper,
    account: Account,
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
            account.memory.begin(plan.job.output for plan in work)
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
    if is_url(plan.job.output):
        from tmt_dq.batch import elsewhere

        elsewhere.remove_leftovers(plan.job.output)
        return
    target = Path(plan.job.output)
    for path in target.parent.glob(f".{glob.escape(target.name[:200])}.????????.part"):
        path.unlink(missing_ok=True)
