"""Cores and threads of this process, for parts of one task; batches have `tmt_dq.batch.pool`."""

import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Progress = Callable[[int], None]


class _StoppedError(Exception):
    """End of a job whose result nobody waits for any more."""


def cores() -> int:
    """Return how many cores this process may use."""
    # macOS has no sched_getaffinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    count: int,
    work: Callable[[Job, Progress], Result],
    jobs: Iterable[Job],
    progress: Progress | None = None,
) -> Generator[tuple[Job, Result]]:
    """Do all jobs in `count` threads; yield each with its result as it ends.

    When the generator is closed, jobs end where they call the function that they are given.
    """
    stopped = threading.Event()

    def step(size: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        if progress is not None:
            progress(size)

    with ThreadPoolExecutor(count) as pool:
        waiting = {pool.submit(work, job, step): job for job in jobs}
        try:
            while waiting:
                # A wait without end would keep signals away.
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
