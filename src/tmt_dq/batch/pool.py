"""Worker processes of this machine, for batches and watches.

`concurrent.futures` does not fit: there the death of one worker ends the whole pool, its exit
status is not public, and nothing on Python 3.11 ends a worker in the middle of a job. Here each
worker has a connection of its own, so that what dies with it is one job.
"""

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, NamedTuple, TypeVar

from tmt_dq.batch.interrupts import sigint_held
from tmt_dq.batch.records import Progress, Work
from tmt_dq.errors import ConfigError, WorkerError

__all__ = ["Pool"]

T = TypeVar("T")

_ATTEMPTS = 2
_STARTS = 3
_GRACE_S = 0.7  # until workers that do not end on request are killed; Ctrl-C promises 2 s
_REPORT_S = 0.5
# Not fork: the caller may have threads, and locks that they hold would never open in the child.
_CONTEXT = get_context("spawn")


class _Moved(NamedTuple):
    """Message of a worker: bytes written since its last one."""

    size: int


class _Ticket(Generic[T]):
    """A job, and how often a worker died of it."""

    def __init__(self, job: T) -> None:
        self.job = job
        self.deaths = 0


class _Worker(Generic[T]):
    """A process, its connection, and the job that it has."""

    def __init__(
        self, work: Work[T, Any], prepare: Callable[[], object] | None, on_bytes: Progress | None
    ) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        arguments = (theirs, work, prepare, None if on_bytes is None else _REPORT_S)
        self.process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
        self._on_bytes = on_bytes
        self._moved = 0
        self.ready = False
        self.ticket: _Ticket[T] | None = None
        # The resource tracker lets SIGINT through when it starts: not in the middle of this.
        resource_tracker.ensure_running()
        with sigint_held():  # the process inherits that, and never gets a Ctrl-C of its own
            self.process.start()
        theirs.close()

    def give(self, ticket: _Ticket[T]) -> None:
        """Send a job; one that is sent before the worker is ready waits in the connection."""
        self.ticket = ticket
        # A worker that is gone is noticed where its answer is read.
        with contextlib.suppress(OSError):
            self.connection.send(ticket.job)

    def receive(self) -> tuple[T, Any] | None:
        """Return a job and its result; None if the message is about something else."""
        answer = self.connection.recv()
        if isinstance(answer, _Moved):
            self.count(answer.size)
            return None
        if not self.ready:
            self.ready = True
            return None
        assert self.ticket is not None
        ticket, self.ticket = self.ticket, None
        self.count(-self._moved)
        return ticket.job, answer

    def count(self, size: int) -> None:
        """Add to the bytes of the job at hand."""
        self._moved += size
        if self._on_bytes is not None and size:
            self._on_bytes(size)

    def bury(self) -> str:
        """Clean up after a worker that is gone; return how it ended."""
        self.count(-self._moved)
        self.process.join(_GRACE_S)
        code = self.process.exitcode
        self.connection.close()
        if code is None:
            self.process.kill()
            return "closed its connection"
        if code < 0:
            name = signal.Signals(-code).name
            killed = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
            return f"was ended by {name}{killed}"
        return f"ended with status {code}"


class Pool(Generic[T]):
    """Workers that jobs are handed to, one each.

    A worker is started when a job needs it, or by `fill` before that. `prepare` is called in each
    worker before its first job. `deaths` counts workers that died.
    """

    def __init__(
        self,
        count: int,
        work: Work[T, Any],
        *,
        prepare: Callable[[], object] | None = None,
        on_bytes: Progress | None = None,
    ) -> None:
        self._count = count
        self._start: Callable[[], _Worker[T]] = lambda: _Worker(work, prepare, on_bytes)
        self._workers: list[_Worker[T]] = []
        self._again: deque[_Ticket[T]] = deque()
        self._failed_starts = 0
        self.deaths = 0

    @property
    def room(self) -> int:
        """Number of jobs that can be given now."""
        return self._count - len(self.busy)

    @property
    def busy(self) -> list[T]:
        """Jobs that workers have, or that are to be done again."""
        tickets = [one.ticket for one in self._workers if one.ticket is not None]
        return [ticket.job for ticket in [*tickets, *self._again]]

    @property
    def ready_count(self) -> int:
        """Number of workers that are at work or could begin at once."""
        return sum(one.ready for one in self._workers)

    def fill(self) -> None:
        """Start the workers that are missing."""
        while len(self._workers) < self._count:
            self._workers.append(self._start())

    def give(self, job: T) -> None:
        """Hand a job to a worker; there must be room."""
        self._hand_over(_Ticket(job))

    def wait(self, timeout: float | None = None, *others: Any) -> list[tuple[T, Any]]:
        """Wait until a worker, or one of `others`, has something to read.

        Returns jobs and their answers, or the errors that they ended with. Raises `ConfigError` if
        workers end before they begin to work.
        """
        waiting = {one.connection: one for one in self._workers}
        answers: list[tuple[T, Any]] = []
        for readable in wait([*waiting, *others], timeout):
            worker = waiting.get(readable)  # type: ignore[call-overload]  # others are not found
            if worker is None:
                continue
            try:
                answer = worker.receive()
            except (EOFError, OSError):
                answers += self._lost(worker)
                continue
            if worker.ready:
                self._failed_starts = 0
            if answer is not None:
                answers.append(answer)
        while self._again:
            self._hand_over(self._again.popleft())
        return answers

    def stop(self, *, at_once: bool) -> None:
        """End the workers; those at work clean up and end, or are killed."""
        for worker in self._workers:
            if at_once:
                worker.process.terminate()
            else:
                worker.connection.close()
        end = time.monotonic() + _GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
        for worker in self._workers:
            # One that waits for a disk dies when the disk answers; nobody waits for that.
            worker.process.join(_GRACE_S / 2)
            worker.connection.close()
        self._workers = []

    def _hand_over(self, ticket: _Ticket[T]) -> None:
        idle = [one for one in self._workers if one.ticket is None]
        if not idle:
            idle.append(self._start())
            self._workers += idle
        max(idle, key=lambda one: one.ready).give(ticket)

    def _lost(self, worker: _Worker[T]) -> list[tuple[T, Any]]:
        """Take a dead worker out; return its job with an error if it was tried often enough."""
        self._workers.remove(worker)
        what = worker.bury()
        self.deaths += 1
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise _cannot_start(what)
        ticket = worker.ticket
        if ticket is None:
            return []
        ticket.deaths += worker.ready
        if ticket.deaths >= _ATTEMPTS:
            return [(ticket.job, _died(what))]
        self._again.append(ticket)
        return []


def _serve(
    connection: Connection,
    work: Work[Any, Any],
    prepare: Callable[[], object] | None,
    report_s: float | None,
) -> None:
    """Do jobs until there are no more, or the process that sends them is gone."""
    # An exception, so that files without a name of their own are cleaned up on every file system.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = None if report_s is None else _reporter(connection, report_s)
    try:
        if prepare is not None:
            prepare()
        connection.send("ready")
        while True:
            job = connection.recv()
            try:
                answer = work(job, progress)
            except Exception as error:  # noqa: BLE001 - it belongs to the job
                answer = error
            connection.send(answer)
    except (EOFError, OSError):
        return
    except SystemExit as stop:
        # Not the interpreter's own end, which takes a while where much is loaded.
        os._exit(stop.code if isinstance(stop.code, int) else 1)


def _reporter(connection: Connection, every_s: float) -> Progress:
    """Return a function that adds up bytes, and sends the sum from time to time."""
    total, sent = 0, time.monotonic()

    def progress(size: int) -> None:
        nonlocal total, sent
        total += size
        now = time.monotonic()
        if now - sent >= every_s:
            connection.send(_Moved(total))
            total, sent = 0, now

    return progress


def _died(what: str) -> WorkerError:
    return WorkerError(
        f"the worker process {what}, twice, while it had this file",
        hint="Look at the memory of the machine; try fewer --jobs, or the file on its own.",
    )


def _cannot_start(what: str) -> ConfigError:
    return ConfigError(
        f"worker processes end before they begin to work: the last one {what}",
        hint="What it wrote is above. A script that calls run_batch must do so under "
        '`if __name__ == "__main__":`, because every worker imports it.',
    )
