"""Arrivals: files that were noticed and are not complete yet, and when to look at each again."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import Wait, look

__all__ = ["Arrivals"]

_SOONEST_S, _LATEST_S, _PART = 0.05, 0.5, 0.1
"""The next look at a file comes after a tenth of the time that it has been unchanged."""
_TINY_S = 0.001


@dataclass(slots=True)
class _Waiting:
    """File that may still change: since when it has not, and when to look again."""

    since: float
    due: float
    identity: Identity | None = None
    why: str = ""


class Arrivals:
    """Files that were noticed, until they are complete or have been waited for long enough.

    `patience_s` has the seconds of each way to wait; `remote` tells that other machines write to
    the files; `clock` never goes back.
    """

    def __init__(
        self,
        patience_s: Mapping[Wait, float],
        *,
        remote: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s = patience_s
        self._remote = remote
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def notice(self, path: str) -> None:
        """Add a file that came or changed."""
        now = self._clock()
        waiting = self._waiting.setdefault(path, _Waiting(now, now))
        waiting.due = min(waiting.due, now + _SOONEST_S)

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Yield the files that are waited for, and why."""
        for path, one in self._waiting.items():
            yield path, one.why

    def next_due(self) -> float | None:
        """Return when to look again; None if there is nothing to look at."""
        return min((one.due for one in self._waiting.values()), default=None)

    def ready(self) -> Iterator[tuple[str, Identity]]:
        """Look at what is due, and yield what need not be waited for any longer."""
        now = self._clock()
        for path in [path for path, one in self._waiting.items() if one.due <= now]:
            identity = self._examine(path, self._waiting[path])
            if identity is not None:
                del self._waiting[path]
                yield path, identity

    def _examine(self, path: str, one: _Waiting) -> Identity | None:
        """Look at a file; return what it is if it is to be taken, else plan the next look."""
        now, found = self._clock(), look(path, remote=self._remote)
        if found is None:
            del self._waiting[path]
            return None
        if found.identity != one.identity:
            one.identity, one.since = found.identity, now
        unchanged, patience = now - one.since, self._patience_s[found.wait]
        if unchanged >= patience:
            return found.identity
        pause = min(max(_PART * unchanged, _SOONEST_S), _LATEST_S, patience - unchanged + _TINY_S)
        one.due, one.why = now + pause, found.why
        return None
