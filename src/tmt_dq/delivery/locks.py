"""Lock of a cache: one delivery or rollback at a time."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tmt_dq.errors import DeliveryError
from tmt_dq.files.atomic import output_errors

__all__ = ["exclusive"]

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP}


@contextlib.contextmanager
def exclusive(root: Path, *, wait_s: float) -> Iterator[None]:
    """Be the only process that changes a cache; wait for another one up to `wait_s` seconds."""
    path = root / ".tmt-dq.lock"
    # Other members of the group deliver too: the file that stays must be theirs to lock.
    lock = FileLock(path, timeout=wait_s, mode=0o666)
    with output_errors(path):
        try:
            lock.acquire()
        except Timeout:
            raise DeliveryError(
                "another delivery into this cache is under way",
                where=root,
                hint="Try again when it has ended.",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise DeliveryError(
                f"the file system has no locks here ({error.strerror}); without one, two "
                "deliveries at once would undo each other",
                where=path,
                hint="Deliver from a machine where the cache is on a local disk or on NFS 4.",
            ) from error
    try:
        yield
    finally:
        lock.release()
