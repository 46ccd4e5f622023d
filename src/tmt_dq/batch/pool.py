"""Worker processes of this machine, for batches and watches.

`concurrent.futures` does not fit: there the death of one worker ends the whole pool, its exit
status is not public, and nothing on Python 3.11 ends a worker in the middle of a job. Here each
worker has a connection of its own, so that what dies with it is one job.
"""

import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from tmt_dq.batch.records import Work
from tmt_dq.errors import ConfigError, WorkerError
from tmt_dq.threads import cores

_NO_JOB: Any = object()
_ATTEMPTS = 2
_STARTS = 3
_GRACE_S = 0.7  # until workers that do not end on request are killed; Ctrl-C promises 2 s
# Not fork: the caller may have threads, and locks that they hold would never open in the child.
_CONTEXT = get_context("spawn")


class Processes:
    """Mapper that does jobs in processes of this machine, by default as many as it has cores."""

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise ConfigError(f"jobs is {count}; expected at least 1")
        self.count = count or cores()

    def __call__(self, work: Work, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Do all jobs; yield each with its result, or the error that it ended with.

        A job is taken from `jobs` when a worker is free for it, not before. One whose worker dies
        is done again once; the second time the result is `WorkerError`.
        """
        pool = Pool(self.count, work)
        source = iter(jobs)
        try:
            while True:
                # In this order: a job is taken only where there is room for it.
                while pool.room and (job := next(source, _NO_JOB)) is not _NO_JOB:
                    pool.give(job)
                if not pool.busy:
                    return
                yield from pool.wait()
        finally:
            pool.stop()


class _Worker:
    """A process, its connection, the job that it has, and how often a worker died of that."""

    def __init__(self, work: Work) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, work), daemon=True)
        self.ready = False
        self.job = _NO_JOB
        self.deaths = 0
        # The resource tracker lets SIGINT through when it starts: not in the middle of this.
        resource_tracker.ensure_running()
        # The process inherits that SIGINT is blocked, and never gets a Ctrl-C of its own.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


class Pool:
    """Workers that jobs are handed to, one each; a worker is started when a job needs it.

    `deaths` counts workers that died.
    """

    def __init__(self, count: int, work: Work) -> None:
        self._count = count
        self._work = work
        self._workers: list[_Worker] = []
        self._again: deque[tuple[Any, int]] = deque()
        self._failed_starts = 0
        self.deaths = 0

    @property
    def busy(self) -> list[Any]:
        """Jobs that workers have, or that are to be done again."""
        jobs = [one.job for one in self._workers if one.job is not _NO_JOB]
        return jobs + [job for job, _ in self._again]

    @property
    def room(self) -> int:
        """Number of jobs that can be given now."""
        return self._count - len(self.busy)

    def give(self, job: Any, deaths: int = 0) -> None:
        """Hand a job to a worker; there must be room."""
        idle = [one for one in self._workers if one.job is _NO_JOB]
        if not idle:
            idle = [_Worker(self._work)]
            self._workers += idle
        worker = max(idle, key=lambda one: one.ready)
        worker.job, worker.deaths = job, deaths
        # A worker that is gone is noticed where its answer is read.
        with contextlib.suppress(OSError):
            worker.connection.send(job)

    def wait(self, timeout: float | None = None) -> list[tuple[Any, Any]]:
        """Wait until workers have an answer; return jobs and what they ended with.

        Raises `ConfigError` if workers end before they begin to work.
        """
        waiting = {one.connection: one for one in self._workers}
        answers: list[tuple[Any, Any]] = []
        for readable in wait(waiting, timeout):
            worker = waiting[readable]  # type: ignore[index]  # it is one of these
            try:
                kind, content = worker.connection.recv()
            except (EOFError, OSError):
                answers += self._bury(worker)
                continue
            if kind == "ready":
                worker.ready, self._failed_starts = True, 0
            else:
                answers.append((worker.job, content))
                worker.job = _NO_JOB
        while self._again:
            self.give(*self._again.popleft())
        return answers

    def stop(self) -> None:
        """End the workers; those at work clean up and end, or are killed."""
        for worker in self._workers:
            worker.process.terminate()
        end = time.monotonic() + _GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                # One that waits for a disk dies when the disk answers; nobody waits for that.
                worker.process.join(_GRACE_S / 2)
            worker.connection.close()
        self._workers = []

    def _bury(self, worker: _Worker) -> list[tuple[Any, Any]]:
        """Take a dead worker out; return its job with an error if it was tried often enough."""
        self._workers.remove(worker)
        worker.process.join(_GRACE_S)
        worker.process.kill()
        worker.connection.close()
        what = _end_of(worker.process.exitcode)
        self.deaths += 1
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                what = f"worker processes end before they begin to work: the last one {what}"
                hint = "What it wrote is above. A script that calls run_batch must do so under "
                hint += '`if __name__ == "__main__":`, because every worker imports it.'
                raise ConfigError(what, hint=hint)
        deaths = worker.deaths + worker.ready
        if worker.job is _NO_JOB:
            return []
        if deaths < _ATTEMPTS:
            self._again.append((worker.job, deaths))
            return []
        what = f"the worker process {what}, twice, while it had this file"
        hint = "Look at the memory of the machine; try fewer --jobs, or the file on its own."
        return [(worker.job, WorkerError(what, hint=hint))]


def _end_of(status: int | None) -> str:
    """Return how a process ended."""
    if status is None:
        return "closed its connection"
    if status >= 0:
        return f"ended with status {status}"
    killed = ", as the system does when memory runs out" if -status == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-status).name}{killed}"


def _serve(connection: Connection, work: Work) -> None:
    """Do jobs until there are no more, or the process that sends them is gone."""
    # An exception, so that files without a name of their own are cleaned up on every file system.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # It goes to all processes where a terminal closes; what it means is up to the first one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        connection.send(("ready", None))
        while True:
            job = connection.recv()
            try:
                answer = work(job)
            except Exception as error:  # noqa: BLE001 - it belongs to the job
                answer = error
            connection.send(("answer", answer))
    except (EOFError, OSError):
        return
    except SystemExit:
        # The end of the interpreter removes the semaphores that libraries (tqdm) have made.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
