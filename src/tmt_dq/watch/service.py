"""Service: the loop in which events become arrivals, arrivals tasks, and tasks outputs."""

import contextlib
import functools
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmt_dq.batch.journal import Journal, JsonLines
from tmt_dq.batch.pool import Pool
from tmt_dq.batch.records import FileResult, Settings
from tmt_dq.batch.run import remove_leftovers
from tmt_dq.errors import ConfigError, OutputError, TmtDqError, WorkerError
from tmt_dq.watch.arrivals import Arrival, Arrivals
from tmt_dq.watch.backoff import Backoff, is_outside
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.control import Control
from tmt_dq.watch.decisions import Decider, Decision
from tmt_dq.watch.events import Events
from tmt_dq.watch.options import WatchOptions
from tmt_dq.watch.quarantine import Quarantine, explained
from tmt_dq.watch.rules import Rules
from tmt_dq.watch.status import Counts, Reporter
from tmt_dq.watch.worker import Answer, Task, prepare, work

__all__ = ["Service"]

log = logging.getLogger(__name__)

_TICK_S = 1.0
_AT_ONCE = 200
_NAMED = 20
"""Files that the heartbeat names of each kind."""


class Service:
    """Watch of one folder. `counts`, `quarantine` and `arrivals` are its outcome."""

    def __init__(
        self,
        options: WatchOptions,
        settings: Settings,
        control: Control,
        *,
        jobs: int,
        on_result: Callable[[FileResult], None] | None = None,
    ) -> None:
        self._options = options
        self._settings = settings
        self._control = control
        self._on_result = on_result
        self.arrivals = Arrivals(options.patience, remote=options.remote)
        self.counts = Counts()
        self.quarantine = Quarantine(options.output_dir)
        self._jobs = jobs
        self._pool: Pool[Task] = Pool(jobs, work, prepare=functools.partial(prepare, settings))
        self._events = Events(options, control.ring)
        self._rules = Rules(options.apply, settings)
        self._backoff = Backoff(options.output_dir)
        # What arrived just now goes before what was there.
        self._live: deque[tuple[Arrival, Decision]] = deque()
        self._backlog: deque[tuple[Arrival, Decision]] = deque()
        self._running: dict[str, tuple[Arrival, float]] = {}
        self._unwritten: deque[Callable[[], None]] = deque()
        self._outdated: set[str] = set()
        self._state = "starting"
        self._folder_present = True
        self._output_id = _folder_id(options.output_dir)
        self._tick_due = self._searched = 0.0
        self._report: JsonLines | None = None
        with contextlib.ExitStack() as stack:
            self._journal = stack.enter_context(contextlib.closing(Journal(options.output_dir)))
            if options.report is not None:
                self._report = stack.enter_context(contextlib.closing(JsonLines(options.report)))
            self._reporter = stack.enter_context(contextlib.closing(Reporter(options)))
            self._open = stack.pop_all()
        self._decider = Decider(self._journal, settings, options)

    def run(self) -> None:
        """Watch until stopped, or, with `once`, until all is done that is complete."""
        try:
            self._pool.fill()
            self._events.start()
            log.info(
                "watching %s, outputs go to %s", self._options.folder, self._options.output_dir
            )
            self._show_status()
            while self._control.stopping == "no" and not self._is_done():
                self._step()
            self._finish()
        except BaseException:
            self._pool.stop(at_once=True)
            raise
        finally:
            self._events.stop()
            self._pool.stop(at_once=False)
            self._state = "stopped"
            self._show_status()
            self._open.close()
            log.info(
                "stopped: %(done)d done, %(failed)d failed, %(skipped)d were done before",
                self.counts.files,
            )

    def _step(self, *, take: bool = True) -> None:
        ended = self._pool.wait(self._pause(), self._control.fileno())
        self._control.answer()
        for task, answer in ended:
            self._ended(task, answer)
        if take:
            self._listen()
            self._hand_out()
        if time.monotonic() >= self._tick_due:
            self._tick_due = time.monotonic() + _TICK_S
            self._tick(take=take)

    def _pause(self) -> float:
        if self._control.stopping != "no":  # nothing is looked at any more
            return max(0.0, self._tick_due - time.monotonic())
        if self._events.more:
            return 0.0
        due = min(self._tick_due, self.arrivals.next_due() or self._tick_due)
        return max(0.0, due - time.monotonic())

    def _is_done(self) -> bool:
        if not self._options.once:
            return False
        if self._events.failure is not None:
            raise ConfigError(
                f"the folder cannot be searched: {self._events.failure.strerror}",
                where=self._events.failure.filename,
                hint="Check that it is there, and its permissions.",
            )
        if not self._events.searches or self._events.more:
            return False
        if self._backoff.why:
            raise OutputError(self._backoff.why, hint="What is done is known; run it again.")
        if self._live or self._backlog or self._pool.busy:
            return False
        self._searched = self._searched or time.monotonic()
        waited = time.monotonic() - self._searched
        return not self.arrivals or waited > self._options.patience.settle_s + _TICK_S

    def _finish(self) -> None:
        """Let tasks end, for as long as they may."""
        self._state = "stopping"
        self._show_status()
        if self._pool.busy:
            log.info("stopping: %d ramps are at work", len(self._pool.busy))
        end = time.monotonic() + self._options.grace_s
        while self._pool.busy and time.monotonic() < end and self._control.stopping != "now":
            self._tick_due = min(self._tick_due, end)
            self._step(take=False)
        if self._pool.busy:
            log.warning("%d ramps are left undone; nothing half-written", len(self._pool.busy))
            self._pool.stop(at_once=True)

    # --- from events to tasks -------------------------------------------------------------------

    def _listen(self) -> None:
        for path, live in self._events.take(_AT_ONCE):
            # What is done need not even be opened.
            identity = None if live else identity_of(path)
            decision = None if identity is None else self._decide(path, identity)
            if decision is not None and decision.action == "skip":
                self._skipped(path, decision, live=live)
            else:
                self.arrivals.notice(path, live=live)
        for arrival in self.arrivals.ready():
            self._arrived(arrival)

    def _decide(self, path: str, identity: Any) -> Decision:
        decision = self._decider.decide(path, identity)
        if self.quarantine.holds(path, identity):
            return Decision(decision.job, "skip", "set aside")
        return decision

    def _skipped(self, path: str, decision: Decision, *, live: bool) -> None:
        if not live:
            # Others are those that a search finds again which were noticed when they came.
            self.counts.files["skipped"] += 1
        if decision.outdated:
            self._outdated.add(path)
        log.debug("%s: %s", path, decision.reason)

    def _arrived(self, arrival: Arrival) -> None:
        path = arrival.path
        decision = self._decide(path, arrival.identity)
        if self._decider.taken.get(decision.job.output) == path:
            return  # it is queued, or at work: when it ends, the file is compared with what it was
        if decision.action == "skip":
            self._skipped(path, decision, live=arrival.live)
        elif decision.error is not None:
            job, size = decision.job, arrival.identity.size
            self._enter(FileResult.failure(job, decision.error, size=size), arrival, journal=False)
        else:
            self._decider.taken[decision.job.output] = path
            (self._live if arrival.live else self._backlog).append((arrival, decision))

    def _hand_out(self) -> None:
        """Give tasks to workers that have none."""
        room = self._pool.room
        if self._backoff.why:
            if not (self._backoff.is_over() and self._write()):
                return
            room = min(room, 1)  # one to try with
        while room > 0 and (self._live or self._backlog):
            queue = self._live or self._backlog
            arrival, decision = queue[0]
            job, path = decision.job, arrival.path
            if identity_of(path) != arrival.identity:
                # A whole folder may have been taken away with thousands that wait.
                queue.popleft()
                del self._decider.taken[job.output]
                self.arrivals.notice(path, live=arrival.live)
                continue
            if decision.reason == "interrupted":
                remove_leftovers(job.output)
            try:
                # From here on the output is ours. The worker flushes this to the disk.
                self._journal.begin([Path(job.output).name], sync=False)
            except OutputError as error:
                self._pause_for(error)
                return
            queue.popleft()
            journal = str(self._journal.path) if self._settings.options.sync else None
            self._running[path] = arrival, time.monotonic()
            self._pool.give(Task(job, self._settings, arrival.identity, journal))
            room -= 1

    # --- from tasks to outputs ------------------------------------------------------------------

    def _ended(self, task: Task, answer: Answer | Exception) -> None:
        """Take the answer of a worker."""
        path = task.job.input
        arrival, _ = self._running.pop(path)
        del self._decider.taken[task.job.output]
        if isinstance(answer, Exception):
            error = answer if isinstance(answer, TmtDqError) else WorkerError(str(answer))
            answer = Answer(FileResult.failure(task.job, error))
        result = answer.result
        if result is None or (result.error is not None and identity_of(path) is None):
            log.info("%s changed or went away while it was read; nothing was made of it", path)
            self.arrivals.notice(path, live=arrival.live)
            return
        if is_outside(result.error, answer.errno, self._options.output_dir):
            assert result.error is not None
            self._pause_for(result.error, result.size)
            self.arrivals.notice(path, live=arrival.live)
            return
        if self._enter(result, arrival) and result.error is None:
            self._backoff.end()
        if identity_of(path) not in {arrival.identity, None}:
            self.arrivals.notice(path, live=True)

    def _enter(self, result: FileResult, arrival: Arrival, *, journal: bool = True) -> bool:
        """Enter a result everywhere; return whether it could be written down.

        Of an exposure whose output is another's, the journal learns nothing.
        """
        path = arrival.path
        if journal:
            self._unwritten.append(functools.partial(self._journal.finish, result))
        if self._report is not None:
            self._unwritten.append(functools.partial(self._report.append, result.as_dict()))
        written = self._write()
        if result.error is None:
            latency = time.monotonic() - arrival.at
            self.counts.done(result, latency, live=arrival.live)
            self.quarantine.remove(path)
            self._outdated.discard(path)
            text = "%s: %s in %.2f s, mask %s"
            log.info(text, result.output, result.s_dqinit, latency, result.mask)
        else:
            kind = result.error_class or ""
            self.counts.failed(kind)
            self.quarantine.add(path, arrival.identity, result.error, kind)
            log.error("set aside: %s", explained(path, result.error))
        if self._on_result is not None:
            self._on_result(result)
        return written

    def _write(self) -> bool:
        """Write what could not be written before; pause if it cannot be written now."""
        try:
            while self._unwritten:
                self._unwritten[0]()
                self._unwritten.popleft()
        except OutputError as error:
            self._pause_for(error)
            return False
        return True

    def _pause_for(self, error: TmtDqError, needs: int = 0) -> None:
        self._check_output_folder()
        self._backoff.begin(error, needs)

    def _check_output_folder(self) -> None:
        if _folder_id(self._options.output_dir) != self._output_id:
            raise OutputError(
                "the output folder is gone, or is another one than at the start; the watch ends",
                where=self._options.output_dir,
                hint="Mount it or make it again, then start the watch: it goes on.",
            )

    # --- now and then ---------------------------------------------------------------------------

    def _tick(self, *, take: bool) -> None:
        self._pool.fill()
        self._check_output_folder()
        self._check_watched_folder()
        settings = self._rules.changed() if take else None
        if settings is not None:
            self._settings = settings
            self._decider.use(settings)
        reload, self._control.reload_wanted = self._control.reload_wanted, False
        if reload:
            log.info("searching again, and trying again what was set aside")
            self._events.search()
        rules = settings is not None
        for path in self.quarantine.release(rules=rules, everything=reload):
            self.arrivals.notice(path, live=False)
        idle = not (self._live or self._backlog or self._running or len(self.arrivals))
        if take and idle and self._backoff.why and self._backoff.is_over() and self._write():
            self._backoff.end()
        self._backoff.remind()
        self._show_status()

    def _check_watched_folder(self) -> None:
        present = os.path.isdir(self._options.folder)  # noqa: PTH112 - Path's raises where closed
        if present != self._folder_present:
            self._folder_present = present
            if present:
                log.warning("%s is there again", self._options.folder)
                self._events.search()
            else:
                log.error("%s is not there; waiting for it", self._options.folder)

    # --- status ---------------------------------------------------------------------------------

    def _show_status(self) -> None:
        if self._state == "starting" and self._pool.ready_count and self._events.searches:
            self._state = "watching"
        self._reporter.attempt(self.quarantine.path, self.quarantine.write_list)
        self._reporter.show(self._status())

    def _status(self) -> dict[str, Any]:
        """Return all that the heartbeat has."""
        state, why = self._condition()
        now, options, events = time.monotonic(), self._options, self._events
        running = {path: now - began for path, (_, began) in self._running.items()}
        return {
            "state": state,
            "why": why,
            "folder_present": int(self._folder_present),
            "events": "kernel" if events.listening else f"a search every {options.search_s:g} s",
            "contexts": [rule.context for rule in self._settings.rules],
            **self.counts.as_dict(),
            "arriving": len(self.arrivals),
            "arriving_files": [
                f"{path}: {why}" for path, why in itertools.islice(self.arrivals.waiting(), _NAMED)
            ],
            "queued": len(self._live) + len(self._backlog),
            "running": len(running),
            "running_files": dict(list(running.items())[:_NAMED]),
            "oldest_running_seconds": round(max(running.values(), default=0.0), 3),
            "set_aside": len(self.quarantine),
            "outdated": len(self._outdated),
            "workers": {"count": self._jobs, "deaths": self._pool.deaths},
            "workers_ready": self._pool.ready_count,
            "searches": events.searches,
        }

    def _condition(self) -> tuple[str, str]:
        """Return the state, and why it is "waiting"."""
        failure = self._events.failure
        why = self._backoff.why
        if not why and not self._folder_present:
            why = f"{self._options.folder} is not there"
        if not why and failure is not None:
            why = f"{self._options.folder} cannot be searched: {failure.strerror}"
        if self._state in {"stopping", "stopped"}:
            return self._state, ""
        return ("waiting", why) if why else (self._state, "")


def _folder_id(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
