"""Runs a batch on a dask.distributed cluster: the workers are other people's, and other machines'.

dask decides where a job runs, and runs it elsewhere if its worker dies. What is added here: jobs
are handed over a few at a time, and workers that do not see the same files are not used.
"""

import contextlib
import functools
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tmt_dq import __version__
from tmt_dq.batch.lines import read_lines
from tmt_dq.batch.meter import count_with
from tmt_dq.errors import ConfigError, OutputError, WorkerError

__all__ = ["Cluster", "Shared", "unfit"]

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)

# Jobs handed over per thread. No more: dask blames all jobs that a dead worker had, begun or not.
_EACH = 1
_CONNECT_S = 30
_REFRESH_S = 5.0
_MISSING = 'Install it with `pip install "tmt-dq[distributed]"`.'


@dataclass(frozen=True, slots=True)
class Shared:
    """What a worker must see as this machine does.

    Parameters
    ----------
    memory : str or None
        The batch's own file in the output folder; None where there is no such folder.
    identity : str
        The word in it that no other folder has.
    folders : tuple of str
        Other folders: those of the exposures, the CRDS cache.
    files : tuple of (str, int)
        Files and their sizes: the mask, the user's flags.
    version : str
        Version of tmt-dq.
    """

    memory: str | None
    identity: str
    folders: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    version: str = __version__


@functools.lru_cache(maxsize=8)
def unfit(shared: Shared) -> tuple[str, ...]:
    """Say why this process cannot work for a batch; nothing if it can. Asked once a process."""
    problems = []
    if shared.version != __version__:
        problems.append(f"it has tmt-dq {__version__}; expected {shared.version}")
    if shared.memory is not None:
        problems += _folder_problems(Path(shared.memory), shared.identity)
    problems += [
        f"it does not see the folder {name}" for name in shared.folders if not Path(name).is_dir()
    ]
    for name, size in shared.files:
        try:
            found = os.stat(name).st_size
        except OSError as error:
            problems.append(f"it cannot read {name} ({error.strerror})")
            continue
        if found != size:
            problems.append(f"its {name} has {found} bytes; expected {size}")
    return tuple(problems)


def _folder_problems(memory: Path, identity: str) -> list[str]:
    """Say what is wrong with the output folder, as this process sees it."""
    problems = []
    try:
        first = next(read_lines(memory), {})
    except OutputError as error:
        first = {}
        problems.append(str(error.what))
    if first.get("folder") != identity:
        problems.append(f"it does not see the output folder {memory.parent}")
    elif not os.access(memory.parent, os.W_OK | os.X_OK):
        problems.append(f"it may not write into the output folder {memory.parent}")
    return problems


class _UnfitError(Exception):
    """The worker that got a job cannot do it."""


class _UnwantedError(Exception):
    """Nobody waits for the result of a job any more."""


def _end_if_unwanted(_size: int) -> None:
    """End the job of this thread if it was cancelled, or whoever wanted it is gone.

    dask cannot interrupt what is being done. Called with the bytes that a job writes, which it does
    in steps: so one that is not wanted ends in the middle of its file, and cleans up.
    """
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state == "cancelled":
        raise _UnwantedError


def _on_worker(work: Callable[[T], R], shared: Shared | None, job: T) -> R:
    """Do a job, if this worker sees what it must."""
    problems = () if shared is None else unfit(shared)
    if problems:
        from distributed import get_worker

        raise _UnfitError(get_worker().address, "; ".join(problems))
    count_with(_end_if_unwanted)
    return work(job)


class Cluster:
    """A mapper: does jobs on a dask.distributed cluster.

    Parameters
    ----------
    address : str, optional
        Of the scheduler: ``tcp://host:8786``.
    scheduler_file : path, optional
        The file that the scheduler was told to write with ``--scheduler-file``.
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
            import distributed  # noqa: F401
        except ImportError as error:
            raise ConfigError("dask.distributed is not installed", hint=_MISSING) from error
        self._address = address
        self._file = None if scheduler_file is None else os.fspath(scheduler_file)
        self._patience_s = patience_s
        self._shared: Shared | None = None

    def share(self, shared: Shared) -> None:
        """Say what workers must see."""
        self._shared = shared

    def __call__(
        self, work: Callable[[T], R], jobs: Iterable[T]
    ) -> Iterator[tuple[T, R | Exception]]:
        """Do all jobs; each is taken from `jobs` when the cluster has room for it.

        Parameters
        ----------
        work : callable
            Does a job; must be picklable.
        jobs : iterable
            The jobs.

        Yields
        ------
        tuple
            A job, and its result or the error that it ended with, in the order they end.

        Raises
        ------
        ConfigError
            Raised if the scheduler does not answer, or no worker is fit for the work.
        """
        task = functools.partial(_on_worker, work, self._shared)
        with self._connect() as client:
            fleet = _Fleet(client, self._patience_s)
            if self._shared is not None:
                fleet.inspect(self._shared)
            yield from _run(client, fleet, task, iter(jobs))

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Any]:
        from distributed import Client

        address = self._address or _address_in(Path(self._file or ""))
        try:
            client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(
                f"no scheduler answers ({error})",
                where=address,
                hint="Start one (dask scheduler), or correct the address.",
            ) from error
        whole = False
        try:
            yield client
            whole = True
        finally:
            with contextlib.nullcontext() if whole else _given_up():
                client.close(timeout=1)


@contextlib.contextmanager
def _given_up() -> Iterator[None]:
    """Keep dask's event loop from telling, with tracebacks, what it cannot finish any more."""
    loop = logging.getLogger("tornado.application")
    was = loop.disabled
    loop.disabled = True
    try:
        yield
    finally:
        loop.disabled = was


def _address_in(path: Path) -> str:
    """Read a scheduler's file here: dask waits without end for one that is not there."""
    try:
        return str(json.loads(path.read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"is no scheduler's file ({type(error).__name__}: {error})",
            where=path,
            hint="Start one with dask scheduler --scheduler-file FILE, where all machines see it.",
        ) from error


class _Fleet:
    """The workers of a cluster, and which of them are not to be used."""

    def __init__(self, client: Any, patience_s: float) -> None:
        self._client = client
        self._unfit: dict[str, str] = {}
        self._asked = 0.0
        self._threads: dict[str, int] = {}
        if not client.nthreads():
            log.info("waiting for workers")
        try:
            client.wait_for_workers(1, timeout=patience_s)
        except TimeoutError as error:
            raise ConfigError(
                f"the cluster has no worker after {patience_s:.0f} s",
                where=client.scheduler.address,
                hint="Start some: dask worker ADDRESS --nthreads 1",
            ) from error

    def inspect(self, shared: Shared) -> None:
        """Ask all workers at once whether they see what they must."""
        answers = self._client.run(unfit, shared, on_error="return")
        for address, problems in answers.items():
            if isinstance(problems, BaseException):
                self.leave_out(address, f"it cannot run tmt-dq ({problems})")
            elif problems:
                self.leave_out(address, "; ".join(problems))
        self.usable()

    def leave_out(self, address: str, why: str) -> None:
        """Use a worker no more."""
        if address not in self._unfit:
            log.warning("worker %s is left out: %s", address, why)
        self._unfit[address] = why

    def usable(self) -> list[str] | None:
        """Return the workers to choose from; None for all.

        Raises
        ------
        ConfigError
            Raised if there are workers and none of them is fit.
        """
        if time.monotonic() - self._asked > _REFRESH_S:
            self._threads = self._client.nthreads()
            self._asked = time.monotonic()
        if not self._unfit:
            return None
        fit = [address for address in self._threads if address not in self._unfit]
        if self._threads and not fit:
            listing = "\n".join(f"  {address}: {why}" for address, why in self._unfit.items())
            raise ConfigError(
                f"no worker of the cluster is fit for this batch:\n{listing}",
                hint="Inputs, outputs and the CRDS cache must be at the same place on all "
                "machines, and tmt-dq of the same version.",
            )
        return fit

    def room(self) -> int:
        """Return how many jobs may be with the cluster at once."""
        fit = self.usable()
        threads = [n for address, n in self._threads.items() if fit is None or address in fit]
        return max(_EACH, _EACH * sum(threads))


def _run(
    client: Any, fleet: _Fleet, task: Callable[[T], Any], jobs: Iterator[T]
) -> Iterator[tuple[T, Any]]:
    from distributed import as_completed

    running: dict[Any, T] = {}
    completed = as_completed(loop=client.loop)

    def submit(job: T) -> None:
        fit = fleet.usable()
        # A preference, not a condition: where all of these die, others come, and are asked.
        future = client.submit(
            task, job, pure=False, workers=fit, allow_other_workers=fit is not None
        )
        running[future] = job
        completed.add(future)

    try:
        exhausted = False
        while True:
            while not exhausted and len(running) < fleet.room():
                try:
                    submit(next(jobs))
                except StopIteration:
                    exhausted = True
            if not running:
                return
            # All that there are: to fetch results one by one takes longer than a small file.
            ended = completed.next_batch()
            results = _fetch(client, ended)
            for future in ended:
                job = running.pop(future)
                answer = results[future]
                if isinstance(answer, _UnfitError):
                    fleet.leave_out(*answer.args)
                    submit(job)
                else:
                    yield job, answer
    finally:
        if running:
            with contextlib.suppress(Exception):
                client.cancel(list(running), force=True)


def _fetch(client: Any, futures: list[Any]) -> dict[Any, Any]:
    """Return what became of jobs: their results, or the errors that they ended with."""
    if any(future.cancelled() for future in futures):
        raise _lost()
    answers = {future: future.exception() for future in futures}
    good = [future for future, error in answers.items() if error is None]
    answers.update(zip(good, client.gather(good), strict=True))
    for future, answer in answers.items():
        if type(answer).__name__ == "KilledWorker":
            answers[future] = WorkerError(
                f"the workers that had this file died: {answer}",
                hint="Look at the memory of the machines, or at the file on its own.",
            )
    return answers


def _lost() -> ConfigError:
    return ConfigError(
        "the scheduler is gone",
        hint="Start it again and run the same command: what is done is skipped.",
    )
