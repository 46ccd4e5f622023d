"""The loop: notices become arrivals, arrivals jobs, jobs outputs."""

import functools
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tmt_dq.batch.pool import Pool
from tmt_dq.batch.records import FileResult, Job, Settings
from tmt_dq.errors import ConfigError, OutputError, TmtDqError, WorkerError
from tmt_dq.watch.arrivals import Arrival, Arrivals
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.control import Control
from tmt_dq.watch.ledger import Decision, Ledger
from tmt_dq.watch.notices import Notices
from tmt_dq.watch.options import WatchOptions
from tmt_dq.watch.reporting import Reporting
from tmt_dq.watch.rules import Rules
from tmt_dq.watch.trouble import Trouble, is_outside
from tmt_dq.watch.work import Answer, Task, get_ready, work

__all__ = ["Service"]

log = logging.getLogger(__name__)

_TICK_S = 1.0
_ANNOUNCED = 32
_AT_ONCE = 200


class Service:
    """A folder being watched.

    Parameters
    ----------
    options : WatchOptions
        What is to be done.
    settings : Settings
        What is to be done with each exposure.
    control : Control
        Tells it to stop.
    jobs : int
        Number of workers.
    on_result : callable, optional
        Called with the account of each exposure that was worked on.
    """

    def __init__(
        self,
        options: WatchOptions,
        settings: Settings,
        control: Control,
        *,
        jobs: int,
        on_result: Callable[[FileResult], None] | None = None,
    ) -> None:
        self.options = options
        self._control = control
        self._on_result = on_result
        self._jobs = jobs
        self.arrivals = Arrivals(options.patience, remote=options.remote)
        self.pool: Pool[Task] = Pool(jobs, work, prepare=functools.partial(get_ready, settings))
        self.notices = Notices(
            options.folder,
            wanted=options.wanted,
            enter=options.enter,
            ring=control.ring,
            search_s=options.search_s,
            events=options.events,
        )
        self.queue: deque[tuple[Arrival, Decision]] = deque()
        self.backlog: deque[tuple[Arrival, Decision]] = deque()
        self._queued: set[str] = set()
        self._running: dict[str, tuple[Arrival, float]] = {}
        self._announced: set[str] = set()
        self.trouble: Trouble | None = None
        self.folder_present = True
        self._output_id = _folder_id(options.output_dir)
        self._tick_due = 0.0
        self._rules = Rules(options.apply, settings)
        self._searched = 0.0
        self.ledger = Ledger(
            options.output_dir,
            settings,
            redo=options.redo,
            overwrite=options.overwrite,
            report=options.report,
        )
        try:
            self.reporting = Reporting(self)
        except BaseException:
            self.ledger.close()
            raise

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Watch until told to stop, or, once, until all is done that is complete."""
        try:
            self.pool.fill()
            self.notices.start()
            self.reporting.start()
            while self._control.stopping == "no" and not self._is_done():
                self._step()
            self._finish()
        except BaseException:
            self.pool.stop(at_once=True)
            raise
        finally:
            self.notices.stop()
            self.pool.stop(at_once=False)
            self.reporting.stop()
            self.ledger.close()

    def _step(self, *, take: bool = True) -> None:
        ended = self.pool.wait(self._pause(), self._control.fileno())
        self._control.answer()
        for task, answer in ended:
            self._ended(task, answer)
        if take:
            self._listen()
            self._hand_out()
        if time.monotonic() >= self._tick_due:
            self._tick_due = time.monotonic() + _TICK_S
            self._look_after(take=take)

    def _pause(self) -> float:
        if self.notices.more and self._control.stopping == "no":
            return 0.0
        due = self._tick_due
        if self._control.stopping == "no":  # else nothing is looked at any more
            due = min(due, self.arrivals.next_due() or due)
        return max(0.0, due - time.monotonic())

    def _is_done(self) -> bool:
        if not self.options.once:
            return False
        if self.notices.failure is not None:
            raise ConfigError(
                f"the folder cannot be searched: {self.notices.failure.strerror}",
                where=self.options.folder,
                hint="Check that it is there, and its rights.",
            )
        if not self.notices.all_told:
            return False
        if self.trouble is not None:
            raise OutputError(self.trouble.why, hint="What is done is known; run it again.")
        if self.queue or self.backlog or self.pool.busy:
            return False
        self._searched = self._searched or time.monotonic()
        waited = time.monotonic() - self._searched
        return not self.arrivals or waited > self.options.patience.settle_s + _TICK_S

    def _finish(self) -> None:
        """Let what is at work end, for as long as it may."""
        self.reporting.stopping()
        if self.pool.busy:
            log.info("stopping: %d ramps are at work", len(self.pool.busy))
        end = time.monotonic() + self.options.grace_s
        while self.pool.busy and time.monotonic() < end and self._control.stopping != "now":
            self._tick_due = min(self._tick_due, end)
            self._step(take=False)
        if self.pool.busy:
            log.warning("%d ramps are left undone; nothing half-written", len(self.pool.busy))
            self.pool.stop(at_once=True)

    # --- from notices to outputs ----------------------------------------------------------------

    def _listen(self) -> None:
        for path, live in self.notices.take(_AT_ONCE):
            # What is done need not even be opened.
            identity = None if live else identity_of(path)
            decision = None if identity is None else self.ledger.decide(path, identity)
            if decision is not None and decision.action == "skip":
                self.reporting.skipped(path, decision, live=live)
            else:
                self.arrivals.notice(path, live=live)
        for arrival in self.arrivals.ready():
            self._arrived(arrival)

    def _arrived(self, arrival: Arrival) -> None:
        path = arrival.path
        if path in self._queued:
            return
        if path in self._running:
            return  # when it ends, the file is compared with what it was
        decision = self.ledger.decide(path, arrival.identity)
        if decision.action == "skip":
            self.reporting.skipped(path, decision, live=arrival.live)
        elif decision.action == "aside":
            assert decision.error is not None
            self._left(arrival, decision.error)
        else:
            assert decision.job is not None
            self.ledger.reserve(decision.job)
            self._queued.add(path)
            (self.queue if arrival.live else self.backlog).append((arrival, decision))

    def _left(self, arrival: Arrival, error: TmtDqError) -> None:
        """Set an exposure aside that no worker had."""
        path = arrival.path
        job = Job(path, str(self.ledger.output_of(path)))
        result = FileResult.failure(job, error, size=arrival.identity.size)
        try:
            self.ledger.refuse(result, arrival.identity)
        except OutputError as trouble:
            self._in_trouble(trouble, 0)
        self.reporting.failed(path, error, result.error_class or "")
        if self._on_result is not None:
            self._on_result(result)

    def _hand_out(self) -> None:
        """Give work to free workers; what came just now goes before what was there."""
        room = self.pool.room
        if self.trouble is not None:
            free = self.reporting.free_bytes()
            if not self.trouble.worth_trying(free) or not self._can_write():
                return
            room = min(room, 1)  # one to try with
        while room > 0 and (self.queue or self.backlog):
            try:
                self._announce()
            except OutputError as error:
                self._in_trouble(error, 0)
                return
            arrival, decision = (self.queue or self.backlog).popleft()
            self._queued.discard(arrival.path)
            assert decision.job is not None
            if identity_of(arrival.path) != arrival.identity:
                # A whole folder may have been taken away with thousands that wait.
                self.ledger.drop(decision.job)
                self.arrivals.notice(arrival.path, live=arrival.live)
                continue
            memory = None
            if self.ledger.settings.options.get("sync", True):
                memory = str(self.ledger.state.path)
            task = Task(decision.job, self.ledger.settings, arrival.identity, memory)
            self._announced.discard(decision.job.output)
            self._running[arrival.path] = arrival, time.monotonic()
            self.pool.give(task)
            room -= 1

    def _announce(self) -> None:
        """Announce the next outputs as ours, several at once."""
        first = (self.queue or self.backlog)[0][1].job
        assert first is not None
        if first.output in self._announced:
            return
        waiting = [*self.queue, *self.backlog] if len(self.backlog) < _ANNOUNCED else self.queue
        source = waiting or self.backlog
        jobs = [
            decision.job
            for _, (_, decision) in zip(range(_ANNOUNCED), source, strict=False)
            if decision.job is not None and decision.job.output not in self._announced
        ]
        self.ledger.begin(jobs)
        self._announced |= {job.output for job in jobs}

    def _ended(self, task: Task, answer: Answer | Exception) -> None:
        """Take what a worker says of a job."""
        path = task.job.input
        arrival, began = self._running.pop(path)
        if isinstance(answer, Exception):
            error = answer if isinstance(answer, TmtDqError) else WorkerError(str(answer))
            answer = Answer(FileResult.failure(task.job, error))
        result = answer.result
        if answer.changed or result is None or self._is_gone(result):
            self.ledger.drop(task.job)
            self.reporting.undone(path)
            self.arrivals.notice(path, live=arrival.live)
            return
        if is_outside(result.error, answer.errno, self.options.output_dir):
            assert result.error is not None
            self.ledger.drop(task.job)
            self._in_trouble(result.error, result.size)
            self.arrivals.notice(path, live=arrival.live)
            return
        try:
            self.ledger.finish(result, arrival.identity)
        except OutputError as error:
            self._in_trouble(error, 0)
        else:
            if result.error is None:
                self._out_of_trouble()
        self.reporting.ended(result, arrival, began)
        if self._on_result is not None:
            self._on_result(result)
        if identity_of(path) not in {arrival.identity, None}:
            self.arrivals.notice(path, live=True)

    def _is_gone(self, result: FileResult) -> bool:
        return result.error is not None and identity_of(str(result.input)) is None

    # --- trouble --------------------------------------------------------------------------------

    def _in_trouble(self, error: TmtDqError, size: int) -> None:
        if self.trouble is None:
            self.trouble = Trouble(error, size)
        else:
            self.trouble.again(error, size)

    def _out_of_trouble(self) -> None:
        if self.trouble is not None:
            self.trouble.over()
            self.trouble = None

    def _can_write(self) -> bool:
        """Write down what could not be written, into the folder as it is now."""
        assert self.trouble is not None
        try:
            if _folder_id(self.options.output_dir) != self._output_id:
                self._open_again()
            self.ledger.write()
        except OutputError as error:
            self.trouble.again(error)
            return False
        return True

    def _open_again(self) -> None:
        """Begin anew in an output folder that is another one than it was."""
        found = _folder_id(self.options.output_dir)
        if found is None:
            raise OutputError(
                "the folder is not there",
                where=self.options.output_dir,
                hint="Mount it, or make it again.",
            )
        old = self.ledger
        new = Ledger(
            self.options.output_dir,
            old.settings,
            redo=self.options.redo,
            overwrite=self.options.overwrite,
            report=self.options.report,
        )
        old.close()
        self.ledger = new
        self._announced.clear()
        self._output_id = found
        log.warning("the output folder is another one; all ramps are compared with it")
        self.notices.search(everything=True)

    # --- now and then ---------------------------------------------------------------------------

    def _look_after(self, *, take: bool) -> None:
        self.pool.fill()
        self._look_after_folders()
        settings = self._rules.news() if take else None
        if settings is not None:
            self.ledger.use(settings)
            self._again(everything=False)
        for path in self.ledger.forget_mended():
            self.arrivals.notice(path, live=False)
        if self._control.reload_wanted:
            self._control.reload_wanted = False
            log.info("searching again, and trying again what was set aside")
            self._again(everything=True)
            self.notices.search(everything=True)
        if self.trouble is not None and take:
            self.trouble.say_again()
            idle = not (self.queue or self.backlog or self._running or len(self.arrivals))
            if idle and self.trouble.worth_trying(None) and self._can_write():
                self._out_of_trouble()
        self.reporting.tick()

    def _look_after_folders(self) -> None:
        present = self.options.folder.is_dir()
        if present != self.folder_present:
            self.folder_present = present
            if present:
                log.warning("%s is there again", self.options.folder)
                self.notices.search(everything=True)
            else:
                log.error("%s is not there; waiting for it", self.options.folder)
        if self.trouble is None and _folder_id(self.options.output_dir) != self._output_id:
            missing = OutputError(
                "the folder is gone",
                where=self.options.output_dir,
                hint="Mount it, or make it again.",
            )
            self._in_trouble(missing, 0)

    def _again(self, *, everything: bool) -> None:
        for path in self.ledger.forget_aside(everything=everything):
            self.arrivals.notice(path, live=False)

    @property
    def running(self) -> dict[str, tuple[Arrival, float]]:
        """The exposures that workers have, and since when."""
        return self._running

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._jobs


def _folder_id(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
