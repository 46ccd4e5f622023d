"""How many bytes the job at hand has written, told to whoever asked for it."""

import time
from collections.abc import Callable

__all__ = ["Meter", "count_with", "meter"]

_EVERY_S = 0.5

Sink = Callable[[int], None]

_sink: Sink | None = None


def count_with(sink: Sink | None) -> None:
    """Choose what is told of the bytes that jobs of this process write from now on.

    Parameters
    ----------
    sink : callable or None
        Called with the number of bytes since the last call; may raise to end the job. None for
        nobody.
    """
    global _sink  # noqa: PLW0603 - one process does one job at a time
    _sink = sink


def meter() -> Sink | None:
    """Return what a job is to call with the bytes that it writes; None where nobody asked."""
    return _sink


class Meter:
    """Adds up bytes, and tells of them now and then.

    Parameters
    ----------
    tell : callable
        Called with a sum of bytes, at most twice a second.
    """

    def __init__(self, tell: Sink) -> None:
        self._tell = tell
        self._sum = 0
        self._told = time.monotonic()

    def __call__(self, size: int) -> None:
        """Count bytes."""
        self._sum += size
        now = time.monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            self._tell(self._sum)
            self._sum = 0
