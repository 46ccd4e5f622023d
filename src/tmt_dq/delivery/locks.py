"""One process at a time, by a lock on a file that is there only as long as it is needed."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tmt_dq.errors import DeliveryError
from tmt_dq.files.atomic import output_errors

__all__ = ["exclusive"]


@contextlib.contextmanager
def exclusive(path: Path, *, wait_s: float) -> Iterator[None]:
    """Be the only process that works, by a lock on a file.

    Parameters
    ----------
    path : Path
        The lock's file; made if need be, and removed at the end.
    wait_s : float
        How many seconds to wait for another process.

    Raises
    ------
    DeliveryError
        Raised if the other process took longer, or there are no locks on this file system.
    OutputError
        Raised if the file cannot be made.
    """
    fd = _locked(path, time.monotonic() + wait_s)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def _locked(path: Path, deadline: float) -> int:
    """Return the descriptor of the locked file."""
    while True:
        with output_errors(path):
            path.parent.mkdir(exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the lock removes the file: a lock on what has no name is nobody's.
            if _is_same(fd, path):
                return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise DeliveryError(
                    "another delivery into this cache is under way",
                    where=path.parent,
                    hint="Try again when it has ended.",
                ) from None
            time.sleep(0.05)
        except OSError as error:
            os.close(fd)
            raise DeliveryError(
                f"the file system has no locks here ({error.strerror}); without one, two "
                "deliveries at once would undo each other",
                where=path,
                hint="Deliver from a machine where the cache is on a local disk or on NFS 4.",
            ) from error
        os.close(fd)


def _is_same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
