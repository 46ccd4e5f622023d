"""Lock of a cache: one delivery or rollback at a time."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tmt_dq.errors import DeliveryError
from tmt_dq.files.atomic import output_errors

__all__ = ["exclusive"]

_NAME = ".tmt-dq.lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextlib.contextmanager
def exclusive(root: Path, *, wait_s: float) -> Iterator[None]:
    """Be the only process that changes a cache; wait for another one up to `wait_s` seconds."""
    # Other members of the group deliver too: the file that stays must be theirs to lock.
    lock = FileLock(root / _NAME, timeout=wait_s, mode=0o666)
    try:
        with output_errors(lock_path := root / _NAME):
            _acquire(lock, lock_path)
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        lock.acquire()
    except Timeout:
        raise DeliveryError(
            "another delivery into this cache is under way",
            where=path.parent,
            hint="Try again when it has ended.",
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise DeliveryError(
            f"the file system cannot lock this file ({error}); without a lock, two deliveries at "
            "once would undo each other",
            where=path,
            hint="Deliver from a machine where the cache is on a local disk or on NFS 4.",
        ) from error
