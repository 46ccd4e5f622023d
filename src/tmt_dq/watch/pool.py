"""Worker processes that are there before there is work for them."""

import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from tmt_dq.batch.processes import Lane, Ticket, cannot_start, ctrl_c_waits, died, stop_lanes

__all__ = ["Pool"]

T = TypeVar("T")

_ATTEMPTS = 2
_STARTS = 3
_RESTART_S = 1.0


class Pool(Generic[T]):
    """Processes of this machine, each with a connection of its own.

    `tmt_dq.batch.Processes` takes jobs when workers are free, and so has to know that there is
    another job before it can say what became of the last one. Here jobs are handed over when they
    come.

    Parameters
    ----------
    count : int
        Number of processes.
    work : callable
        Does a job; must be picklable.
    first : callable
        Makes the job that each process gets first, to get ready; its answer is passed over.
    """

    def __init__(self, count: int, work: Callable[[T], Any], first: Callable[[], T]) -> None:
        self._count = count
        self._work = work
        self._first = first
        self._lanes: list[Lane[T]] = []
        self._getting_ready: set[Lane[T]] = set()
        self._again: list[Ticket[T]] = []
        self._failed_starts = 0
        self._start_after = 0.0
        self.deaths = 0

    def fill(self) -> None:
        """Start the workers that are missing."""
        if time.monotonic() < self._start_after:
            return
        while len(self._lanes) < self._count:
            with ctrl_c_waits():
                self._lanes.append(Lane(self._work))

    @property
    def free(self) -> int:
        """Number of jobs that can be handed over now."""
        return max(0, sum(self._is_free(lane) for lane in self._lanes) - len(self._again))

    @property
    def busy(self) -> list[T]:
        """The jobs that are being done, or wait to be done again."""
        lanes = [lane for lane in self._lanes if lane not in self._getting_ready]
        return [lane.job.content for lane in lanes if lane.job is not None] + [
            ticket.content for ticket in self._again
        ]

    @property
    def ready_count(self) -> int:
        """Number of workers that have something to do or could begin at once."""
        return sum(lane.ready and lane not in self._getting_ready for lane in self._lanes)

    @property
    def connections(self) -> list[Connection]:
        """What becomes readable when a worker has something to say."""
        return [lane.connection for lane in self._lanes]

    def give(self, job: T) -> None:
        """Hand over a job; there must be a free worker."""
        self._hand_over(Ticket(job))

    def collect(self, readable: Iterable[object]) -> list[tuple[T, Any]]:
        """Take what workers say.

        Parameters
        ----------
        readable : iterable
            Those of `connections` that can be read.

        Returns
        -------
        list of tuple
            Jobs, and their answers or the error that they ended with. A job whose worker dies is
            done again once.

        Raises
        ------
        ConfigError
            Raised if workers cannot start.
        """
        speaking = {id(one) for one in readable}
        answers: list[tuple[T, Any]] = []
        for lane in [lane for lane in self._lanes if id(lane.connection) in speaking]:
            try:
                answer = lane.receive()
            except (EOFError, OSError):
                answers += self._bury(lane)
                continue
            if answer is None:
                self._getting_ready.add(lane)
                lane.give(Ticket(self._first()))
            elif lane in self._getting_ready:
                self._getting_ready.discard(lane)
                self._failed_starts = 0
            else:
                answers.append(answer)
        while self._again and any(map(self._is_free, self._lanes)):
            self._hand_over(self._again.pop(0))
        return answers

    def stop(self, *, at_once: bool) -> None:
        """End the workers; what is at work at once is rolled back."""
        stop_lanes(self._lanes, at_once=at_once)
        self._lanes = []

    def _is_free(self, lane: Lane[T]) -> bool:
        return lane.ready and lane.job is None

    def _hand_over(self, ticket: Ticket[T]) -> None:
        next(lane for lane in self._lanes if self._is_free(lane)).give(ticket)

    def _bury(self, lane: Lane[T]) -> list[tuple[T, Any]]:
        """Take leave of a dead worker; return its job if it had its chances."""
        self._lanes.remove(lane)
        what = lane.epitaph()
        self.deaths += 1
        ticket = lane.job
        if not lane.ready or lane in self._getting_ready:
            self._getting_ready.discard(lane)
            self._failed_starts += 1
            self._start_after = time.monotonic() + _RESTART_S * self._failed_starts
            if self._failed_starts >= _STARTS:
                raise cannot_start(what)
            return []
        if ticket is None:
            return []
        ticket.deaths += 1
        if ticket.deaths >= _ATTEMPTS:
            return [(ticket.content, died(what))]
        self._again.append(ticket)
        return []
