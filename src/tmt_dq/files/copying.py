"""Bytes from one file to another, moved by the kernel where it can."""

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tmt_dq.errors import RampFormatError
from tmt_dq.files import syscalls

__all__ = ["Copier", "Progress", "copy_range", "read_errors", "start_writeback", "write_all"]

Progress = Callable[[int], None]
"""Called with the number of bytes written since the last call."""

_STEP = 32 * 1024 * 1024
_WINDOW = 4 * 1024 * 1024
_BUFFER = 4 * 1024 * 1024
_BLOCK = 4096
"""Size, in bytes, of the blocks that file systems share between files (reflinks)."""
_WORTH_RESERVING = 1024 * 1024
_WORTH_A_THREAD = 8 * 1024 * 1024
_FICLONERANGE = 0x4020940D
_NOT_HERE = {
    *(errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ETXTBSY),
    # Of a mapping: no memory or descriptor for it, none in this file system, or the file ends or
    # cannot be read there; the other ways say which.
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.EACCES, errno.EFAULT),
    errno.EIO,  # of either file: the other ways say which
}

Way = Callable[[int, int, int, int, int], int]
"""Copies some bytes: source, start, target, place and at most how many; returns how many."""


def _by_mapping(source: int, start: int, target: int, place: int, size: int) -> int:
    """Write pages of the source that are in memory, straight from there.

    A single copy, and the kernel gets it in pieces for which it takes large pages;
    ``copy_file_range`` moves the same bytes page by page through a pipe. `BlockingIOError` says
    that they are not in memory: then nothing is gained, and the kernel's own reading ahead is
    better.
    """
    for offset in (start, start + size - 1):
        # File systems that are elsewhere do not answer such questions, and copy by themselves.
        if syscalls.read_without_waiting(source, offset) == 0:
            raise BlockingIOError(errno.EAGAIN, "the file ends here")
    done = 0
    while done < size:
        # Windows end where large pages of the target do.
        room = min(_WINDOW - (place + done) % _WINDOW, size - done)
        try:
            done += _write_window(source, start + done, target, place + done, room)
        except ValueError:
            return done  # Python's word for a file that has become shorter
        except OSError:
            if done:
                return done  # what is wrong, the next call meets first
            raise
    return done


def _write_window(source: int, start: int, target: int, place: int, size: int) -> int:
    before = start % mmap.ALLOCATIONGRANULARITY
    # Private and writable, though it is never written to: only of such has ctypes the address.
    with mmap.mmap(
        source,
        before + size,
        flags=mmap.MAP_PRIVATE,
        prot=mmap.PROT_READ | mmap.PROT_WRITE,
        offset=start - before,
    ) as window:
        try:
            syscalls.populate(window)
        except OSError as error:
            # Not here, or not of this file: the other ways say what is wrong, if anything.
            raise OSError(errno.EOPNOTSUPP, "pages cannot be populated") from error
        # Only the kernel touches the pages: it answers EFAULT where anyone else would get SIGBUS.
        with memoryview(window) as whole, whole[before:] as wanted:
            moved = os.pwrite(target, wanted, place)
    # Behind the end of a file that has become shorter, its last page is zeros.
    return max(0, min(moved, os.fstat(source).st_size - start))


def _by_copy_file_range(source: int, start: int, target: int, place: int, size: int) -> int:
    return syscalls.copy_file_range(source, start, target, place, size)


def _by_buffer(source: int, start: int, target: int, place: int, size: int) -> int:
    try:
        data = os.pread(source, min(size, _BUFFER), start)
    except OSError as error:
        raise _UnreadableError(error.errno, error.strerror) from error
    write_all(target, data, place)
    return len(data)


WAYS: tuple[Way, ...] = (_by_mapping, _by_copy_file_range, _by_buffer)
"""From the fastest to the one that always works. The first is for what is in memory; the second
stays on the server on NFS 4.2."""


class _UnreadableError(OSError):
    """The source, not the target, is what the system has trouble with."""


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


class Copier:
    """Copies ranges of bytes from one file to another, large ones in one thread, in their order.

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
        self._descriptors = contextlib.ExitStack()
        self._files = tuple(self._duplicate(fd) for fd in (source, target))

    def copy(self, start: int, place: int, size: int) -> None:
        """Copy `size` bytes from `start` to `place`, or start to."""
        if size >= _WORTH_A_THREAD:
            try:
                self._futures.append(self._pool.submit(self._run, start, place, size))
            except RuntimeError:
                pass  # the system gives no more threads
            else:
                return
        self._run(start, place, size)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for all copies, or some seconds; return whether they are done.

        RampFormatError if the source ended early, OSError if the system refused.
        """
        pending = wait(self._futures, seconds).not_done
        for future in self._futures:
            if future not in pending:
                future.result()
        return not pending

    def stop(self) -> None:
        """End the thread, in the middle of a copy too: afterwards nothing more is written."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        self._descriptors.close()

    def _duplicate(self, fd: int) -> int:
        duplicate = os.dup(fd)
        self._descriptors.callback(os.close, duplicate)
        return duplicate

    def _run(self, start: int, place: int, size: int) -> None:
        source, target = self._files
        with contextlib.suppress(_StoppedError):
            copy_range(
                source,
                start,
                target,
                place,
                size,
                where=self._where,
                progress=self._count,
                writeback=self._writeback,
            )

    def _count(self, size: int) -> None:
        self.done += size
        if self._stopped.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """Ends a copy that nobody needs any more."""


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
    """Copy bytes between two open files; RampFormatError that names `where` if the source ends.

    `progress` gets the number of bytes of each step. With `writeback` the system is asked to begin
    writing to the disk at once.
    """
    before, shared = _share(source, start, target, place, size)
    if shared and progress is not None:
        progress(shared)
    if not shared:
        before = size
        _reserve(target, place, size)
    ways = list(WAYS)
    for begin, end in ((0, before), (before + shared, size)):
        done = begin
        while done < end:
            room = min(end - done, _STEP)
            try:
                moved = _move(ways, source, start + done, target, place + done, room)
            except _UnreadableError as error:
                with read_errors(where):
                    raise error from None
            if moved == 0:
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


def _share(source: int, start: int, target: int, place: int, size: int) -> tuple[int, int]:
    """Let both files have the same blocks on the disk, where the file system can.

    It can where the bytes lie alike in blocks of both files: where the headers in front of the
    data have not grown.
    """
    before = -start % _BLOCK
    shared = (size - before) // _BLOCK * _BLOCK
    if start % _BLOCK != place % _BLOCK or shared <= 0:
        return size, 0
    wanted = struct.pack("qQQQ", source, start + before, shared, place + before)
    try:
        fcntl.ioctl(target, _FICLONERANGE, wanted)
    except OSError:
        return size, 0  # not here, or not these: copying finds out what is wrong, if anything is
    return before, shared


def _reserve(target: int, place: int, size: int) -> None:
    """Have the file system find room for bytes at once, instead of block by block.

    A hint only: where it is not available, or the disk is full, writing shows that. File systems
    without a block device of their own gain nothing; btrfs would not compress what is written
    into reserved room, tmpfs would clear it first.
    """
    has_device = os.major(os.fstat(target).st_dev) != 0
    if has_device and size >= _WORTH_RESERVING:
        with contextlib.suppress(OSError):
            syscalls.fallocate(target, syscalls.KEEP_SIZE, place, size)


def _move(ways: list[Way], source: int, start: int, target: int, place: int, size: int) -> int:
    """Copy some bytes by the first way that is open; forget those that are not."""
    for way in tuple(ways):
        try:
            moved = way(source, start, target, place, size)
        except BlockingIOError:
            if way is ways[-1]:
                raise
            continue  # closed for these bytes alone
        except OSError as error:
            if error.errno not in _NOT_HERE or way is ways[-1]:
                raise
        else:
            # Some file systems answer 0 where they mean "not this way": ask the next one first.
            if moved or way is ways[-1]:
                return moved
        ways.remove(way)
    return 0


def write_all(target: int, data: bytes | memoryview, place: int) -> None:
    """Write all of `data` at `place`; a single ``pwrite`` may write less."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        written = os.pwrite(target, view, place)
        place += written
        view = view[written:]


def start_writeback(target: int, place: int, size: int) -> None:
    """Ask the system to begin writing these bytes to the disk, without waiting for it.

    The final fsync then finds most of its work done. A hint only: where it is not available
    nothing is lost.
    """
    with contextlib.suppress(OSError):
        syscalls.start_writeback(target, place, size)
