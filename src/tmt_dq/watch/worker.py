"""Work of a worker process of a watch."""

import contextlib
import errno
import os
from pathlib import Path
from typing import NamedTuple

from tmt_dq.batch.records import FileResult, Job, Progress
from tmt_dq.batch.settings import Settings
from tmt_dq.batch.worker import process
from tmt_dq.errors import OutputError, RampFormatError
from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import identity_of

__all__ = ["Answer", "Task", "work"]

_OUTSIDE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO),
    *(errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
"""Errors of the system that would meet any other output, and may pass."""


class Task(NamedTuple):
    """Exposure to work on, by the settings of this moment.

    `identity` is its file as it was found to be complete; `journal`, which names the job, is
    flushed to the disk first.
    """

    job: Job
    settings: Settings
    identity: Identity
    journal: str | None = None


class Answer(NamedTuple):
    """Result of a task, None if the exposure's file changed; `outside`: others would fail too."""

    result: FileResult | None
    outside: bool = False


def work(task: Task, _progress: Progress | None = None) -> Answer:
    """Do a task; what goes wrong is in the answer."""
    path = task.job.input

    def check(_size: int) -> None:
        if identity_of(path) != task.identity:
            raise RampFormatError("changed while it was being read", where=path)

    if identity_of(path) != task.identity:
        return Answer(None)
    if task.journal is not None:
        # Here and not where it was written: there it would hold up all that comes meanwhile.
        with contextlib.suppress(OSError), Path(task.journal).open("rb") as file:
            os.fsync(file.fileno())
    result = process(task.job, check, settings=task.settings)
    # An error may be about what somebody began to write over it, before a piece was copied.
    if result.error is not None and identity_of(path) != task.identity:
        return Answer(None)
    return Answer(result, is_outside(result.error, task.job.output))


def is_outside(error: BaseException | None, output: str) -> bool:
    """Tell whether an error is that of the place of the outputs, and may pass."""
    if not isinstance(error, OutputError):
        return False
    cause: BaseException | None = error
    while cause is not None and type(cause).__module__ != "builtins":
        cause = cause.__cause__ or cause.__context__
    number = cause.errno if isinstance(cause, OSError) else None
    return number in _OUTSIDE or not os.access(Path(output).parent, os.W_OK | os.X_OK)
