"""Work of a worker process of a watch."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from tmt_dq.batch.records import FileResult, Job
from tmt_dq.batch.settings import Settings
from tmt_dq.batch.worker import process
from tmt_dq.errors import OutputError
from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import identity_of

_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ENXIO),
    *(errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ETIMEDOUT),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
"""Errors of the system that any other output would meet too."""


class Task(NamedTuple):
    """Exposure to work on, and how; its file was complete at a time of the monotonic clock."""

    job: Job
    identity: Identity
    since: float
    settings: Settings


def work(task: Task) -> FileResult | None:
    """Do a task; return None if the exposure's file changed.

    Raises the `OutputError` that any other exposure would meet too.
    """
    path = task.job.input
    if identity_of(path) != task.identity:
        return None
    result = process(task.job, settings=task.settings)
    # The error may be that it changed, or about what somebody began to write over it.
    if result.error is not None and identity_of(path) != task.identity:
        return None
    if isinstance(result.error, OutputError):
        cause = result.error.__cause__
        of_the_disk = isinstance(cause, OSError) and cause.errno in _DISK_ERRORS
        if of_the_disk or not os.access(Path(task.job.output).parent, os.W_OK | os.X_OK):
            raise result.error
    return result
