"""Work of a worker process of a watch."""

import contextlib
import errno
import os
from pathlib import Path
from typing import NamedTuple

from tmt_dq.batch.records import FileResult, Job
from tmt_dq.batch.settings import Settings
from tmt_dq.batch.worker import process
from tmt_dq.errors import OutputError, RampFormatError
from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import identity_of

__all__ = ["Task", "work"]

_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO),
    *(errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
"""Errors of the system that any other output would meet too."""


class Task(NamedTuple):
    """Exposure to work on, found complete at a time of the monotonic clock, and how.

    `identity` is that of its file at that time; `journal`, which names the job, is flushed to the
    disk first.
    """

    job: Job
    identity: Identity
    since: float
    settings: Settings
    journal: str | None = None


def work(task: Task) -> FileResult | None:
    """Do a task; return None if the exposure's file changed.

    Raises the `OutputError` that any other exposure would meet too.
    """
    path = task.job.input

    def check(_size: int) -> None:
        if identity_of(path) != task.identity:
            raise RampFormatError("changed while it was being read", where=path)

    if identity_of(path) != task.identity:
        return None
    if task.journal is not None:
        # Here and not where it was written: there it would hold up all that comes meanwhile.
        with contextlib.suppress(OSError), Path(task.journal).open("rb") as file:
            os.fsync(file.fileno())
    result = process(task.job, check, settings=task.settings)
    # An error may be about what somebody began to write over it, before a piece was copied.
    if result.error is not None and identity_of(path) != task.identity:
        return None
    if isinstance(result.error, OutputError):
        cause = result.error.__cause__
        of_the_disk = isinstance(cause, OSError) and cause.errno in _DISK_ERRORS
        if of_the_disk or not os.access(Path(task.job.output).parent, os.W_OK | os.X_OK):
            raise result.error
    return result
