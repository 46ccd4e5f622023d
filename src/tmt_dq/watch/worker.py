"""Work of a worker process of a watch."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.apply.options import NOT_APPLICABLE
from tmt_dq.batch.records import FileResult, Job, Progress, Settings
from tmt_dq.batch.worker import process
from tmt_dq.errors import RampFormatError, TmtDqError
from tmt_dq.watch.completeness import Identity, identity_of

__all__ = ["Answer", "Task", "prepare", "work"]


@dataclass(frozen=True, slots=True)
class Task:
    """Exposure to work on, by the settings of this moment.

    `identity` is its file as it was found to be complete; `journal`, which names the job, is
    flushed to the disk first.
    """

    job: Job
    settings: Settings
    identity: Identity
    journal: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a task; None if the exposure's file changed meanwhile.

    `errno` is the system's number of the error, where it was one of the system's.
    """

    result: FileResult | None
    errno: int | None = None


class _Guard:
    """Check for every piece that is copied whether the file is still the same."""

    def __init__(self, path: str, identity: Identity) -> None:
        self._path = path
        self._identity = identity
        self.changed = False

    def check(self) -> bool:
        """Look at the file; return whether it is another one since the task was made."""
        self.changed |= identity_of(self._path) != self._identity
        return self.changed

    def __call__(self, _size: int) -> None:
        if self.check():
            raise RampFormatError("changed while it was being read", where=self._path)


def work(task: Task, _progress: Progress | None = None) -> Answer:
    """Do a task; what goes wrong is in the answer."""
    guard = _Guard(task.job.input, task.identity)
    if guard.check():
        return Answer(None)
    if task.journal is not None:
        # Here and not where it was written: there it would hold up all that comes meanwhile.
        with contextlib.suppress(OSError), Path(task.journal).open("rb") as file:
            os.fsync(file.fileno())
    result = process(task.job, guard, settings=task.settings)
    # An error may be about what somebody began to write over it, before a piece was copied.
    if guard.changed or (result.error is not None and guard.check()):
        return Answer(None)
    return Answer(result, _errno(result.error))


def _errno(error: BaseException | None) -> int | None:
    """Return the number of the system's error below one of ours, which does not cross processes."""
    while error is not None:
        if type(error).__module__ == "builtins" and isinstance(error, OSError):
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def prepare(settings: Settings) -> None:
    """Load what the first exposure needs: the code, and a mask that is always the same."""
    # It goes to all processes where a terminal closes; for the watch it means something.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What fails here fails again with the first exposure, which then reports it.
    with contextlib.suppress(TmtDqError, OSError):
        from tmt_dq.apply.apply import apply_dq  # noqa: F401 - it is loaded
        from tmt_dq.masks.mask import read_mask
        from tmt_dq.references.adapter import import_crds

        mask = settings.options.mask
        if mask is None:
            import_crds()
        elif str(mask).strip().upper() != NOT_APPLICABLE:
            read_mask(Path(str(mask)), unknown=settings.options.unknown)
