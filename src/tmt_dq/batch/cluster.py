"""Mapper that does jobs on a dask.distributed cluster.

dask decides where a job runs, and runs it again where its worker dies. Added here: jobs are
submitted as threads become free, and workers must see the same files.
"""

import contextlib
import functools
import importlib.util
import itertools
import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tmt_dq import __version__
from tmt_dq.batch.journal import Journal, read_lines
from tmt_dq.batch.records import Work
from tmt_dq.batch.settings import Settings
from tmt_dq.errors import ConfigError, WorkerError
from tmt_dq.files.urls import is_url

_CONNECT_S = 30


class Shared(NamedTuple):
    """What a worker must see: the journal with its identity, files and folders; this version."""

    journal: str
    identity: str
    paths: tuple[str, ...] = ()
    version: str = __version__


@functools.lru_cache(maxsize=8)
def unfit(shared: Shared) -> str:
    """Return why this process cannot work for a batch, "" if it can. Found out once."""
    journal = Path(shared.journal)
    if shared.version != __version__:
        return f"it has tmt-dq {__version__}; expected {shared.version}"
    first: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        first = next(read_lines(journal), first)
    if first.get("folder") != shared.identity or not os.access(journal.parent, os.W_OK):
        return f"it does not see the output folder {journal.parent}, or may not write into it"
    missing = [path for path in shared.paths if not Path(path).exists()]
    return f"it does not see {', '.join(missing)}" if missing else ""


class _UnfitError(Exception):
    """Answer of a worker that cannot work for a batch."""


def _on_worker(work: Work, shared: Shared | None, job: Any) -> Any:
    """Do a job, if this worker sees what it must."""
    from distributed import get_worker

    problem = "" if shared is None else unfit(shared)
    if problem:
        where = get_worker().address
        raise _UnfitError(f"the worker {where} is not fit for this batch: {problem}")
    return work(job)


class Cluster:
    """Mapper that does jobs on a dask.distributed cluster.

    It has the `address` of the scheduler (``tcp://host:8786``), or the `scheduler_file` that the
    scheduler writes with ``--scheduler-file``. A first worker is waited for `patience_s` seconds.
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
        if importlib.util.find_spec("distributed") is None:
            hint = "Run: pip install distributed"
            raise ConfigError("dask.distributed is not installed", hint=hint)
        self._address = address
        self._file = Path(scheduler_file or "")
        self._patience_s = patience_s
        self._shared: Shared | None = None

    def share(self, journal: Journal, settings: Settings) -> None:
        """Set what workers must see: the outputs' folder, the caches, the mask and the list."""
        caches = [] if settings.embedded else [rule.cache for rule in settings.rules]
        files = [path for path in settings.files.values() if not is_url(path)]
        self._shared = Shared(str(journal.path), journal.identity, (*caches, *files))

    def __call__(self, work: Work, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Do all jobs; yield each with its result, or the error that it ended with.

        A job is taken from `jobs` when the cluster has room for it.
        """
        from distributed import as_completed

        task = functools.partial(_on_worker, work, self._shared)
        source = iter(jobs)
        running: dict[Any, Any] = {}
        with self._connected() as client:
            completed = as_completed(with_results=True, raise_errors=False, loop=client.loop)
            while True:
                # One job a thread: dask blames all jobs that a dead worker had, begun or not.
                free = max(1, sum(client.nthreads().values())) - len(running)
                for job in itertools.islice(source, max(0, free)):
                    future = client.submit(task, job, pure=False)
                    running[future] = job
                    completed.add(future)
                if not running:
                    return
                for future, result in completed.next_batch():
                    yield running.pop(future), _answer(future, result)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """Connect to the scheduler, and wait for a first worker."""
        from distributed import Client

        where = self._address or self._file
        try:
            # dask waits without end for a scheduler's file that is not there.
            address = self._address or str(json.loads(self._file.read_text("utf-8"))["address"])
            client = Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, LookupError, TypeError) as error:
            what = f"no scheduler answers ({type(error).__name__}: {error})"
            hint = "Start one (dask scheduler), or correct the address or the file."
            raise ConfigError(what, where=where, hint=hint) from error
        loop = logging.getLogger("tornado.application")
        before = loop.disabled
        try:
            client.wait_for_workers(1, timeout=self._patience_s)
            yield client
        except TimeoutError as error:
            what = f"the cluster has no worker after {self._patience_s:.0f} s"
            hint = "Start some: dask worker ADDRESS --nthreads 1"
            raise ConfigError(what, where=where, hint=hint) from error
        except BaseException:
            # dask's event loop shows, with tracebacks, what it cannot finish any more.
            loop.disabled = True
            raise
        finally:
            client.close(timeout=1)
            loop.disabled = before


def _answer(future: Any, result: Any) -> Any:
    """Return the result of a job, or the error that it ended with."""
    if future.cancelled():
        hint = "Start it again and run the same command: what is done is skipped."
        raise ConfigError("the scheduler is gone", hint=hint)
    error = result[1] if future.status == "error" else None
    if isinstance(error, _UnfitError):
        hint = "Inputs, outputs and the CRDS cache must be at the same place on all machines, and "
        raise ConfigError(str(error), hint=f"{hint}tmt-dq of the same version.")
    if type(error).__name__ == "KilledWorker":
        hint = "Look at the memory of the machines, or at the file on its own."
        return WorkerError(f"the workers that had this file died: {error}", hint=hint)
    return result if error is None else error
