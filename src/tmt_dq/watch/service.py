"""Service: the loop in which events become arrivals, arrivals tasks, and tasks outputs."""

import contextlib
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.plan import Planner
from tmt_dq.batch.pool import Pool
from tmt_dq.batch.records import BatchResult, FileResult, Job, state_of
from tmt_dq.batch.run import make_folder, remove_leftovers
from tmt_dq.batch.settings import make_settings
from tmt_dq.errors import BatchError, ConfigError, OutputError, RampFormatError, TmtDqError
from tmt_dq.files.identity import Identity
from tmt_dq.watch.arrivals import Arrivals
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.control import Control
from tmt_dq.watch.decisions import decide
from tmt_dq.watch.events import Events
from tmt_dq.watch.options import WatchOptions
from tmt_dq.watch.quarantine import Quarantine, explained
from tmt_dq.watch.status import Reporter
from tmt_dq.watch.worker import Answer, Task, work

__all__ = ["Service", "WatchResult"]

log = logging.getLogger(__name__)

_TICK_S = 1.0
_RULES_S = 2.0
_PAUSE_S = 5.0
_AT_ONCE = 200
_NAMED = 20
"""Files that the heartbeat names of each kind."""


@dataclass(slots=True)
class WatchResult(BatchResult):
    """What was done while a folder was watched; `failed` counts each time a ramp was set aside.

    Attributes
    ----------
    set_aside : mapping of str to TmtDqError
        The exposures that are set aside now, and why.
    unfinished : mapping of str to str
        Files that were not complete, and what was waited for.
    """

    set_aside: dict[str, TmtDqError] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)

    def raise_failures(self) -> None:
        """Raise `BatchError` if exposures are set aside."""
        if self.set_aside:
            number = len(self.set_aside)
            what = f"{number} ramps are set aside" if number > 1 else "one ramp is set aside"
            raise BatchError(what, list(self.set_aside.values()))


class Service:
    """Watch of one folder; `result` is its outcome."""

    def __init__(
        self,
        options: WatchOptions,
        control: Control,
        on_result: Callable[[FileResult], None] | None = None,
    ) -> None:
        self._options = options
        self._settings = make_settings(options.apply)
        self._control = control
        self._on_result = on_result
        self.result = WatchResult()
        make_folder(options.output_dir)
        self._folders = {place: _id(place) for place in (options.folder, options.output_dir)}
        self._arrivals = Arrivals(options.patience_s, remote=options.remote)
        self._quarantine = Quarantine(options.output_dir)
        self._pool = Pool(options.jobs or len(os.sched_getaffinity(0)), work)
        self._taken: dict[str, str] = {}
        self._queue: deque[tuple[Job, Identity, float]] = deque()
        self._running: dict[str, tuple[Identity, float]] = {}
        self._unwritten: deque[tuple[FileResult, bool]] = deque()
        self._state, self._why = "watching", ""
        self._again_at = self._tick_due = self._rules_due = self._searched = 0.0
        self._report: JsonLines | None = None
        with contextlib.ExitStack() as stack:
            self._journal = stack.enter_context(contextlib.closing(Journal(options.output_dir)))
            if options.report is not None:
                report = JsonLines(Path(options.report).absolute())
                self._report = stack.enter_context(contextlib.closing(report))
            self._reporter = stack.enter_context(contextlib.closing(Reporter(options)))
            self._events = Events(options, control.ring)
            self._open = stack.pop_all()
        self._planner = Planner(self._journal, self._settings, overwrite=options.overwrite)
        self._evidence = self._look_at_rules()

    def run(self) -> None:
        """Watch until stopped, or, with `once`, until all is done that is complete."""
        log.info("watching %s, outputs go to %s", self._options.folder, self._options.output_dir)
        try:
            while self._control.stopping == "no" and not self._is_done():
                self._step()
            self._finish()
        finally:
            self._events.stop()
            self._pool.stop()
            self._state = "stopped"
            self._show()
            self._open.close()
            total = self.result
            total.set_aside, total.unfinished = (
                self._quarantine.errors,
                dict(self._arrivals.waiting()),
            )
            numbers = (total.done, total.failed, total.skipped)
            log.info("stopped: %d done, %d failed, %d were done before", *numbers)

    def _step(self, *, take: bool = True) -> None:
        ended = self._pool.wait(self._pause(take=take), self._control)
        self._control.answer()
        for task, answer in ended:
            self._ended(task, answer)
        if take:
            self._events.collect()
            self._notice()
            self._hand_out()
        if time.monotonic() >= self._tick_due:
            self._tick_due = time.monotonic() + _TICK_S
            self._tick(take=take)

    def _pause(self, *, take: bool) -> float:
        """Return the seconds until there is something to do, if nothing happens."""
        if take and self._events.found:
            return 0.0
        due = self._arrivals.next_due() if take else None
        return max(0.0, min(self._tick_due, due or self._tick_due) - time.monotonic())

    def _is_done(self) -> bool:
        """Tell whether a single run has done all that is complete; raise what stops it."""
        if not (self._options.once and self._events.searches):
            return False
        if self._events.failure is not None:
            raise ConfigError(
                f"the folder cannot be searched: {self._events.failure.strerror}",
                where=self._events.failure.filename,
                hint="Check that it is there, and its permissions.",
            )
        if self._why:
            raise OutputError(self._why, hint="What is done is known; run it again.")
        if self._events.found or self._queue or self._pool.busy:
            return False
        self._searched = self._searched or time.monotonic()
        waited = time.monotonic() - self._searched
        return not self._arrivals or waited > self._options.settle_s + _TICK_S

    def _finish(self) -> None:
        """Let tasks end, for as long as they may."""
        self._state = "stopping"
        self._show()
        end = time.monotonic() + self._options.grace_s
        while self._pool.busy and time.monotonic() < end and self._control.stopping != "now":
            self._tick_due = min(self._tick_due, end)
            self._step(take=False)
        if self._pool.busy:
            log.warning("%d ramps are left undone; nothing half-written", len(self._pool.busy))

    # --- from events to tasks -------------------------------------------------------------------

    def _notice(self) -> None:
        """Take files that were found; queue those that are complete and not done."""
        for _ in range(min(_AT_ONCE, len(self._events.found))):
            path = self._events.found.popleft()
            # What is done need not even be opened.
            identity = identity_of(path)
            if identity is not None and self._decide(path, identity)[0].action == "skip":
                # Searches find again what was reported when it came.
                self.result.skipped += self._events.searches <= 1
            else:
                self._arrivals.notice(path)
        for path, identity in self._arrivals.ready():
            job, error = self._decide(path, identity)
            if error is not None:
                self._enter(FileResult.failure(job, error), identity, journal=False)
            # One that is queued, or at work, is compared with what it was when it ends.
            elif job.action == "process" and job.output not in self._taken:
                self._taken[job.output] = path
                self._queue.append((job, identity, time.monotonic()))

    def _decide(self, path: str, identity: Identity) -> tuple[Job, TmtDqError | None]:
        if self._quarantine.holds(path, identity):
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
                self._again(job)
                self._wait_out(error)
                return
            journal = str(self._journal.path) if self._settings.options.sync else None
            self._running[job.input] = identity, at
            self._pool.give(Task(job, self._settings, identity, journal))

    def _again(self, job: Job) -> None:
        """Look at the file of a job again, which is not done now."""
        del self._taken[job.output]
        self._arrivals.notice(job.input)

    # --- from tasks to outputs ------------------------------------------------------------------

    def _ended(self, task: Task, answer: Answer | Exception) -> None:
        """Take the answer of a worker."""
        job = task.job
        identity, at = self._running.pop(job.input)
        if isinstance(answer, Exception):
            answer = Answer(FileResult.failure(job, answer))
        result = answer.result
        if result is None or answer.outside:
            self._again(job)
            if result is not None and result.error is not None:
                self._wait_out(result.error)
            return
        del self._taken[job.output]
        seconds = time.monotonic() - at
        self._enter(result, identity)
        self._reporter.count(result, seconds)
        if result.error is None:
            text = "%s: %s in %.2f s, mask %s"
            log.info(text, result.output, result.s_dqinit, seconds, result.mask)
        if identity_of(job.input) not in {identity, None}:
            self._arrivals.notice(job.input)

    def _enter(self, result: FileResult, identity: Identity, *, journal: bool = True) -> None:
        """Enter a result everywhere; of one whose output is another's, the journal learns nothing.

        What cannot be written down now is written later.
        """
        self._unwritten.append((result, journal))
        self._write()
        self.result.add(result, worked_on=True)
        path = str(result.input)
        if result.error is None:
            self._quarantine.remove(path)
        else:
            self._quarantine.add(path, identity, result.error)
            log.error("set aside: %s", explained(path, result.error))
        if self._on_result is not None:
            self._on_result(result)

    def _write(self) -> bool:
        """Write down what was not yet; tell whether it could be, which also ends a pause."""
        try:
            while self._unwritten:
                result, journal = self._unwritten[0]
                if self._report is not None:
                    self._report.append(result.as_dict())
                if journal:
                    self._journal.finish(result)
                self._unwritten.popleft()
                if journal and result.error is None:
                    self._go_on()
        except OutputError as error:
            self._wait_out(error)
            return False
        return True

    # --- errors of the disk ---------------------------------------------------------------------

    def _wait_out(self, error: TmtDqError) -> None:
        """Pause after an error that would meet any ramp, as of a full disk."""
        self._check_folders()
        self._again_at = time.monotonic() + _PAUSE_S
        if not self._why:
            self._why = error.what if error.where is None else f"{error.where}: {error.what}"
            log.error("paused: %s. %s New ramps are queued.", self._why, error.hint or "")

    def _may_try(self) -> bool:
        """Tell whether a task may be handed out; while it is paused, one after the other."""
        if not self._why:
            return True
        return time.monotonic() >= self._again_at and not self._pool.busy and self._write()

    def _go_on(self) -> None:
        if self._why:
            log.warning("going on after a pause")
        self._why = ""

    def _check_folders(self) -> None:
        for place, before in self._folders.items():
            if _id(place) != before:
                kind = OutputError if place == self._options.output_dir else ConfigError
                raise kind(
                    "the folder is gone, or is another one than at the start; the watch ends",
                    where=place,
                    hint="Mount it or make it again, then start the watch: it goes on.",
                )

    # --- now and then ---------------------------------------------------------------------------

    def _tick(self, *, take: bool) -> None:
        self._check_folders()
        if take and time.monotonic() >= self._rules_due:
            self._rules_due = time.monotonic() + _RULES_S
            self._follow_rules()
        if self._control.reload_wanted:
            self._control.reload_wanted = False
            log.info("searching again, and trying again what was set aside")
            self._events.forget()
            self._retry()
        if self._why and not self._queue and self._may_try() and not self._arrivals:
            self._go_on()
        self._show()

    def _look_at_rules(self) -> object:
        """Return what changes where there is something new to try: rules, files that are named."""
        return self._settings.rules, [state_of(path) for path in self._settings.files.values()]

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
        before, self._settings = self._settings, settings
        evidence = self._look_at_rules()
        if evidence == self._evidence:
            return
        if settings.rules != before.rules:
            names = ", ".join(rule.context for rule in settings.rules) or "none"
            log.warning("the rules are %s from now on", names)
        self._evidence = evidence
        self._planner = Planner(self._journal, settings, overwrite=self._options.overwrite)
        self._retry(RampFormatError)

    def _retry(self, *kept: type[TmtDqError]) -> None:
        for path in self._quarantine.release(*kept):
            self._arrivals.notice(path)

    def _show(self) -> None:
        """Write the list of what is set aside, and show the status."""
        self._reporter.attempt(self._quarantine.path, self._quarantine.write_list)
        state, why = self._state, self._why
        if self._events.failure is not None:
            failure = self._events.failure
            why = why or f"{failure.filename} cannot be searched: {failure.strerror}"
        now, total = time.monotonic(), self.result
        status: dict[str, Any] = {
            "state": "waiting" if state == "watching" and why else state,
            "why": why,
            "contexts": [rule.context for rule in self._settings.rules],
            "files": {"done": total.done, "failed": total.failed, "skipped": total.skipped},
            "errors": total.failures,
            "masks": total.masks,
            "bytes": total.size,
            "arriving": len(self._arrivals),
            "arriving_files": dict(itertools.islice(self._arrivals.waiting(), _NAMED)),
            "queued": len(self._queue),
            "running": len(self._running),
            "running_files": {
                path: round(now - at, 3)
                for path, (_, at) in itertools.islice(self._running.items(), _NAMED)
            },
            "set_aside": len(self._quarantine),
            "worker_deaths": self._pool.deaths,
        }
        self._reporter.show(status)


def _id(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one of its name; None if it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
