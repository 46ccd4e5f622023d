"""Mappers: ways to do the jobs of a batch, here one after the other or in processes."""

import os
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

from tmt_dq.batch.pool import Pool
from tmt_dq.batch.records import FileResult, Job, Progress, Work
from tmt_dq.errors import ConfigError

__all__ = ["Mapper", "Processes", "serial"]

T = TypeVar("T")
R = TypeVar("R")

_NO_JOB: Any = object()


class Mapper(Protocol):
    """Way to do jobs: takes them one by one, and returns them with their results as they end."""

    def __call__(
        self, work: Work[Job, FileResult], jobs: Iterable[Job], /
    ) -> Iterator[tuple[Job, FileResult | Exception]]:
        """Do the jobs."""
        ...


def serial(work: Work[T, R], jobs: Iterable[T]) -> Iterator[tuple[T, R | Exception]]:
    """Do one job after the other in this process: a mapper for tests and debuggers."""
    for job in jobs:
        yield job, work(job)


class Processes:
    """Mapper that does jobs in processes of this machine.

    Parameters
    ----------
    count : int, optional
        Number of processes; by default that of the cores this process may use.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and count < 1:
            raise ConfigError(f"jobs is {count}; expected at least 1")
        self.count = count or len(os.sched_getaffinity(0))
        self._on_bytes: Progress | None = None

    def watch(self, on_bytes: Progress) -> None:
        """Have `on_bytes` called with bytes written, and when a job ends with minus their sum."""
        self._on_bytes = on_bytes

    def __call__(self, work: Work[T, R], jobs: Iterable[T]) -> Iterator[tuple[T, R | Exception]]:
        """Do all jobs; each is taken from `jobs` when a worker is free for it, not before.

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
        pool: Pool[T] = Pool(self.count, work, on_bytes=self._on_bytes)
        source = iter(jobs)
        at_once = True
        try:
            while True:
                # In this order: a job is taken only where there is room for it.
                while pool.room and (job := next(source, _NO_JOB)) is not _NO_JOB:
                    pool.give(job)
                if not pool.busy:
                    break
                yield from pool.wait()
            at_once = False
        finally:
            pool.stop(at_once=at_once)
