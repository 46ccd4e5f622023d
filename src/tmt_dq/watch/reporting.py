"""What a watch says: log lines, heartbeat, metrics, systemd."""

import itertools
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmt_dq.batch.records import FileResult
from tmt_dq.errors import TmtDqError
from tmt_dq.watch.arrivals import Arrival
from tmt_dq.watch.aside import LIST_NAME, explained
from tmt_dq.watch.ledger import Decision
from tmt_dq.watch.status import Counts, Endpoint, write_heartbeat
from tmt_dq.watch.systemd import tell

if TYPE_CHECKING:
    from tmt_dq.watch.service import Service

__all__ = ["Reporting"]

log = logging.getLogger(__name__)

_BEAT_S = 5.0
_NAMED = 20
"""Files that the heartbeat names of each kind."""


class Reporting:
    """Counts what happens, and tells it.

    Parameters
    ----------
    service : Service
        The watch.
    """

    def __init__(self, service: "Service") -> None:
        self._service = service
        self.counts = Counts()
        self._state = "starting"
        self._outdated: set[str] = set()
        self._started = time.time()
        self._last: dict[str, Any] | None = None
        self._beat_due = 0.0
        self._shown = ""
        self._said_ready = False
        self._write_troubles: set[str] = set()
        address = service.options.prometheus
        self._endpoint = None if address is None else Endpoint(address)

    def start(self) -> None:
        """Say that it begins."""
        options = self._service.options
        how = "the kernel tells what arrives" if options.events else ""
        if not options.events and not options.once:
            how = f"searching every {options.search_s:g} s"
        log.info(
            "watching %s, outputs go to %s%s",
            options.folder,
            options.output_dir,
            how and f" ({how})",
        )
        if self._endpoint is not None:
            log.info("metrics are at %s", self._endpoint.url)
        self.tick()

    def stopping(self) -> None:
        """Say that it ends."""
        self._state = "stopping"
        tell("STOPPING=1")
        self.tick()

    def stop(self) -> None:
        """Say that it has ended."""
        self._state = "stopped"
        self.tick()
        if self._endpoint is not None:
            self._endpoint.close()
        files = self.counts.files
        log.info(
            "stopped: %d done, %d failed, %d were done before",
            files["done"],
            files["failed"],
            files["skipped"],
        )

    # --- what happens ---------------------------------------------------------------------------

    def skipped(self, path: str, decision: Decision, *, live: bool) -> None:
        """Count an exposure that was done before the watch began."""
        if not live:
            # Others are those that a search finds again which were noticed when they came.
            self.counts.files["skipped"] += 1
        if decision.outdated:
            self._outdated.add(path)
        log.debug("%s: %s", path, decision.reason)

    def failed(self, path: str, error: TmtDqError, kind: str) -> None:
        """Say that an exposure is set aside."""
        self.counts.failed(kind)
        log.error("set aside: %s", explained(path, error))

    def undone(self, path: str) -> None:
        """Say that nothing was made of an exposure."""
        log.info("%s changed or went away while it was read; nothing was made of it", path)

    def ended(self, result: FileResult, arrival: Arrival, _began: float) -> None:
        """Take what became of an exposure into account."""
        if result.error is not None:
            self.failed(str(result.input), result.error, result.error_class or "")
            return
        latency = time.monotonic() - arrival.at
        self.counts.done(
            size=result.size,
            mask=result.mask,
            seconds=result.seconds,
            latency=latency if arrival.live else None,
        )
        self._outdated.discard(str(result.input))
        self._last = {
            "input": str(result.input),
            "output": str(result.output),
            "timestamp": round(time.time(), 3),
            "seconds": round(latency, 4),
        }
        log.info("%s: %s in %.2f s, mask %s", result.output, result.s_dqinit, latency, result.mask)

    # --- how it is ------------------------------------------------------------------------------

    def tick(self) -> None:
        """Show how it is; write the heartbeat when it is time, or the state is another one."""
        status = self.status()
        if self._endpoint is not None:
            self._endpoint.show(status)
        ledger = self._service.ledger
        ledger.forget_gone()
        self._try(ledger.folder / LIST_NAME, ledger.write_list)
        shown = f"{status['state']} {status['why']}"
        now = time.monotonic()
        heartbeat = self._service.options.heartbeat
        if heartbeat is not None and (now >= self._beat_due or shown != self._shown):
            self._beat_due, self._shown = now + _BEAT_S, shown
            self._try(heartbeat, lambda: write_heartbeat(heartbeat, status))
        if status["state"] in {"watching", "waiting"} and not self._said_ready:
            self._said_ready = True
            tell("READY=1")
        line = f"{status['state']}, {status['files']['done']} done, {status['set_aside']} set aside"
        tell(f"WATCHDOG=1\nSTATUS={line}")

    def _try(self, path: Path, write: Callable[[], None]) -> None:
        """Write something that is not worth stopping for; say once that it cannot be written."""
        try:
            write()
        except OSError as error:
            why = f"{path} cannot be written: {error.strerror}"
            if why not in self._write_troubles:
                self._write_troubles.add(why)
                log.warning("%s; it is tried again and again", why)

    def status(self) -> dict[str, Any]:
        """Return all that is known of it."""
        service = self._service
        state, why = self._condition()
        now = time.monotonic()
        running = {path: now - began for path, (_, began) in service.running.items()}
        first = itertools.islice(service.arrivals.waiting(), _NAMED)
        arriving = [f"{path}: {why}" for path, why in first]
        options, notices = service.options, service.notices
        return {
            "state": state,
            "why": why,
            "folder": str(options.folder),
            "output_dir": str(options.output_dir),
            "folder_present": int(service.folder_present),
            "events": "kernel" if notices.events else f"a search every {options.search_s:g} s",
            "metrics": None if self._endpoint is None else self._endpoint.url,
            "contexts": [rule.context for rule in service.ledger.settings.rules],
            **self.counts.as_dict(),
            "arriving": len(service.arrivals),
            "arriving_files": arriving,
            "queued": len(service.queue) + len(service.backlog),
            "running": len(running),
            "running_files": dict(list(running.items())[:_NAMED]),
            "oldest_running_seconds": round(max(running.values(), default=0.0), 3),
            "set_aside": len(service.ledger.aside),
            "outdated": len(self._outdated),
            "last_done": self._last,
            "last_done_timestamp_seconds": None if self._last is None else self._last["timestamp"],
            "disk_free_bytes": self.free_bytes(),
            "workers": {"count": service.workers, "deaths": service.pool.deaths},
            "workers_ready": service.pool.ready_count,
            "searches": notices.searches,
            "start_timestamp_seconds": round(self._started, 3),
            "heartbeat_timestamp_seconds": round(time.time(), 3),
        }

    def _condition(self) -> tuple[str, str]:
        """Return the state, and why it is that."""
        service = self._service
        if self._state in {"stopping", "stopped"}:
            return self._state, ""
        if service.trouble is not None:
            return "waiting", service.trouble.why
        if not service.folder_present:
            return "waiting", f"{service.options.folder} is not there"
        failure = service.notices.failure
        if failure is not None:
            return "waiting", f"{service.options.folder} cannot be searched: {failure.strerror}"
        if self._state == "starting" and service.pool.ready_count and service.notices.searches:
            self._state = "watching"
        return self._state, ""

    def free_bytes(self) -> int | None:
        """Return the free space where the outputs go; None if it cannot be asked for."""
        try:
            found = os.statvfs(self._service.options.output_dir)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize
