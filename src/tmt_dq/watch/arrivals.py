"""Arrivals: files that were noticed and are not complete yet, and when to look at each again."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import Wait, look

_SOONEST_S, _LATEST_S, _PART = 0.02, 0.5, 0.1
"""The next look at a file comes after a tenth of the time that it has been unchanged."""


@dataclass(slots=True)
class _Waiting:
    """File that may still change: since when it has not, when to look again, and why."""

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

    def reasons(self) -> dict[str, str]:
        """Return why files are waited for."""
        return {path: one.why for path, one in self._waiting.items()}

    def ready(self) -> Iterator[tuple[str, Identity]]:
        """Look at what is due, and yield what need not be waited for any longer."""
        start = self._clock()
        for path in [path for path, one in self._waiting.items() if one.due <= start]:
            one, now = self._waiting[path], self._clock()
            found = look(path, remote=self._remote)
            if found is None:
                del self._waiting[path]
                continue
            if found.identity != one.identity:
                one.identity, one.since = found.identity, now
            unchanged = now - one.since
            if unchanged >= self._patience_s[found.wait]:
                del self._waiting[path]
                yield path, found.identity
            else:
                one.due = now + min(max(_PART * unchanged, _SOONEST_S), _LATEST_S)
                one.why = found.why
