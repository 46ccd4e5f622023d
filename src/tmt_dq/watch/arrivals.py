"""Files that were noticed and are not complete yet, and when to look at each again."""

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tmt_dq.watch.completeness import Identity, Look, Patience, identity_of, look, wait_for

__all__ = ["Arrival", "Arrivals"]

_SOONEST_S = 0.02
_LATEST_S = 0.5
_PART = 0.1
"""The next look at a file comes after this part of the time that it has been unchanged."""
_SCAN_EVERY_S = 0.25
_TINY_S = 0.001


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that is complete, or has been waited for long enough.

    Parameters
    ----------
    path : str
        The file.
    identity : Identity
        The file as it was seen.
    live : bool
        Whether it was noticed when it came, not found when the folder was searched.
    at : float
        When it was found to be complete, by the monotonic clock.
    """

    path: str
    identity: Identity
    live: bool
    at: float


@dataclass(slots=True)
class _Candidate:
    """A file that may still change."""

    live: bool
    since: float
    due: float
    identity: Identity | None = None
    seen: Look | None = None
    scanned: float = 0.0
    why: str = ""


class Arrivals:
    """Files that were noticed, until they are complete.

    Parameters
    ----------
    patience : Patience
        How long to wait for what is not certain.
    remote : bool
        Whether other machines write to the files.
    clock : callable
        The time in seconds, which never goes back.
    """

    def __init__(
        self, patience: Patience, *, remote: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._remote = remote
        self._clock = clock
        self._candidates: dict[str, _Candidate] = {}
        self._order: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._candidates)

    def notice(self, path: str, *, live: bool) -> None:
        """Take note of a file that came or changed."""
        now = self._clock()
        candidate = self._candidates.get(path)
        if candidate is None:
            candidate = self._candidates[path] = _Candidate(live, now, now)
        elif candidate.due <= now + _SOONEST_S:
            return
        # A file that changes all the time is not looked at all the time.
        self._schedule(path, candidate, max(now, candidate.scanned + _SOONEST_S))

    def waiting(self) -> Iterator[tuple[str, str]]:
        """Yield the files that are waited for, and why."""
        for path, candidate in self._candidates.items():
            yield path, candidate.why

    def next_due(self) -> float | None:
        """Return when to look again; None if there is nothing to look at."""
        self._forget_outdated()
        return self._order[0][0] if self._order else None

    def ready(self) -> Iterator[Arrival]:
        """Look at what is due, and yield what need not be waited for any longer."""
        now = self._clock()
        while True:
            self._forget_outdated()
            if not self._order or self._order[0][0] > now:
                return
            _, path = heapq.heappop(self._order)
            candidate = self._candidates[path]
            if self._examine(path, candidate):
                del self._candidates[path]
                assert candidate.identity is not None
                yield Arrival(path, candidate.identity, candidate.live, self._clock())

    def _schedule(self, path: str, candidate: _Candidate, due: float) -> None:
        candidate.due = due
        heapq.heappush(self._order, (due, path))

    def _forget_outdated(self) -> None:
        """Drop entries of the order that are no candidate's time any more."""
        while self._order:
            due, path = self._order[0]
            candidate = self._candidates.get(path)
            if candidate is not None and candidate.due == due:
                return
            heapq.heappop(self._order)

    def _examine(self, path: str, candidate: _Candidate) -> bool:
        """Look at a file; tell whether it is to be taken. Plan the next look if not."""
        now = self._clock()
        if not self._worth_reading(path, candidate, now):
            identity = identity_of(path)
        else:
            try:
                seen = look(path, remote=self._remote)
            except OSError as error:
                # Whoever works on it will say what is wrong, if it stays so.
                candidate.seen, candidate.why = None, f"it cannot be read ({error.strerror})"
                identity = identity_of(path)
            else:
                candidate.scanned = now
                candidate.seen = seen
                identity = identity_of(path) if seen is None else seen.identity
        if identity is None:
            del self._candidates[path]
            return False
        if identity != candidate.identity:
            candidate.identity, candidate.since = identity, now
        patience, unchanged = self._patience.settle_s, now - candidate.since
        if candidate.seen is not None:
            patience, candidate.why = wait_for(candidate.seen, self._patience)
            if candidate.seen.identity != identity:
                # Only its length was asked for: it has grown, and is not long enough.
                patience = max(patience, _SCAN_EVERY_S)
        if unchanged >= patience:
            return True
        pause = min(max(_PART * unchanged, _SOONEST_S), _LATEST_S, patience - unchanged + _TINY_S)
        self._schedule(path, candidate, now + pause)
        return False

    def _worth_reading(self, path: str, candidate: _Candidate, now: float) -> bool:
        """Tell whether the file itself must be looked at, or its length is enough."""
        seen = candidate.seen
        # Elsewhere, only who opens a file gets to know how it is now.
        if seen is None or self._remote or seen.structure.kind not in {"partial", "empty"}:
            return True
        identity = identity_of(path)
        if identity is None or identity == seen.identity:
            return False
        # A header may be written again, and announce less.
        return identity.size >= seen.structure.needs or now - candidate.scanned >= _SCAN_EVERY_S
