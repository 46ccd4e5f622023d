"""Arrivals: files that were noticed and are not complete yet, and when to look at each again."""

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
    """File that is complete, or has been waited for long enough.

    `live` tells that it was noticed when it came, not found when the folder was searched first;
    `at` is when it was found to be complete, by the monotonic clock.
    """

    path: str
    identity: Identity
    live: bool
    at: float


@dataclass(slots=True)
class _Candidate:
    """File that may still change."""

    live: bool
    since: float
    due: float
    identity: Identity | None = None
    seen: Look | None = None
    scanned: float = 0.0
    why: str = ""


class Arrivals:
    """Files that were noticed, until they are complete.

    `remote` tells that other machines write to the files; `clock` never goes back.
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
        """Add a file that came or changed."""
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
        while self._order:
            due, path = self._order[0]
            candidate = self._candidates.get(path)
            if candidate is not None and candidate.due == due:
                return due
            heapq.heappop(self._order)  # it was scheduled anew, or is gone
        return None

    def ready(self) -> Iterator[Arrival]:
        """Look at what is due, and yield what need not be waited for any longer."""
        now = self._clock()
        while (due := self.next_due()) is not None and due <= now:
            _, path = heapq.heappop(self._order)
            candidate = self._candidates[path]
            if self._is_complete(path, candidate):
                del self._candidates[path]
                assert candidate.identity is not None
                yield Arrival(path, candidate.identity, candidate.live, self._clock())

    def _schedule(self, path: str, candidate: _Candidate, due: float) -> None:
        candidate.due = due
        heapq.heappush(self._order, (due, path))

    def _is_complete(self, path: str, candidate: _Candidate) -> bool:
        """Look at a file; tell whether it is to be taken. Schedule the next look if not."""
        now = self._clock()
        identity = self._look(path, candidate, now)
        if identity is None:
            del self._candidates[path]
            return False
        if identity != candidate.identity:
            candidate.identity, candidate.since = identity, now
        patience, unchanged = self._patience.settle_s, now - candidate.since
        if candidate.seen is not None:
            patience, candidate.why = wait_for(candidate.seen, self._patience)
            if candidate.seen.identity != identity:
                # It has grown, and is not long enough to be read again.
                patience = max(patience, _SCAN_EVERY_S)
        if unchanged >= patience:
            return True
        pause = min(max(_PART * unchanged, _SOONEST_S), _LATEST_S, patience - unchanged + _TINY_S)
        self._schedule(path, candidate, now + pause)
        return False

    def _look(self, path: str, candidate: _Candidate, now: float) -> Identity | None:
        """Return the identity of a file; read its headers where they may be new."""
        if not self._worth_reading(path, candidate, now):
            return identity_of(path)
        try:
            candidate.seen = look(path, remote=self._remote)
        except OSError as error:
            # The worker reports what is wrong, if it stays so.
            candidate.seen, candidate.why = None, f"it cannot be read ({error.strerror})"
            return identity_of(path)
        candidate.scanned = now
        return identity_of(path) if candidate.seen is None else candidate.seen.identity

    def _worth_reading(self, path: str, candidate: _Candidate, now: float) -> bool:
        seen = candidate.seen
        # On a network file system, only opening a file shows its present state.
        if seen is None or self._remote or seen.structure.kind not in {"partial", "empty"}:
            return True
        identity = identity_of(path)
        if identity is None or identity == seen.identity:
            return False
        # A header may be written again, and announce less.
        return identity.size >= seen.structure.needs or now - candidate.scanned >= _SCAN_EVERY_S
