"""Mapper that does jobs on a dask.distributed cluster.

dask decides where a job runs, and runs it again where its worker dies. Added here: jobs are
submitted as threads become free, and workers that do not see the same files are left out.
"""

import contextlib
import functools
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tmt_dq.batch.records import Work
from tmt_dq.batch.shared import Shared, unfit
from tmt_dq.errors import ConfigError, WorkerError

__all__ = ["Cluster"]

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)

_CONNECT_S = 30
_NO_JOB: Any = object()


class _UnfitError(Exception):
    """Answer of a worker that cannot do the job it got."""


class _UnwantedError(Exception):
    """End of a job whose result nobody waits for any more."""


def _end_if_unwanted(_size: int) -> None:
    """End the job of this thread, in the middle of its file, if it was cancelled.

    dask cannot interrupt what is being done; jobs call this with the bytes that they write.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state == "cancelled":
        raise _UnwantedError


def _on_worker(work: Work[T, R], shared: Shared | None, job: T) -> R:
    """Do a job, if this worker sees what it must."""
    problems = () if shared is None else unfit(shared)
    if problems:
        from distributed import get_worker

        raise _UnfitError(get_worker().address, "; ".join(problems))
    return work(job, _end_if_unwanted)


class Cluster:
    """Mapper that does jobs on a dask.distributed cluster.

    Parameters
    ----------
    address : str, optional
        Of the scheduler: ``tcp://host:8786``.
    scheduler_file : path, optional
        The file that the scheduler writes with ``--scheduler-file``.
    patience_s : float
        Seconds to wait for a first worker.

    Raises
    ------
    ConfigError
        Raised if dask.distributed is not installed, or both or none of the two are given.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        scheduler_file: str | os.PathLike[str] | None = None,
        patience_s: float = 600,
    ) -> None:
        if (address is None) == (scheduler_file is None):
            raise ConfigError("expected the scheduler's address or its file, one of them")
        try:
            import distributed  # noqa: F401 - whether it is there
        except ImportError as error:
            hint = "Run: pip install distributed"
            raise ConfigError("dask.distributed is not installed", hint=hint) from error
        self._address = address
        self._file = Path(scheduler_file or "")
        self._patience_s = patience_s
        self._shared: Shared | None = None

    def share(self, shared: Shared) -> None:
        """Set what workers must see."""
        self._shared = shared

    def __call__(self, work: Work[T, R], jobs: Iterable[T]) -> Iterator[tuple[T, R | Exception]]:
        """Do all jobs; each is taken from `jobs` when the cluster has room for it.

        Yields
        ------
        tuple
            A job, and its result or the error that it ended with, in the order they end.

        Raises
        ------
        ConfigError
            Raised if the scheduler does not answer, or no worker is fit for the work.
        """
        from distributed import as_completed

        task = functools.partial(_on_worker, work, self._shared)
        source = iter(jobs)
        running: dict[Any, T] = {}
        unfit: dict[str, str] = {}
        with self._connected() as client:
            completed = as_completed(with_results=True, raise_errors=False, loop=client.loop)
            again: list[T] = []
            while True:
                fit = _fit_workers(client, unfit)
                # One job a thread: dask blames all jobs that a dead worker had, begun or not.
                while len(running) < max(1, sum(fit.values())):
                    job = again.pop() if again else next(source, _NO_JOB)
                    if job is _NO_JOB:
                        break
                    # A preference, not a condition: where all of these die, others come.
                    where = {"workers": list(fit), "allow_other_workers": True} if unfit else {}
                    future = client.submit(task, job, pure=False, **where)
                    running[future] = job
                    completed.add(future)
                if not running:
                    return
                for future, result in completed.next_batch():
                    job, answer = running.pop(future), _answer(future, result)
                    if isinstance(answer, _UnfitError):
                        address, why = answer.args
                        log.warning("worker %s is left out: %s", address, why)
                        unfit[address] = why
                        again.append(job)
                    else:
                        yield job, answer

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """Connect to the scheduler, and wait for a first worker."""
        from distributed import Client

        try:
            # dask waits without end for a scheduler's file that is not there.
            address = self._address or str(json.loads(self._file.read_text("utf-8"))["address"])
            client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"no scheduler answers ({type(error).__name__}: {error})",
                where=self._address or self._file,
                hint="Start one (dask scheduler), or correct the address or the file.",
            ) from error
        ended = False
        try:
            if not client.nthreads():
                log.info("waiting for workers")
            client.wait_for_workers(1, timeout=self._patience_s)
            yield client
            ended = True
        except TimeoutError as error:
            raise ConfigError(
                f"the cluster has no worker after {self._patience_s:.0f} s",
                where=address,
                hint="Start some: dask worker ADDRESS --nthreads 1",
            ) from error
        finally:
            # dask's event loop shows, with tracebacks, what it cannot finish any more.
            loop = logging.getLogger("tornado.application")
            was, loop.disabled = loop.disabled, loop.disabled or not ended
            client.close(timeout=1)
            loop.disabled = was


def _fit_workers(client: Any, unfit: Mapping[str, str]) -> dict[str, int]:
    """Return the workers that may be used, and their threads."""
    threads = client.nthreads()
    fit = {address: number for address, number in threads.items() if address not in unfit}
    if threads and not fit:
        listing = "\n".join(f"  {address}: {why}" for address, why in unfit.items())
        raise ConfigError(
            f"no worker of the cluster is fit for this batch:\n{listing}",
            hint="Inputs, outputs and the CRDS cache must be at the same place on all machines, "
            "and tmt-dq of the same version.",
        )
    return fit


def _answer(future: Any, result: Any) -> Any:
    """Return the result of a job, or the error that it ended with."""
    if future.cancelled():
        raise ConfigError(
            "the scheduler is gone",
            hint="Start it again and run the same command: what is done is skipped.",
        )
    if future.status != "error":
        return result
    error = result[1]
    if type(error).__name__ == "KilledWorker":
        return WorkerError(
            f"the workers that had this file died: {error}",
            hint="Look at the memory of the machines, or at the file on its own.",
        )
    return error
