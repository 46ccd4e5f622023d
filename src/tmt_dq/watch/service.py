"""Service: the loop in which files become arrivals, arrivals tasks, and tasks outputs."""

import functools
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.plan import Planner
from tmt_dq.batch.pool import Pool
from tmt_dq.batch.records import BatchResult, FileResult, Job
from tmt_dq.batch.run import remove_leftovers
from tmt_dq.batch.settings import Settings, make_settings
from tmt_dq.errors import BatchError, ConfigError, OutputError, TmtDqError, printable
from tmt_dq.files.identity import Identity
from tmt_dq.threads import cores
from tmt_dq.watch.arrivals import Arrivals
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.decisions import decide
from tmt_dq.watch.options import WatchOptions
from tmt_dq.watch.search import Search
from tmt_dq.watch.status import Reporter
from tmt_dq.watch.worker import Task, work

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_PAUSE_S = 5.0  # until it is tried again whether the disk has room
_LOOK_S = 0.02
_ANSWER_S = 0.1  # until a request to stop is noticed
_AT_ONCE = 200
_NAMED = 20
"""Files that are waited for, or set aside, of which the heartbeat has the names."""


@dataclass(slots=True)
class WatchResult(BatchResult):
    """What was done while a folder was watched; `failed` counts each time a ramp was set aside.

    `set_aside` has the exposures that are set aside now, and why; `unfinished` the files that were
    not complete, and what was waited for.
    """

    set_aside: dict[str, TmtDqError] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)

    def raise_failures(self) -> None:
        """Raise `BatchError` if exposures are set aside."""
        if self.set_aside:
            number = len(self.set_aside)
            what = f"{number} ramps are set aside" if number > 1 else "one ramp is set aside"
            raise BatchError(what, list(self.set_aside.values()))


class Control:
    """Handle of a running `watch_folder`; its methods may be called from threads and handlers."""

    def __init__(self) -> None:
        self.stopping: Literal["no", "finish", "now"] = "no"
        self.reload_wanted = False

    def stop(self) -> None:
        """End: what is at work is finished first. A second call ends at once."""
        self.stopping = "finish" if self.stopping == "no" else "now"

    def reload(self) -> None:
        """Search the folder again, and try again what was set aside."""
        self.reload_wanted = True


class Service:
    """Watch of one folder."""

    def __init__(
        self,
        options: WatchOptions,
        settings: Settings,
        control: Control,
        journal: Journal,
        reporter: Reporter,
        report: JsonLines | None = None,
        on_result: Callable[[FileResult], None] | None = None,
    ) -> None:
        self._options = options
        self._settings = settings
        self._control = control
        self._journal = journal
        self._reporter = reporter
        self._report = report
        self._on_result = on_result
        self._total = WatchResult()
        self._folders = {place: _id(place) for place in (options.folder, options.output_dir)}
        self._search = Search(options)
        self._arrivals = Arrivals(options.patience_s, remote=options.remote)
        # Ramps that are left alone until they change.
        self._aside: dict[str, tuple[Identity, TmtDqError]] = {}
        self._pool = Pool(options.jobs or cores(), work)
        self._planner = Planner(journal, settings, overwrite=options.overwrite)
        # Exposures that wait for a worker, or have one, by their outputs.
        self._taken: dict[str, str] = {}
        self._queue: deque[Task] = deque()
        # An error that any other output would meet too.
        self._error: OutputError | None = None
        self._log_once = functools.cache(_log.error)
        self._tick_due = self._idle_since = 0.0

    def run(self) -> WatchResult:
        """Watch until stopped, or, with `once`, until all is done that is complete."""
        _log.info("watching %s, outputs go to %s", self._options.folder, self._options.output_dir)
        try:
            while self._control.stopping == "no" and not self._is_done():
                self._step("watching")
            end = time.monotonic() + self._options.grace_s
            self._tick_due = 0.0
            while self._pool.busy and time.monotonic() < end and self._control.stopping != "now":
                self._step("stopping")
            if self._pool.busy:
                _log.warning("%d ramps are left undone; nothing half-written", len(self._pool.busy))
        finally:
            self._pool.stop()
            self._show("stopped")
        total = self._total
        total.set_aside = {path: error for path, (_, error) in self._aside.items()}
        total.unfinished = self._arrivals.reasons()
        numbers = (total.done, total.failed, total.skipped)
        _log.info("stopped: %d done, %d failed, %d were done before", *numbers)
        return total

    def _step(self, state: str) -> None:
        pause = _LOOK_S if self._arrivals else _ANSWER_S
        for task, answer in self._pool.wait(0.0 if self._search.found else pause):
            self._ended(task, answer)
        if state == "watching":
            self._search.search()
            self._notice()
            self._hand_out()
        if self._error is not None and state == "watching":
            self._pause(self._error)
        if time.monotonic() >= self._tick_due:
            self._tick_due = time.monotonic() + _TICK_S
            self._tick(state)

    def _is_done(self) -> bool:
        """Tell whether a single run has done all that is complete."""
        if not (self._options.once and self._search.count):
            return False
        if self._search.found or self._taken:
            self._idle_since = 0.0
            return False
        self._idle_since = self._idle_since or time.monotonic()
        waited = time.monotonic() - self._idle_since
        return not self._arrivals or waited > self._options.settle_s + _TICK_S

    # --- from files to tasks --------------------------------------------------------------------

    def _notice(self) -> None:
        """Take files that were found; queue those that are complete and not done."""
        for _ in range(min(_AT_ONCE, len(self._search.found))):
            path = self._search.found.popleft()
            # What is done need not even be opened.
            identity = identity_of(path)
            if identity is not None and self._decide(path, identity)[0].action == "skip":
                # Later searches find again what was made since.
                self._total.skipped += self._search.count <= 1
            else:
                self._arrivals.notice(path)
        for path, identity in self._arrivals.ready():
            job, error = self._decide(path, identity)
            if error is not None:
                self._enter(job, FileResult.failure(job, error), identity)
            # One that is queued, or at work, is compared with what it was when it ends.
            elif job.action == "process" and job.output not in self._taken:
                self._taken[job.output] = path
                self._queue.append(Task(job, identity, time.monotonic(), self._settings))

    def _decide(self, path: str, identity: Identity) -> tuple[Job, TmtDqError | None]:
        if path in self._aside and self._aside[path][0] == identity:
            return Job(path, path, "skip", "set aside"), None
        return decide(path, identity, self._options, self._journal, self._planner, self._taken)

    def _hand_out(self) -> None:
        """Give tasks to workers that have none."""
        while self._queue and self._pool.room > 0:
            task = self._queue.popleft()
            if identity_of(task.job.input) != task.identity:
                # A whole folder may have been taken away with thousands that wait.
                self._look_again(task.job)
                continue
            if task.job.reason == "interrupted":
                remove_leftovers(task.job.output)
            try:
                # From here on the output is ours.
                name = Path(task.job.output).name
                self._journal.begin([name], sync=self._settings.options.sync)
            except OutputError as error:
                self._look_again(task.job, error)
                return
            self._pool.give(task)

    # --- from tasks to outputs ------------------------------------------------------------------

    def _ended(self, task: Task, answer: FileResult | Exception | None) -> None:
        """Take the answer of a worker."""
        job = task.job
        if answer is None or isinstance(answer, OutputError):
            self._look_again(job, answer)
            return
        result = FileResult.failure(job, answer) if isinstance(answer, Exception) else answer
        if not self._enter(job, result, task.identity):
            return
        seconds = time.monotonic() - task.since
        self._reporter.count(result, seconds)
        if result.error is None:
            text = "%s: %s in %.2f s, mask %s"
            _log.info(text, result.output, result.s_dqinit, seconds, result.mask)
        if identity_of(job.input) not in {task.identity, None}:
            self._arrivals.notice(job.input)

    def _enter(self, job: Job, result: FileResult, identity: Identity) -> bool:
        """Enter a result everywhere; one that cannot be written down is as if it had not been."""
        try:
            if self._report is not None:
                self._report.append(result.as_dict())
            # Of one whose output is another's, the journal learns nothing.
            if job.action == "process":
                self._journal.finish(result)
        except OutputError as error:
            self._look_again(job, error)
            return False
        self._release(job)
        self._total.add(result, worked_on=True)
        if result.error is None:
            self._aside.pop(job.input, None)
        else:
            self._aside[job.input] = identity, result.error
            _log.error("set aside: %s", explained(job.input, result.error))
        if self._on_result is not None:
            self._on_result(result)
        return True

    def _look_again(self, job: Job, error: OutputError | None = None) -> None:
        """Look at a file again later, after an error when outputs can be written."""
        self._release(job)
        self._arrivals.notice(job.input)
        self._error = error or self._error

    def _pause(self, error: OutputError) -> None:
        """Wait for a while until outputs are tried again; a single run ends."""
        if self._options.once:
            raise error
        self._log_once("paused: %s: %s. New ramps are queued.", error.where, error.what)
        end = time.monotonic() + _PAUSE_S
        while self._control.stopping == "no" and time.monotonic() < end:
            self._show("waiting")
            time.sleep(_ANSWER_S)
        self._error = None

    def _release(self, job: Job) -> None:
        """Free the output of a job, unless it is that of another exposure."""
        if self._taken.get(job.output) == job.input:
            del self._taken[job.output]

    # --- now and then ---------------------------------------------------------------------------

    def _tick(self, state: str) -> None:
        for place, before in self._folders.items():
            if _id(place) != before:
                kind = OutputError if place == self._options.output_dir else ConfigError
                what = "the folder is gone, or is another one than at the start; the watch ends"
                hint = "Mount it or make it again, then start the watch: it goes on."
                raise kind(what, where=place, hint=hint)
        if self._settings.rules:
            self._follow_rules()
        if self._control.reload_wanted:
            self._control.reload_wanted = False
            _log.info("searching again, and trying again what was set aside")
            self._search.forget()
            for path in self._aside:
                self._arrivals.notice(path)
            self._aside.clear()
        self._show(state)

    def _follow_rules(self) -> None:
        """Try again with new rules what is set aside; workers look them up for each exposure."""
        try:
            settings = make_settings(self._options.apply)
        except TmtDqError as error:
            self._log_once("the rules cannot be read: %s", str(error))
            return
        if settings != self._settings:
            contexts = ", ".join(rule.context for rule in settings.rules)
            _log.warning("the rules are %s from now on", contexts)
            self._settings = settings
            self._planner = Planner(self._journal, settings, overwrite=self._options.overwrite)
            self._control.reload()

    def _show(self, state: str) -> None:
        total = self._total
        aside = itertools.islice(self._aside.items(), _NAMED)
        self._reporter.show(
            {
                "state": state,
                "why": "" if self._error is None else f"{self._error.where}: {self._error.what}",
                "contexts": [rule.context for rule in self._settings.rules],
                "files": {"done": total.done, "failed": total.failed, "skipped": total.skipped},
                "errors": total.failures,
                "masks": total.masks,
                "bytes": total.size,
                "arriving": len(self._arrivals),
                "arriving_files": dict(itertools.islice(self._arrivals.reasons().items(), _NAMED)),
                "queued": len(self._queue),
                "running": len(self._pool.busy),
                "set_aside": len(self._aside),
                "set_aside_files": {path: explained(path, error) for path, (_, error) in aside},
                "worker_deaths": self._pool.deaths,
            }
        )


def _id(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one of its name; None if it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def explained(path: str, error: TmtDqError) -> str:
    """Return in one line what is wrong with a ramp: where, what, and what to do."""
    where = "" if error.where in {None, path} else f"{error.where}: "
    hint = "" if error.hint is None else f". {' '.join(error.hint.split())}"
    what = " ".join(error.what.split()).rstrip(".")
    return printable(f"{path}: {where}{what}{hint}")
