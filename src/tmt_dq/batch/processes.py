"""Runs a batch in processes of this machine.

Not with `concurrent.futures`: there the death of one worker ends the whole pool, tells nobody which
job it was or what the system said, and the jobs of all others are lost with it. Here each worker
has a connection of its own: what dies with it is one job.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, NamedTuple, TypeVar

from tmt_dq.batch.meter import Meter, count_with
from tmt_dq.errors import ConfigError, WorkerError

__all__ = [
    "Lane",
    "Processes",
    "Ticket",
    "cannot_start",
    "ctrl_c_waits",
    "died",
    "serial",
    "stop_lanes",
]

T = TypeVar("T")
R = TypeVar("R")

_READY = "ready"
_ATTEMPTS = 2
_GRACE_S = 0.7  # until workers that do not end on request are killed; Ctrl-C promises 2 s
_STARTS = 3
# Not fork: the caller may have threads, and locks that they hold would never open in the child.
_CONTEXT = get_context("spawn")


def serial(work: Callable[[T], R], jobs: Iterable[T]) -> Iterator[tuple[T, R | Exception]]:
    """Do one job after the other in this process: a mapper for tests and for debuggers.

    Parameters
    ----------
    work : callable
        What does a job.
    jobs : iterable
        The jobs.

    Yields
    ------
    tuple
        A job and its result.
    """
    for job in jobs:
        yield job, work(job)


class Processes:
    """A mapper: does jobs in processes of this machine.

    Parameters
    ----------
    count : int, optional
        Number of processes; by default that of the cores this process may use.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise ConfigError(f"jobs is {count}; expected at least 1")
        self.count = count or len(os.sched_getaffinity(0))
        self._on_bytes: Callable[[int], None] | None = None

    def watch(self, on_bytes: Callable[[int], None]) -> None:
        """Have somebody told of the bytes that workers write.

        Parameters
        ----------
        on_bytes : callable
            Called with a number of bytes; when a job ends, with the negative of all its bytes.
        """
        self._on_bytes = on_bytes

    def __call__(
        self, work: Callable[[T], R], jobs: Iterable[T]
    ) -> Iterator[tuple[T, R | Exception]]:
        """Do all jobs; each is taken from `jobs` when a worker is free for it, not before.

        Parameters
        ----------
        work : callable
            Does a job; must be picklable.
        jobs : iterable
            The jobs.

        Yields
        ------
        tuple
            A job, and its result or the error that it ended with, in the order they end. A job
            whose worker dies is done again once; the second time the result is `WorkerError`.

        Raises
        ------
        ConfigError
            Raised if workers cannot start.
        """
        waiting = _Queue(jobs)
        lanes: list[Lane[T]] = []
        starts_failed = 0
        in_order = False
        try:
            while True:
                _feed(lanes, waiting, work, self.count, self._on_bytes)
                busy = {lane.connection: lane for lane in lanes}
                if not any(lane.job is not None for lane in lanes) and not waiting.ahead(1):
                    break
                for connection in wait(list(busy)):
                    lane = busy[connection]  # type: ignore[index]
                    try:
                        answer = lane.receive()
                    except (EOFError, OSError):
                        lanes.remove(lane)
                        what = lane.epitaph()
                        if not lane.ready:
                            starts_failed += 1
                            if starts_failed >= _STARTS:
                                raise cannot_start(what) from None
                        elif lane.job is not None and not waiting.again(lane.job):
                            yield lane.job.content, died(what)
                        continue
                    if answer is not None:
                        yield answer
            in_order = True
        finally:
            stop_lanes(lanes, at_once=not in_order)


class _Moved(NamedTuple):
    """What a worker says while it is at work: bytes written since it last said so."""

    size: int


class Ticket(Generic[T]):
    """A job and how often a worker died of it."""

    def __init__(self, content: T) -> None:
        self.content = content
        self.deaths = 0


class _Queue(Generic[T]):
    """Jobs to do: those to be done again first, then the rest, taken as late as possible."""

    def __init__(self, jobs: Iterable[T]) -> None:
        self._jobs = iter(jobs)
        self._next: deque[Ticket[T]] = deque()

    def again(self, ticket: Ticket[T]) -> bool:
        """Take a job back; False if it had its chances."""
        ticket.deaths += 1
        if ticket.deaths >= _ATTEMPTS:
            return False
        self._next.appendleft(ticket)
        return True

    def ahead(self, number: int) -> int:
        """Return how many jobs there are, looking no further than `number`."""
        missing = max(0, number - len(self._next))
        self._next.extend(Ticket(job) for job in itertools.islice(self._jobs, missing))
        return min(number, len(self._next))

    def take(self) -> Ticket[T]:
        """Return the next job; there must be one."""
        return self._next.popleft()


class Lane(Generic[T]):
    """A worker process, and the job it has."""

    def __init__(
        self, work: Callable[[T], Any], on_bytes: Callable[[int], None] | None = None
    ) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        arguments = (theirs, work, on_bytes is not None)
        self.process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
        self._on_bytes = on_bytes
        self._moved = 0
        self.ready = False
        self.job: Ticket[T] | None = None
        self.process.start()
        theirs.close()

    def give(self, ticket: Ticket[T]) -> None:
        """Send a job to the worker."""
        self.job = ticket
        # A worker that is gone is noticed where its answer is read.
        with contextlib.suppress(OSError):
            self.connection.send(ticket.content)

    def receive(self) -> tuple[T, Any] | None:
        """Return a job and its result; None if the worker only says how far it is."""
        answer = self.connection.recv()
        if isinstance(answer, _Moved):
            self._count(answer.size)
            return None
        if not self.ready:
            self.ready = True
            return None
        assert self.job is not None
        ticket, self.job = self.job, None
        self._count(-self._moved)
        return ticket.content, answer

    def _count(self, size: int) -> None:
        self._moved += size
        if self._on_bytes is not None and size:
            self._on_bytes(size)

    def epitaph(self) -> str:
        """Say how the worker ended."""
        self._count(-self._moved)
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


def _feed(
    lanes: list[Lane[T]],
    waiting: _Queue[T],
    work: Callable[[T], Any],
    count: int,
    on_bytes: Callable[[int], None] | None,
) -> None:
    """Give every free worker a job; start as many workers as there are jobs for."""
    for lane in lanes:
        if lane.ready and lane.job is None and waiting.ahead(1):
            lane.give(waiting.take())
    free = sum(lane.job is None for lane in lanes)
    room = count - len(lanes)
    if room > 0:
        wanted = waiting.ahead(free + room) - free
        for _ in range(wanted):
            with ctrl_c_waits():
                lanes.append(Lane(work, on_bytes))


def stop_lanes(lanes: list[Lane[Any]], *, at_once: bool) -> None:
    """End the workers; those that are at work clean up and end, or are killed."""
    for lane in lanes:
        if at_once:
            lane.process.terminate()
        else:
            lane.connection.close()
    end = time.monotonic() + _GRACE_S
    for lane in lanes:
        lane.process.join(max(0.0, end - time.monotonic()))
        if lane.process.is_alive():
            lane.process.kill()
    for lane in lanes:
        # One that waits for a disk dies when the disk answers; nobody waits for that.
        lane.process.join(_GRACE_S / 2)
        lane.connection.close()


@contextlib.contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Hold SIGINT back; a process started meanwhile never gets it: its end is our decision."""
    # It lets SIGINT through again when it starts, which must not be in the middle of this.
    resource_tracker.ensure_running()
    noticed: list[int] = []
    in_main_thread = threading.current_thread() is threading.main_thread()
    # The mask is for the child, which inherits it. Here another thread (NumPy has some) may take
    # the signal all the same, so that Python's own handler has to wait too.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if in_main_thread:
        handler = signal.signal(signal.SIGINT, lambda number, _: noticed.append(number))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if in_main_thread:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
            if noticed:
                signal.raise_signal(signal.SIGINT)


def _serve(connection: Connection, work: Callable[[Any], Any], count: bool) -> None:  # noqa: FBT001
    """Do jobs until there are no more, or the process that sends them is gone."""
    # An exception, so that files without a name of their own are cleaned up on every file system.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if count:
        count_with(Meter(lambda size: connection.send(_Moved(size))))
    try:
        _answer(connection, work)
    except (EOFError, OSError):
        return
    except SystemExit as stop:
        # Not the interpreter's own end, which takes a while where much is loaded.
        os._exit(stop.code if isinstance(stop.code, int) else 1)


def _answer(connection: Connection, work: Callable[[Any], Any]) -> None:
    connection.send(_READY)
    while True:
        job = connection.recv()
        try:
            answer = work(job)
        except Exception as error:  # noqa: BLE001 - it belongs to the job
            answer = error
        connection.send(answer)


def died(what: str) -> WorkerError:
    """Return the error of a job that ended its workers."""
    return WorkerError(
        f"the worker process {what}, twice, while it had this file",
        hint="Look at the memory of the machine; try fewer --jobs, or the file on its own.",
    )


def cannot_start(what: str) -> ConfigError:
    """Return the error of workers that end before they begin."""
    return ConfigError(
        f"worker processes end before they begin to work: the last one {what}",
        hint="What it wrote is above. A script that calls run_batch must do so under "
        '`if __name__ == "__main__":`, because every worker imports it.',
    )
