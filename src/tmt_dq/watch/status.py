"""Status of a watch: counts, and where the status is shown: heartbeat, Prometheus, systemd."""

import bisect
import json
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.batch.records import FileResult
from tmt_dq.files.atomic import check_output, write_file
from tmt_dq.watch.backoff import free_bytes
from tmt_dq.watch.metrics import Endpoint
from tmt_dq.watch.options import WatchOptions

__all__ = ["Counts", "Reporter"]

log = logging.getLogger(__name__)

_BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0)
"""Upper ends of the histograms' classes, in seconds; a reduced image is due within 30 s."""
_RECENT = 1000
_BEAT_S = 5.0


class _Histogram:
    """Durations in classes."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self._total += seconds

    def as_dict(self) -> dict[str, Any]:
        """Return cumulative counts by upper end, and the sum."""
        ends = [*map(str, _BOUNDS), "+Inf"]
        sums = [sum(self._counts[: place + 1]) for place in range(len(ends))]
        return {"buckets": dict(zip(ends, sums, strict=True)), "sum": round(self._total, 6)}


class Counts:
    """Counts since the start; they never go down."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter({"done": 0, "failed": 0, "skipped": 0})
        self.size = 0
        self._started = time.time()
        self._errors: Counter[str] = Counter()
        self._masks: Counter[str] = Counter()
        self._latency = _Histogram()
        self._seconds = _Histogram()
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._last: dict[str, Any] = {}

    def done(self, result: FileResult, latency: float, *, live: bool) -> None:
        """Count an output; the latency only of an exposure that was seen to arrive."""
        self.files["done"] += 1
        self.size += result.size
        self._seconds.add(result.seconds)
        if result.mask is not None:
            self._masks[result.mask] += 1
        if live:
            self._latency.add(latency)
            self._recent.append(latency)
        self._last = {
            "input": str(result.input),
            "output": str(result.output),
            "timestamp": round(time.time(), 3),
            "seconds": round(latency, 4),
        }

    def failed(self, kind: str) -> None:
        """Count an exposure that was set aside."""
        self.files["failed"] += 1
        self._errors[kind] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return all counts."""
        ordered = sorted(self._recent)
        quantiles = {
            f"p{part}": round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 4)
            for part in (50, 99)
            if ordered
        }
        return {
            "files": dict(self.files),
            "errors": dict(self._errors),
            "masks": dict(self._masks),
            "bytes": self.size,
            "latency_s": self._latency.as_dict() | quantiles,
            "processing_s": self._seconds.as_dict(),
            "last_done": self._last or None,
            "last_done_timestamp_seconds": self._last.get("timestamp"),
            "start_timestamp_seconds": round(self._started, 3),
        }


class Reporter:
    """Outlets for the status of a watch."""

    def __init__(self, options: WatchOptions) -> None:
        self._heartbeat = options.heartbeat
        if options.heartbeat is not None:
            # Now: it would leave the watch unwatched for a night.
            check_output(options.heartbeat, overwrite=True)
        self._endpoint = None if options.prometheus is None else Endpoint(options.prometheus)
        url = None if self._endpoint is None else self._endpoint.url
        self._output_dir = options.output_dir
        self._fixed = {
            "folder": str(options.folder),
            "output_dir": str(options.output_dir),
            "metrics": url,
        }
        if url is not None:
            log.info("metrics are at %s", url)
        self._beat_due = 0.0
        self._shown = ""
        self._ready = False
        self._warned: set[str] = set()

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status; the heartbeat is written when it is time, or the state is another one."""
        status = {**self._fixed, **status, "disk_free_bytes": free_bytes(self._output_dir)}
        status["heartbeat_timestamp_seconds"] = round(time.time(), 3)
        if self._endpoint is not None:
            self._endpoint.show(status)
        state, now = status["state"], time.monotonic()
        shown = f"{state} {status['why']}"
        heartbeat = self._heartbeat
        if heartbeat is not None and (now >= self._beat_due or shown != self._shown):
            self._beat_due, self._shown = now + _BEAT_S, shown
            beat = {**_sign_of_life(), **status}
            content = (json.dumps(beat, indent=1) + "\n").encode()
            self.attempt(
                heartbeat, lambda: write_file(heartbeat, content, overwrite=True, sync=False)
            )
        if state in {"watching", "waiting"} and not self._ready:
            self._ready = True
            _notify("READY=1")
        if state == "stopping":
            _notify("STOPPING=1")
        line = f"{state}, {status['files']['done']} done, {status['set_aside']} set aside"
        _notify(f"WATCHDOG=1\nSTATUS={line}")

    def attempt(self, path: Path, write: Callable[[], None]) -> None:
        """Write something that is not worth stopping for; warn once if it cannot be written."""
        try:
            write()
        except OSError as error:
            why = f"{path} cannot be written: {error.strerror}"
            if why not in self._warned:
                self._warned.add(why)
                log.warning("%s; it is tried again and again", why)

    def close(self) -> None:
        """Serve no more metrics."""
        if self._endpoint is not None:
            self._endpoint.close()


def _sign_of_life() -> dict[str, Any]:
    """Return what begins the heartbeat: when, who, where."""
    now = time.time()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "timestamp": round(now, 3),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "version": __version__,
    }


def _notify(message: str) -> None:
    """Send lines ``NAME=value`` to the service manager (``sd_notify``), where there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A manager that does not listen must not stop the work.
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
    except OSError:
        return  # it is systemd's watchdog that finds out
