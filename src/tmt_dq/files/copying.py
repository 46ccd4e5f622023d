"""Bytes from one file to another: blocks shared, pages written from a mapping, or a buffer."""

import contextlib
import ctypes
import fcntl
import functools
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tmt_dq.errors import RampFormatError

Progress = Callable[[int], None]
"""Called with the number of bytes written since the last call."""

_STEP = 32 * 1024 * 1024
"""Bytes after which progress is reported and the system is asked to write to the disk."""
_PIECE = 4 * 1024 * 1024
_BLOCK = 4096
"""Size, in bytes, of the blocks that file systems share between files (reflinks)."""
_FICLONERANGE = 0x4020940D
_MADV_POPULATE_READ = 22
_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1

# Python has none of these calls; the system may lack them too.
_libc = ctypes.CDLL(None, use_errno=True)
_madvise = getattr(_libc, "madvise", None)
_sync_file_range = getattr(_libc, "sync_file_range", None)
_fallocate = getattr(_libc, "fallocate", None)


@contextlib.contextmanager
def read_errors(where: object) -> Iterator[None]:
    """Raise RampFormatError that names the file where the system cannot read."""
    try:
        yield
    except OSError as error:
        raise RampFormatError(
            f"cannot be read: {error.strerror or error}",
            where=where,
            hint="Check the disk or the file server, or fetch the file again.",
        ) from error


def write_all(target: int, data: bytes | memoryview, place: int) -> None:
    """Write all of `data` at `place`; a single ``pwrite`` may write less."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(target, view, place)
        place += written
        view = view[written:]


def start_writeback(target: int, place: int, size: int) -> None:
    """Ask Linux to begin writing these bytes to the disk, so that fsync finds its work done."""
    if _sync_file_range is not None:
        offset, length = ctypes.c_int64(place), ctypes.c_int64(size)
        _sync_file_range(target, offset, length, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


def _reserve(target: int, place: int, size: int) -> None:
    """Have the file system reserve room at once, not page by page, where it can.

    Where there is no block device it gains nothing, tmpfs clears the room first, and btrfs does
    not compress what is written into it.
    """
    if _fallocate is not None and os.major(os.fstat(target).st_dev):
        offset, length = ctypes.c_int64(place), ctypes.c_int64(size)
        _fallocate(target, ctypes.c_int(_FALLOC_FL_KEEP_SIZE), offset, length)


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
    """Copy bytes between two open files; RampFormatError that names `where` if the source ends."""
    before, shared = _share(source, start, target, place, size)
    if shared and progress is not None:
        progress(shared)
    for begin, end in ((0, before), (before + shared, size)):
        _reserve(target, place + begin, end - begin)
        for first in range(begin, end, _STEP):
            count = min(_STEP, end - first)
            moved = _copy(source, start + first, target, place + first, count, where)
            if moved < count:
                raise RampFormatError(
                    f"ended {size - first - moved} bytes early while it was being read",
                    where=where,
                    hint="Something else is changing the file; try again when it is complete.",
                )
            if writeback:
                start_writeback(target, place + first, count)
            if progress is not None:
                progress(count)


def _share(source: int, start: int, target: int, place: int, size: int) -> tuple[int, int]:
    """Let both files have the same blocks on the disk; return what to copy before, and how many.

    XFS and btrfs can do so where the bytes lie alike in blocks of both files: where the headers in
    front of the data have not grown.
    """
    before = -start % _BLOCK
    shared = (size - before) // _BLOCK * _BLOCK
    if start % _BLOCK != place % _BLOCK or shared <= 0:
        return size, 0
    wanted = struct.pack("qQQQ", source, start + before, shared, place + before)
    try:
        fcntl.ioctl(target, _FICLONERANGE, wanted)
    except OSError:
        return size, 0  # copying finds out what is wrong, if anything is
    return before, shared


def _copy(source: int, start: int, target: int, place: int, size: int, where: object) -> int:
    """Copy bytes piece by piece; return how many there were."""
    done = 0
    while done < size:
        # Pieces end where large pages of the target do.
        room = min(_PIECE - (place + done) % _PIECE, size - done)
        moved = 0
        # Whatever is wrong with a mapping: reading and writing say what it is.
        with contextlib.suppress(OSError, ValueError):
            moved = _write_mapped(source, start + done, target, place + done, room)
        if moved == 0:
            with read_errors(where):
                data = os.pread(source, room, start + done)
            write_all(target, data, place + done)
            moved = len(data)
        if moved == 0:
            break
        done += moved
    return done


def _write_mapped(source: int, start: int, target: int, place: int, size: int) -> int:
    """Write pages of the source straight from memory; OSError or 0 where they are not there.

    A single copy, and the kernel gets it in pieces for which it takes large pages. Reading ahead
    is better for what is on the disk: where Python can ask, it is not mapped.
    """
    if hasattr(os, "RWF_NOWAIT"):
        os.preadv(source, [bytearray(1)], start + size - 1, os.RWF_NOWAIT)
    before = start % mmap.ALLOCATIONGRANULARITY
    # Private and writable, though it is never written to: only of such has ctypes the address.
    with mmap.mmap(
        source,
        before + size,
        flags=mmap.MAP_PRIVATE,
        prot=mmap.PROT_READ | mmap.PROT_WRITE,
        offset=start - before,
    ) as window:
        if not _populate(window):
            return 0
        # Only the kernel touches the pages: it answers EFAULT where anyone else would get SIGBUS.
        with memoryview(window) as whole, whole[before:] as wanted:
            moved = os.pwrite(target, wanted, place)
    # Behind the end of a file that has become shorter, its last page is zeros.
    return max(0, min(moved, os.fstat(source).st_size - start))


def _populate(window: mmap.mmap) -> bool:
    """Have all pages at hand (Linux 5.14); `mmap.madvise` would keep other threads waiting."""
    if _madvise is None:
        return False
    address = ctypes.addressof(ctypes.c_char.from_buffer(window))
    pages = ctypes.c_void_p(address), ctypes.c_size_t(len(window))
    return bool(_madvise(*pages, _MADV_POPULATE_READ) == 0)


class Copier:
    """Copies ranges of bytes from one file to another in a thread, in their order.

    The descriptors are those of duplicates: nothing that is closed or opened meanwhile can make
    the thread write into another file. `done` counts the bytes that were copied so far.
    """

    def __init__(self, source: int, target: int, *, where: object, writeback: bool = True) -> None:
        self.done = 0
        self._where = where
        self._writeback = writeback
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="copy")
        self._futures: list[Future[None]] = []
        self._files = os.dup(source), os.dup(target)

    def copy(self, start: int, place: int, size: int) -> None:
        """Start to copy `size` bytes from `start` to `place`."""
        try:
            self._futures.append(self._pool.submit(self._run, start, place, size))
        except RuntimeError:  # the system gives no more threads
            self._run(start, place, size)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for all copies, or some seconds; return whether they are done, raise their error."""
        pending = wait(self._futures, seconds).not_done
        for future in self._futures:
            if future not in pending:
                future.result()
        return not pending

    def stop(self) -> None:
        """End the thread, in the middle of a copy too: afterwards nothing more is written."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        for fd in self._files:
            os.close(fd)

    def _run(self, start: int, place: int, size: int) -> None:
        source, target = self._files
        copy = functools.partial(copy_range, where=self._where, writeback=self._writeback)
        with contextlib.suppress(_StoppedError):
            copy(source, start, target, place, size, progress=self._count)

    def _count(self, size: int) -> None:
        self.done += size
        if self._stopped.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """Ends a copy that nobody needs any more."""
