"""Status of a watch: counts, and the heartbeat file."""

import bisect
import json
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.batch.records import FileResult
from tmt_dq.watch.quarantine import replace_text

__all__ = ["Counts", "write_heartbeat"]

_BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0)
"""Upper ends of the histograms' classes, in seconds; a reduced image is due within 30 s."""
_RECENT = 1000


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


def write_heartbeat(path: Path, status: Mapping[str, Any]) -> None:
    """Write the heartbeat file, in one step; raise `OSError` if it cannot be written."""
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
