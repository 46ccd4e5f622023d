"""`watch_folder` and `plan_watch`: ramps as they arrive."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmt_dq.batch.journal import Journal
from tmt_dq.batch.records import FileResult
from tmt_dq.batch.run import make_folder
from tmt_dq.batch.settings import make_settings
from tmt_dq.errors import BatchError, ConfigError, TmtDqError
from tmt_dq.watch.completeness import Identity, look, wait_for
from tmt_dq.watch.control import Control
from tmt_dq.watch.decisions import Decider
from tmt_dq.watch.events import walk
from tmt_dq.watch.options import WatchOptions, folder_of

__all__ = ["Prospect", "WatchResult", "plan_watch", "watch_folder"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class WatchResult:
    """What was done while a folder was watched.

    Attributes
    ----------
    done, failed, skipped : int
        Number of exposures: worked on; set aside, each time it was; done before.
    size : int
        Bytes of the exposures that were worked on.
    set_aside : mapping of str to TmtDqError
        The exposures that are set aside now, and why.
    unfinished : mapping of str to str
        Files that were not complete, and what was waited for.
    """

    done: int
    failed: int
    skipped: int
    size: int
    set_aside: dict[str, TmtDqError] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)

    def raise_failures(self) -> None:
        """Raise `BatchError` if exposures are set aside."""
        if self.set_aside:
            number = len(self.set_aside)
            what = f"{number} ramps are set aside" if number > 1 else "one ramp is set aside"
            raise BatchError(what, list(self.set_aside.values()))


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
        Seconds between searches of the folder, without asking the kernel; by default 1 on network
        file systems, where the kernel does not know what other machines do. On others the folder is
        searched every 10 s in addition to what the kernel tells.
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
        Raised if the folder is not there, an option makes no sense, or a library is missing.
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
    settings = make_settings(options)
    chosen = WatchOptions(
        folder=folder_of(folder),
        output_dir=folder_of(output_dir),
        patterns=tuple(patterns),
        recursive=recursive,
        settle_s=settle_s,
        stalled_s=stalled_s,
        poll_s=poll_s,
        once=once,
        grace_s=grace_s,
        redo=redo,
        overwrite=overwrite,
        report=None if report is None else Path(report).absolute(),
        heartbeat=None if heartbeat is None else Path(heartbeat).absolute(),
        prometheus=prometheus,
        apply=options,
    )
    make_folder(chosen.output_dir)
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}; expected at least 1")
    from tmt_dq.watch.service import Service

    count = jobs or len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        if control is None:
            control = stack.enter_context(contextlib.closing(Control()))
        service = Service(chosen, settings, control, jobs=count, on_result=on_result)
        service.run()
    counts = service.counts
    return WatchResult(
        done=counts.files["done"],
        failed=counts.files["failed"],
        skipped=counts.files["skipped"],
        size=counts.size,
        set_aside=service.quarantine.errors,
        unfinished=dict(service.arrivals.waiting()),
    )


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a watch would do with a file that is there.

    Attributes
    ----------
    path : str
        The file.
    action : str
        "process", "skip", "aside", or "wait".
    reason : str
        Why.
    """

    path: str
    action: str
    reason: str


def plan_watch(
    folder: PathLike,
    *,
    output_dir: PathLike,
    patterns: Iterable[str] = (),
    recursive: bool = True,
    redo: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Iterator[Prospect]:
    """Return what `watch_folder` would do with the files that are there; nothing is written.

    Parameters
    ----------
    folder, output_dir, patterns, recursive, redo, overwrite, **options
        As in `watch_folder`.

    Returns
    -------
    iterator of Prospect
        One for each file.
    """
    settings = make_settings(options)
    chosen = WatchOptions(
        folder=folder_of(folder),
        output_dir=folder_of(output_dir),
        patterns=tuple(patterns),
        recursive=recursive,
        redo=redo,
        overwrite=overwrite,
        apply=options,
    )
    journal = Journal(chosen.output_dir, read_only=True)
    return _prospects(chosen, Decider(journal, settings, chosen))


def _prospects(options: WatchOptions, decider: Decider) -> Iterator[Prospect]:
    unreadable: list[OSError] = []
    for path, identity in walk(str(options.folder), options, unreadable.append):
        yield _prospect(path, identity, options, decider)
    for error in unreadable:
        why = f"the folder cannot be searched ({error.strerror})"
        yield Prospect(str(error.filename), "wait", why)


def _prospect(path: str, identity: Identity, options: WatchOptions, decider: Decider) -> Prospect:
    decision = decider.decide(path, identity)
    if decision.action != "process":
        action = "aside" if decision.action == "refuse" else decision.action
        return Prospect(path, action, decision.reason)
    try:
        seen = look(path, remote=options.remote)
    except OSError as error:
        return Prospect(path, "aside", f"it cannot be read ({error.strerror})")
    if seen is None:
        return Prospect(path, "wait", "it changes just now")
    seconds, why = wait_for(seen, options.patience)
    if seconds:
        return Prospect(path, "wait", f"{why} (until unchanged for {seconds:g} s)")
    return Prospect(path, "process", decision.reason)
