"""Files of JSON lines that can be read while they grow, and survive being cut short."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tmt_dq.errors import OutputError
from tmt_dq.files.atomic import output_errors

__all__ = ["JsonLines", "read_lines"]

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read the records of a file, which need not exist; skip lines that are not whole records."""
    with output_errors(path), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut short by whatever ended the process that wrote it, or damaged
            if isinstance(record, dict):
                yield record


class JsonLines:
    """File that records are added to, each with a single write of whole lines.

    With `lock`, no other process may add to it meanwhile. `OutputError` is raised if the file
    cannot be written, holds something else, or is locked by another process.
    """

    def __init__(self, path: Path, *, lock: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        with output_errors(path):
            self._fd = os.open(path, flags, 0o666)
        try:
            self._check(lock=lock)
        except BaseException:
            self.close()
            raise

    def _check(self, *, lock: bool) -> None:
        with output_errors(self.path):
            if lock:
                self._lock()
            size = os.fstat(self._fd).st_size
            start = os.pread(self._fd, 1, 0) if size else b"{"
            # A line that was cut short stays alone.
            self._torn = bool(size) and os.pread(self._fd, 1, size - 1) != b"\n"
        if start != b"{":
            raise OutputError(
                "already exists and does not hold JSON lines; it is left alone",
                where=self.path,
                hint="Name another file.",
            )

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                "another batch or watch is at work in this folder",
                where=self.path.parent,
                hint="Wait until it ends, or name another --output-dir.",
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def append(self, *records: Mapping[str, Any], sync: bool = False) -> None:
        """Add records, all of them or none; with `sync` wait until the disk has them."""
        text = "".join(
            json.dumps(r, ensure_ascii=True, separators=(",", ":")) + "\n" for r in records
        )
        data = (b"\n" if self._torn else b"") + text.encode("ascii")
        with output_errors(self.path):
            size = os.fstat(self._fd).st_size
            try:
                written = os.write(self._fd, data)
            except OSError:
                self._cut(size)
                raise
        if written < len(data):
            self._cut(size)
            raise OutputError("the disk is full", where=self.path, hint="Free some space.")
        with output_errors(self.path):
            if sync:
                os.fsync(self._fd)
        self._torn = False

    def _cut(self, size: int) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, size)

    def close(self) -> None:
        """Close the file, which also releases the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
