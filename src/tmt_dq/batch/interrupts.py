"""Interrupts (Ctrl-C) that have to wait for the end of a step."""

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["sigint_held"]


@contextlib.contextmanager
def sigint_held() -> Iterator[None]:
    """Hold SIGINT back until this is over, also in processes that are started meanwhile."""
    noticed: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    # Handlers run in the main thread only. One that is not Python's could not be put back.
    ours = threading.current_thread() is threading.main_thread() and handler is not None
    # The mask is for the child, which inherits it. Here another thread (NumPy has some) may take
    # the signal all the same, so that Python's own handler has to wait too.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if ours:
        signal.signal(signal.SIGINT, lambda number, _: noticed.append(number))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if ours:
            signal.signal(signal.SIGINT, handler)
            if noticed:
                signal.raise_signal(signal.SIGINT)
