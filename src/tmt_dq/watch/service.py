"""Service: the loop in which files become arrivals, arrivals tasks, and tasks outputs."""

import itertools
import logging
import os
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
from tmt_dq.errors import (
    BatchError,
    ConfigError,
    OutputError,
    RampFormatError,
    TmtDqError,
    printable,
)
from tmt_dq.files.identity import Identity
from tmt_dq.watch.arrivals import Arrivals
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.decisions import decide
from tmt_dq.watch.options import WatchOptions
from tmt_dq.watch.search import Search
from tmt_dq.watch.status import Reporter
from tmt_dq.watch.worker import Answer, Task, work

__all__ = ["Control", "Service", "WatchResult"]

log = logging.getLogger(__name__)

_TICK_S = 1.0
_RULES_S = 2.0
_PAUSE_S = 5.0
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
        self._pool = Pool(options.jobs or len(os.sched_getaffinity(0)), work)
        self._planner = Planner(journal, settings, overwrite=options.overwrite)
        # Exposures that wait for a worker, or have one, by their outputs.
        self._taken: dict[str, str] = {}
        self._queue: deque[tuple[Job, Identity, float]] = deque()
        self._running: dict[str, tuple[Identity, float]] = {}
        self._why = ""
        self._again_at = self._tick_due = self._rules_due = self._idle_since = 0.0

    def run(self) -> WatchResult:
        """Watch until stopped, or, with `once`, until all is done that is complete."""
        log.info("watching %s, outputs go to %s", self._options.folder, self._options.output_dir)
        try:
            while self._control.stopping == "no" and not self._is_done():
                self._step("watching")
            end = time.monotonic() + self._options.grace_s
            self._tick_due = 0.0
            while self._pool.busy and time.monotonic() < end and self._control.stopping != "now":
                self._step("stopping")
            if self._pool.busy:
                log.warning("%d ramps are left undone; nothing half-written", len(self._pool.busy))
        finally:
            self._pool.stop()
            self._show("stopped")
        total = self._total
        total.set_aside = {path: error for path, (_, error) in self._aside.items()}
        total.unfinished = self._arrivals.reasons()
        numbers = (total.done, total.failed, total.skipped)
        log.info("stopped: %d done, %d failed, %d were done before", *numbers)
        return total

    def _step(self, state: str) -> None:
        pause = 0.0 if self._search.found and self._may_try() else _ANSWER_S
        for task, answer in self._pool.wait(min(pause, _LOOK_S) if self._arrivals else pause):
            self._ended(task, answer)
        if state == "watching":
            self._search.search()
            if self._may_try():
                self._notice()
                self._hand_out()
        if time.monotonic() >= self._tick_due:
            self._tick_due = time.monotonic() + _TICK_S
            self._tick(state)

    def _is_done(self) -> bool:
        """Tell whether a single run has done all that is complete; raise what stops it."""
        if not (self._options.once and self._search.count):
            return False
        if self._search.failure is not None:
            failure, hint = self._search.failure, "Check that it is there, and its permissions."
            what = f"the folder cannot be searched: {failure.strerror}"
            raise ConfigError(what, where=failure.filename, hint=hint)
        if self._why:
            raise OutputError(self._why, hint="What is done is known; run it again.")
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
                self._queue.append((job, identity, time.monotonic()))

    def _decide(self, path: str, identity: Identity) -> tuple[Job, TmtDqError | None]:
        if path in self._aside and self._aside[path][0] == identity:
            return Job(path, path, "skip", "set aside"), None
        return decide(path, identity, self._options, self._journal, self._planner, self._taken)

    def _hand_out(self) -> None:
        """Give tasks to workers that have none; after an error of the disk, one to try with."""
        while self._queue and self._pool.room > 0 and self._may_try():
            job, identity, at = self._queue.popleft()
            if identity_of(job.input) != identity:
                # A whole folder may have been taken away with thousands that wait.
                self._again(job)
                continue
            if job.reason == "interrupted":
                remove_leftovers(job.output)
            try:
                # From here on the output is ours. The worker flushes this to the disk.
                self._journal.begin([Path(job.output).name], sync=False)
            except OutputError as error:
                self._again(job, error)
                return
            journal = str(self._journal.path) if self._settings.options.sync else None
            self._running[job.input] = identity, at
            self._pool.give(Task(job, self._settings, identity, journal))

    # --- from tasks to outputs ------------------------------------------------------------------

    def _ended(self, task: Task, answer: Answer | Exception) -> None:
        """Take the answer of a worker."""
        job = task.job
        identity, at = self._running.pop(job.input)
        if isinstance(answer, Exception):
            answer = Answer(FileResult.failure(job, answer))
        result = answer.result
        if result is None or answer.outside:
            self._again(job, None if result is None else result.error)
        elif self._enter(job, result, identity):
            seconds = time.monotonic() - at
            self._reporter.count(result, seconds)
            if result.error is None:
                text = "%s: %s in %.2f s, mask %s"
                log.info(text, result.output, result.s_dqinit, seconds, result.mask)
                self._go_on()
            if identity_of(job.input) not in {identity, None}:
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
            self._again(job, error)
            return False
        self._release(job)
        self._total.add(result, worked_on=True)
        if result.error is None:
            self._aside.pop(job.input, None)
        else:
            self._aside[job.input] = identity, result.error
            log.error("set aside: %s", explained(job.input, result.error))
        if self._on_result is not None:
            self._on_result(result)
        return True

    def _again(self, job: Job, error: TmtDqError | None = None) -> None:
        """Look at a file again later; after an error that would meet any other ramp, pause."""
        self._release(job)
        self._arrivals.notice(job.input)
        if error is not None:
            self._check_folders()
            self._again_at = time.monotonic() + _PAUSE_S
            if not self._why:
                self._why = error.what if error.where is None else f"{error.where}: {error.what}"
                log.error("paused: %s. %s New ramps are queued.", self._why, error.hint or "")

    def _release(self, job: Job) -> None:
        """Free the output of a job, unless it is that of another exposure."""
        if self._taken.get(job.output) == job.input:
            del self._taken[job.output]

    def _may_try(self) -> bool:
        """Tell whether a task may be handed out; while it is paused, one after the other."""
        if not self._why:
            return True
        return time.monotonic() >= self._again_at and not self._pool.busy

    def _go_on(self) -> None:
        if self._why:
            log.warning("going on after a pause")
        self._why = ""

    # --- now and then ---------------------------------------------------------------------------

    def _tick(self, state: str) -> None:
        self._check_folders()
        if state == "watching" and time.monotonic() >= self._rules_due:
            self._rules_due = time.monotonic() + _RULES_S
            self._follow_rules()
        if self._control.reload_wanted:
            self._control.reload_wanted = False
            log.info("searching again, and trying again what was set aside")
            self._search.forget()
            self._retry()
        if not (self._taken or self._arrivals):
            self._go_on()
        self._show(state)

    def _check_folders(self) -> None:
        for place, before in self._folders.items():
            if _id(place) != before:
                kind = OutputError if place == self._options.output_dir else ConfigError
                what = "the folder is gone, or is another one than at the start; the watch ends"
                hint = "Mount it or make it again, then start the watch: it goes on."
                raise kind(what, where=place, hint=hint)

    def _follow_rules(self) -> None:
        """Use new rules from now on, and try again with them what may well be in order.

        Workers look up the rules for each exposure anyway. This is for what is made of an answer
        that there is no mask, and for the journal.
        """
        try:
            settings = make_settings(self._options.apply)
        except (TmtDqError, OSError) as error:
            log.warning("the rules cannot be read: %s", error)
            return
        if settings == self._settings:
            return
        contexts = ", ".join(rule.context for rule in settings.rules) or "none"
        log.warning("the rules are %s from now on", contexts)
        self._settings = settings
        self._planner = Planner(self._journal, settings, overwrite=self._options.overwrite)
        self._retry(RampFormatError)

    def _retry(self, *kept: type[TmtDqError]) -> None:
        for path, (_, error) in list(self._aside.items()):
            if not isinstance(error, kept):
                del self._aside[path]
                self._arrivals.notice(path)

    def _show(self, state: str) -> None:
        why, failure, total = self._why, self._search.failure, self._total
        aside = itertools.islice(self._aside.items(), _NAMED)
        if failure is not None:
            why = why or f"{failure.filename} cannot be searched: {failure.strerror}"
        self._reporter.show(
            {
                "state": "waiting" if state == "watching" and why else state,
                "why": why,
                "contexts": [rule.context for rule in self._settings.rules],
                "files": {"done": total.done, "failed": total.failed, "skipped": total.skipped},
                "errors": total.failures,
                "masks": total.masks,
                "bytes": total.size,
                "arriving": len(self._arrivals),
                "arriving_files": dict(itertools.islice(self._arrivals.reasons().items(), _NAMED)),
                "queued": len(self._queue),
                "running": len(self._running),
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
