"""`watch_folder` and `plan_watch`: ramps as they arrive."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.plan import Planner
from tmt_dq.batch.records import FileResult
from tmt_dq.batch.run import make_folder
from tmt_dq.batch.settings import make_settings
from tmt_dq.watch.completeness import look
from tmt_dq.watch.decisions import decide
from tmt_dq.watch.options import WatchOptions, local_folder
from tmt_dq.watch.search import cannot_search, walk
from tmt_dq.watch.service import Control, Service, WatchResult
from tmt_dq.watch.status import Reporter

PathLike = str | os.PathLike[str]

_OWN = {"patterns", "recursive", "redo", "overwrite"}


def watch_folder(  # noqa: PLR0913 - the options of the verb, keyword-only
    folder: PathLike,
    *,
    output_dir: PathLike,
    patterns: Iterable[str] = (),
    recursive: bool = True,
    jobs: int | None = None,
    settle_s: float = 2.0,
    stalled_s: float = 60.0,
    poll_s: float | None = None,
    once: bool = False,
    grace_s: float = 20.0,
    redo: bool = False,
    overwrite: bool = False,
    report: PathLike | None = None,
    heartbeat: PathLike | None = None,
    prometheus: str | None = None,
    control: Control | None = None,
    on_result: Callable[[FileResult], None] | None = None,
    **options: Any,
) -> WatchResult:
    """Initialize the data quality of exposures as they arrive in a folder.

    An exposure is worked on when it is complete: all bytes that its headers announce are there, and
    nobody writes to it. What was done before is known from the output folder, also after a restart,
    and to `tmt_dq.run_batch`. One bad file never stops the others.

    Parameters
    ----------
    folder : path
        The folder in which ramps arrive.
    output_dir : path
        Folder of the outputs ``<root>_dqinit.fits``; made if it does not exist.
    patterns : iterable of str
        Shell patterns for the names of ramps; without any, all FITS files.
    recursive : bool
        Whether folders below are watched too.
    jobs : int, optional
        Worker processes; by default the number of cores.
    settle_s : float
        Seconds without a change after which a whole file is taken where it is not known whether
        anybody writes to it, or its keyword COMPLETE is F.
    stalled_s : float
        Seconds without a change after which a file that is not whole is set aside.
    poll_s : float, optional
        Seconds between searches of the folder; by default 1 on network file systems, and 0.1 on
        others. A large folder is searched in a tenth of the time.
    once : bool
        Whether to end when all is done that is complete.
    grace_s : float
        Seconds that work may go on after the request to stop.
    redo : bool
        Whether outputs are made again that are missing, or were made under other rules, options or
        version. By default that is left to `tmt_dq.run_batch`.
    overwrite : bool
        Whether files that neither a watch nor a batch made are replaced.
    report : path, optional
        File to add one JSON line per exposure to, as in a batch.
    heartbeat : path, optional
        JSON file that is replaced every 5 s.
    prometheus : str, optional
        ``PORT`` or ``HOST:PORT`` to serve metrics at; the host is 127.0.0.1 unless named.
    control : Control, optional
        To stop it from another thread or a signal handler.
    on_result : callable, optional
        Called with the `tmt_dq.batch.FileResult` of each exposure that was worked on.
    **options
        Of `tmt_dq.apply_dq`, as in `tmt_dq.run_batch`.

    Returns
    -------
    WatchResult
        What was done.

    Raises
    ------
    ConfigError
        Raised if the folder is not there or cannot be read, an option makes no sense, or a library
        is missing.
    MaskFormatError, SelectionError
        Raised if a file named in the options, or the context, is not there.
    OutputError
        Raised if the output folder cannot be written when it starts (later it is waited for, unless
        `once`), if it is gone, or if another watch or batch works in it.

    Examples
    --------
    >>> from tmt_dq import watch_folder
    >>> watch_folder("incoming", output_dir="reduced", once=True)  # doctest: +SKIP
    """
    chosen = WatchOptions(
        folder=local_folder(folder),
        output_dir=local_folder(output_dir),
        patterns=tuple(patterns),
        recursive=recursive,
        jobs=jobs,
        settle_s=settle_s,
        stalled_s=stalled_s,
        poll_s=poll_s,
        once=once,
        grace_s=grace_s,
        redo=redo,
        overwrite=overwrite,
        heartbeat=heartbeat,
        prometheus=prometheus,
        apply=options,
    )
    settings = make_settings(options)
    make_folder(chosen.output_dir)
    with contextlib.ExitStack() as stack:
        keep = stack.enter_context
        journal = keep(contextlib.closing(Journal(chosen.output_dir)))
        lines = None if report is None else keep(contextlib.closing(JsonLines(Path(report))))
        reporter = keep(contextlib.closing(Reporter(chosen)))
        service = Service(
            chosen, settings, control or Control(), journal, reporter, lines, on_result
        )
        return service.run()


class Prospect(NamedTuple):
    """What a watch would do with a file: "process", "skip", "aside" or "wait", and why."""

    path: str
    action: str
    reason: str


def plan_watch(folder: PathLike, *, output_dir: PathLike, **options: Any) -> Iterator[Prospect]:
    """Yield what `watch_folder` would do with each file that is there; nothing is written."""
    own = {name: options.pop(name) for name in list(options) if name in _OWN}
    places = local_folder(folder), local_folder(output_dir)
    chosen = WatchOptions(*places, apply=options, **own)
    settings = make_settings(options)
    journal = Journal(chosen.output_dir, read_only=True)
    planner = Planner(journal, settings, overwrite=chosen.overwrite)
    for path, identity in walk(chosen, cannot_search):
        job, _ = decide(path, identity, chosen, journal, planner, {})
        seen = look(path, remote=chosen.remote) if job.action == "process" else None
        if seen is not None and seen.wait != "no":
            seconds = chosen.patience_s[seen.wait]
            yield Prospect(path, "wait", f"{seen.why} (until unchanged for {seconds:g} s)")
        else:
            yield Prospect(path, "aside" if job.action == "refuse" else job.action, job.reason)
