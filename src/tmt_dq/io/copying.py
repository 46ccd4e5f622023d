"""Bytes from one file to another, moved by the kernel where it can."""

import ctypes
import errno
import os
import threading
from collections.abc import Callable

from tmt_dq.errors import RampFormatError

__all__ = ["Progress", "copy_range", "start_writeback", "write_all", "zero_range"]

Progress = Callable[[int], None]
"""Called with the number of bytes written since the last call."""

_STEP = 32 * 1024 * 1024
_BUFFER = 4 * 1024 * 1024
_NOT_HERE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ETXTBSY}

_position = threading.Lock()
"""Held while a file's position is relied upon: it is one for all threads."""


def _by_copy_file_range(source: int, start: int, target: int, place: int, size: int) -> int:
    return os.copy_file_range(source, target, size, start, place)


def _by_sendfile(source: int, start: int, target: int, place: int, size: int) -> int:
    with _position:
        os.lseek(target, place, os.SEEK_SET)
        return os.sendfile(target, source, start, size)


def _by_buffer(source: int, start: int, target: int, place: int, size: int) -> int:
    data = os.pread(source, min(size, _BUFFER), start)
    write_all(target, data, place)
    return len(data)


WAYS = (_by_copy_file_range, _by_sendfile, _by_buffer)
"""From the fastest to the one that always works. The first shares blocks (reflinks) where the
file system can, and stays on the server on NFS 4.2."""


def copy_range(
    source: int,
    start: int,
    target: int,
    place: int,
    size: int,
    *,
    where: object,
    progress: Progress | None = None,
    writeback: bool = True,
) -> None:
    """Copy bytes between two open files.

    Parameters
    ----------
    source, target : int
        Descriptors; their file positions are not relied upon.
    start, place : int
        Offset of the first byte in `source` and in `target`.
    size : int
        Number of bytes.
    where : object
        Named in errors: the source.
    progress : callable, optional
        Called with the number of bytes of each step.
    writeback : bool
        Whether the system is asked to begin writing to the disk at once.

    Raises
    ------
    RampFormatError
        Raised if `source` ends before `size` bytes.
    """
    ways = list(WAYS)
    done = 0
    while done < size:
        try:
            moved = ways[0](source, start + done, target, place + done, min(size - done, _STEP))
        except OSError as error:
            if error.errno in _NOT_HERE and len(ways) > 1:
                ways.pop(0)
                continue
            raise
        if moved == 0:
            # Some file systems answer 0 where they mean "not this way": ask the next one first.
            if len(ways) > 1:
                ways.pop(0)
                continue
            raise RampFormatError(
                f"ended {size - done} bytes early while it was being read",
                where=where,
                hint="Something else is changing the file; try again when it is complete.",
            )
        if writeback:
            start_writeback(target, place + done, moved)
        done += moved
        if progress is not None:
            progress(moved)


def write_all(target: int, data: bytes | memoryview, place: int) -> None:
    """Write all of `data` at `place`; a single ``pwrite`` may write less."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(target, view, place)
        place += written
        view = view[written:]


def zero_range(target: int, place: int, size: int) -> None:
    """Let the file read as zeros for `size` bytes from `place`, its end, without storing them."""
    os.ftruncate(target, place + size)


def _load_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    function.restype = ctypes.c_int
    return function


_sync_file_range = _load_sync_file_range()
_SYNC_FILE_RANGE_WRITE = 2


def start_writeback(target: int, place: int, size: int) -> None:
    """Ask the system to begin writing these bytes to the disk, without waiting for it.

    The final fsync then finds most of its work done. A hint only: where it is not available
    nothing is lost, so its result does not matter.
    """
    if _sync_file_range is not None:
        _sync_file_range(target, place, size, _SYNC_FILE_RANGE_WRITE)
