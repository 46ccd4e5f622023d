"""Calls of Linux that Python does not have, or was built without.

The Pythons of uv and conda are built for systems of 2012 (glibc 2.17), to run everywhere: their
`os` has neither ``copy_file_range`` nor the flags of ``preadv2``, though the system that they run
on has both. Here the C library is asked directly.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Callable

__all__ = [
    "COLLAPSE_RANGE",
    "INSERT_RANGE",
    "KEEP_SIZE",
    "copy_file_range",
    "fallocate",
    "populate",
    "read_without_waiting",
    "start_writeback",
]

KEEP_SIZE, COLLAPSE_RANGE, INSERT_RANGE = 0x01, 0x08, 0x20
"""What `fallocate` does: finds room without making a file longer; takes room away, or makes it."""

_libc = ctypes.CDLL(None, use_errno=True)
_INT, _SIZE, _PLACE = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64


class _Piece(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _function(
    gives: type[ctypes.c_int | ctypes.c_ssize_t], names: str, *takes: type
) -> Callable[..., int]:
    """Return a function of the C library, the first of `names` that it has.

    It raises `OSError` as those of `os` do; with ENOSYS, if there is none.
    """
    function = None
    for name in names.split():
        function = function or getattr(_libc, name, None)
    if function is not None:
        function.restype, function.argtypes = gives, takes

    def call(*values: object) -> int:
        if function is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        answer: int = function(*values)
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer

    return call


# Where offsets have two sizes (32-bit systems), the names with 64 are those of the larger one.
_preadv2 = _function(
    *(ctypes.c_ssize_t, "preadv64v2 preadv2"),
    *(_INT, ctypes.POINTER(_Piece), _INT, _PLACE, _INT),
)
_copy_file_range = _function(
    *(ctypes.c_ssize_t, "copy_file_range"),
    *(_INT, ctypes.POINTER(_PLACE), _INT, ctypes.POINTER(_PLACE), _SIZE, ctypes.c_uint),
)
_fallocate = _function(_INT, "fallocate64 fallocate", _INT, _INT, _PLACE, _PLACE)
_sync_file_range = _function(_INT, "sync_file_range", _INT, _PLACE, _PLACE, ctypes.c_uint)
_madvise = _function(_INT, "madvise", ctypes.c_void_p, _SIZE, _INT)

_RWF_NOWAIT = 8
_SYNC_FILE_RANGE_WRITE = 2
_MADV_POPULATE_READ = 22


def read_without_waiting(fd: int, place: int) -> int:
    """Read the byte at `place` if it is in memory (Linux 4.14)."""
    byte = ctypes.create_string_buffer(1)
    piece = _Piece(ctypes.addressof(byte), 1)
    return _preadv2(fd, ctypes.byref(piece), 1, place, _RWF_NOWAIT)


def copy_file_range(source: int, start: int, target: int, place: int, size: int) -> int:
    """Copy up to `size` bytes between two files; return how many."""
    return _copy_file_range(
        source, ctypes.byref(_PLACE(start)), target, ctypes.byref(_PLACE(place)), size, 0
    )


def fallocate(fd: int, mode: int, place: int, size: int) -> None:
    """Have the file system arrange for room, without moving data."""
    _fallocate(fd, mode, place, size)


def start_writeback(fd: int, place: int, size: int) -> None:
    """Ask the system to begin writing these bytes to the disk, without waiting for it."""
    _sync_file_range(fd, place, size, _SYNC_FILE_RANGE_WRITE)


def populate(window: mmap.mmap) -> None:
    """Have all pages of a writable mapping at hand (Linux 5.14).

    `mmap.madvise` would keep all threads of Python waiting meanwhile.
    """
    address = ctypes.addressof(ctypes.c_char.from_buffer(window))
    _madvise(address, len(window), _MADV_POPULATE_READ)
