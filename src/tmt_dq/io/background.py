"""Bytes that the kernel copies while Python does something else."""

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Self

from tmt_dq.files.copying import copy_range

__all__ = ["BackgroundCopy"]

_NOW_AND_THEN = 0.1
"""Seconds between two reports of progress."""


class BackgroundCopy:
    """A range of bytes on its way from one file to another, in a thread.

    The files' descriptors are duplicated: nothing that is closed or opened elsewhere can make the
    thread write into another file.

    Parameters
    ----------
    source, target : int
        Descriptors.
    start, place : int
        Offset of the first byte in `source` and in `target`.
    size : int
        Number of bytes.
    where, writeback
        As in `tmt_dq.files.copying.copy_range`.

    Attributes
    ----------
    done : int
        Bytes that were copied so far.
    """

    def __init__(
        self,
        source: int,
        start: int,
        target: int,
        place: int,
        size: int,
        *,
        where: object,
        writeback: bool = True,
    ) -> None:
        self.start = start
        self.place = place
        self.size = size
        self._where = where
        self._writeback = writeback
        self.done = 0
        self._error: Exception | None = None
        self._unwanted = threading.Event()
        with contextlib.ExitStack() as stack:
            self._source = os.dup(source)
            stack.callback(os.close, self._source)
            self._target = os.dup(target)
            stack.callback(os.close, self._target)
            self._descriptors = stack.pop_all()
        self._thread: threading.Thread | None
        self._thread = threading.Thread(target=self._run, name="copy", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # The system gives no more threads: it takes longer, and is done when this returns.
            self._thread = None
            self._run()

    def covers(self, start: int, place: int, size: int) -> bool:
        """Whether this copy takes these bytes to that place."""
        offset = start - self.start
        return 0 <= offset <= offset + size <= self.size and place - self.place == offset

    def wait(self, told: Callable[[], None] | None = None) -> None:
        """Wait until all bytes are copied.

        Parameters
        ----------
        told : callable, optional
            Called now and then while there is something to wait for.

        Raises
        ------
        RampFormatError
            Raised if the source ended early.
        OSError
            Raised if the system refused.
        """
        while told is not None and self._thread is not None and self._thread.is_alive():
            self._thread.join(_NOW_AND_THEN)
            told()
        self._end()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Give up: when this returns, nothing more is written."""
        self._unwanted.set()
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self) -> None:
        # Garbage is collected in any thread, and given up there: in this copy's own, too.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            # Closed by whoever uses them: a wait for the thread may be interrupted.
            with self._descriptors, contextlib.suppress(_UnwantedError):
                copy_range(
                    self._source,
                    self.start,
                    self._target,
                    self.place,
                    self.size,
                    where=self._where,
                    progress=self._count,
                    writeback=self._writeback,
                )
        except Exception as error:  # noqa: BLE001 - raised where the copy is waited for
            self._error = error

    def _count(self, count: int) -> None:
        self.done += count
        if self._unwanted.is_set():
            raise _UnwantedError


class _UnwantedError(Exception):
    """Ends a copy that nobody needs any more."""
