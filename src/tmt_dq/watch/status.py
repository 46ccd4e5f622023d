"""What a watch is doing, in numbers: for a heartbeat file and for Prometheus."""

import bisect
import json
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.errors import ConfigError
from tmt_dq.watch.aside import replace_text

__all__ = ["STATES", "Counts", "Endpoint", "write_heartbeat"]

STATES = ("starting", "watching", "waiting", "stopping", "stopped")
_BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0)
"""Upper ends of the histograms' classes, in seconds; a reduced image is due within 30 s."""
_RECENT = 1000


class _Histogram:
    """Durations in classes."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds

    def as_dict(self) -> dict[str, Any]:
        """Return cumulative counts by upper end, and the sum."""
        ends = [*map(str, _BOUNDS), "+Inf"]
        sums = [sum(self.counts[: place + 1]) for place in range(len(ends))]
        return {"buckets": dict(zip(ends, sums, strict=True)), "sum": round(self.total, 6)}


class Counts:
    """Counts since the start; they never go down."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter({"done": 0, "failed": 0, "skipped": 0})
        self.errors: Counter[str] = Counter()
        self.masks: Counter[str] = Counter()
        self.size = 0
        self.latency = _Histogram()
        self.seconds = _Histogram()
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def done(self, *, size: int, mask: str | None, seconds: float, latency: float | None) -> None:
        """Count an output; `latency` only for an exposure that was seen to arrive."""
        self.files["done"] += 1
        self.size += size
        self.seconds.add(seconds)
        if mask is not None:
            self.masks[mask] += 1
        if latency is not None:
            self.latency.add(latency)
            self._recent.append(latency)

    def failed(self, kind: str) -> None:
        """Count an exposure that was set aside."""
        self.files["failed"] += 1
        self.errors[kind] += 1

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
            "errors": dict(self.errors),
            "masks": dict(self.masks),
            "bytes": self.size,
            "latency_s": self.latency.as_dict() | quantiles,
            "processing_s": self.seconds.as_dict(),
        }


def write_heartbeat(path: Path, status: Mapping[str, Any]) -> None:
    """Write the heartbeat file, in one step.

    Raises
    ------
    OSError
        Raised if it cannot be written.
    """
    now = time.time()
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "timestamp": round(now, 3),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "version": __version__,
        **status,
    }
    replace_text(path, json.dumps(record, indent=1) + "\n")


class Endpoint:
    """Serves the numbers to Prometheus over HTTP.

    Parameters
    ----------
    address : str
        ``PORT``, ``HOST:PORT`` or ``[IPv6]:PORT``; the host is 127.0.0.1 where none is named, and
        port 0 is any that is free.

    Attributes
    ----------
    url : str
        Where it is.

    Raises
    ------
    ConfigError
        Raised if prometheus_client is not installed, or the address cannot be used.
    """

    def __init__(self, address: str) -> None:
        host, port = _split(address)
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            raise ConfigError(
                "prometheus_client is not installed",
                hint='Install it with `pip install "tmt-dq[watch]"`.',
            ) from error
        self._status: Mapping[str, Any] = {}
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"cannot be listened on: {error.strerror or error}",
                where=f"--prometheus {address}",
                hint="Name another port; 0 is any that is free.",
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def show(self, status: Mapping[str, Any]) -> None:
        """Serve these numbers from now on."""
        self._status = status

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        if isinstance(self._thread, threading.Thread):
            self._thread.join(2)

    def collect(self) -> Iterator[Any]:
        """Yield the metrics; prometheus_client calls it for every request."""
        status = self._status
        if status:
            yield from _families(status)


def _split(address: str) -> tuple[str, int]:
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if separator else "127.0.0.1"
    try:
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise ConfigError(
            f"{address!r} is not an address; expected PORT or HOST:PORT",
            where="--prometheus",
            hint="For example 9464, or 0.0.0.0:9464 to be seen from other machines.",
        )
    return host or "127.0.0.1", number


def _families(status: Mapping[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    def labelled(kind: Any, name: str, text: str, label: str, values: Mapping[str, float]) -> Any:
        family = kind(f"tmt_dq_watch_{name}", text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    yield labelled(
        CounterMetricFamily, "files", "Ramps by what became of them.", "result", status["files"]
    )
    yield labelled(
        CounterMetricFamily, "errors", "Ramps set aside, by error.", "error", status["errors"]
    )
    yield CounterMetricFamily(
        "tmt_dq_watch_bytes", "Bytes of the ramps that were worked on.", value=status["bytes"]
    )
    yield CounterMetricFamily(
        "tmt_dq_watch_worker_deaths", "Workers that died.", value=status["workers"]["deaths"]
    )
    for name, text in (
        ("latency", "From a ramp found complete to its output, of those seen to arrive."),
        ("processing", "Time of a worker for a ramp."),
    ):
        values = status[f"{name}_s"]
        yield HistogramMetricFamily(
            f"tmt_dq_watch_{name}_seconds",
            text,
            buckets=list(values["buckets"].items()),
            sum_value=values["sum"],
        )
    for name, text in _GAUGES.items():
        if status.get(name) is not None:
            yield GaugeMetricFamily(f"tmt_dq_watch_{name}", text, value=status[name])
    states = {name: float(name == status["state"]) for name in STATES}
    yield labelled(GaugeMetricFamily, "state", "1 for the state it is in.", "state", states)
    contexts = dict.fromkeys(status["contexts"], 1.0)
    yield labelled(GaugeMetricFamily, "context", "1 for rules in use.", "context", contexts)


_GAUGES = {
    "arriving": "Files that are not complete yet.",
    "queued": "Complete ramps that wait for a worker.",
    "running": "Ramps that workers have.",
    "set_aside": "Ramps that are set aside.",
    "outdated": "Outputs found that were made under other rules or options.",
    "disk_free_bytes": "Free space where the outputs go.",
    "folder_present": "1 if the watched folder is there.",
    "workers_ready": "Workers that can begin at once.",
    "oldest_running_seconds": "Age of the work that has taken longest.",
    "last_done_timestamp_seconds": "When the last output was made.",
    "heartbeat_timestamp_seconds": "When the watch last looked after its affairs.",
    "start_timestamp_seconds": "When it was started.",
}
