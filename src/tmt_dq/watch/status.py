"""Status of a watch, and where it is shown: heartbeat, Prometheus, systemd."""

import functools
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.batch.records import FileResult
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.atomic import check_output, write_file
from tmt_dq.watch.options import WatchOptions

_log = logging.getLogger(__name__)

_BEAT_S = 5.0
_STATES = ["watching", "waiting", "stopping", "stopped"]
_GAUGES = {
    "arriving": "Files that are not complete yet.",
    "queued": "Complete ramps that wait for a worker.",
    "running": "Ramps that workers have.",
    "set_aside": "Ramps that are set aside.",
    "worker_deaths": "Workers that died.",
    "disk_free_bytes": "Free space where the outputs go.",
}


class Reporter:
    """Outlets for the status of a watch."""

    def __init__(self, options: WatchOptions) -> None:
        self._heartbeat = None if options.heartbeat is None else Path(options.heartbeat).absolute()
        if self._heartbeat is not None:
            # Now: it would leave the watch unwatched for a night.
            check_output(self._heartbeat, overwrite=True)
        self._metrics = None if options.prometheus is None else _Metrics(options.prometheus)
        self._output_dir = options.output_dir
        self._fixed = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "version": __version__,
            "folder": str(options.folder),
            "output_dir": str(options.output_dir),
            "metrics": None if self._metrics is None else self._metrics.url,
        }
        self._beat_due = 0.0
        self._state = ""
        self._warn = functools.cache(_log.warning)

    def count(self, result: FileResult, seconds: float) -> None:
        """Count a result, and the time since its ramp was complete."""
        if self._metrics is not None:
            self._metrics.count(result, seconds)

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status; the heartbeat is written when it is time, or the state is another one."""
        now = time.time()
        status = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "timestamp": round(now, 3),
            **self._fixed,
            **status,
        }
        try:
            status["disk_free_bytes"] = shutil.disk_usage(self._output_dir).free
        except OSError:
            status["disk_free_bytes"] = None
        if self._metrics is not None:
            self._metrics.show(status)
        state = status["state"]
        if self._heartbeat is not None and (now >= self._beat_due or state != self._state):
            self._beat_due, self._state = now + _BEAT_S, state
            beat = (json.dumps(status, indent=1) + "\n").encode()
            try:
                write_file(self._heartbeat, beat, overwrite=True, sync=False)
            except OutputError as error:
                self._warn("%s; it is tried again and again", str(error))
        _notify("READY=1\nWATCHDOG=1")

    def close(self) -> None:
        """Serve no more metrics."""
        if self._metrics is not None:
            self._metrics.close()


class _Metrics:
    """Metrics at ``PORT``, ``HOST:PORT`` or ``[IPv6]:PORT`` (0: any that is free), at `url`."""

    def __init__(self, address: str) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram
            from prometheus_client import start_http_server as serve
        except ImportError as error:
            hint = "Run: pip install prometheus-client"
            raise ConfigError("prometheus_client is not installed", hint=hint) from error
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        registry = CollectorRegistry()
        common: dict[str, Any] = {"namespace": "tmt_dq_watch", "registry": registry}
        self._files = Counter("files", "Ramps by outcome.", ["result"], **common)
        self._bytes = Counter("bytes", "Bytes of the ramps worked on.", **common)
        self._latency = Histogram("latency_seconds", "From complete to done.", **common)
        self._state = Enum("state", "1 for the state it is in.", states=_STATES, **common)
        self._beat = Gauge("heartbeat_timestamp_seconds", "When the loop last ran.", **common)
        self._gauges = {name: Gauge(name, text, **common) for name, text in _GAUGES.items()}
        try:
            self._server, _ = serve(int(port), addr=host, registry=registry)
        except (OSError, OverflowError, ValueError) as error:
            what = f"cannot be listened on ({error}); expected PORT or HOST:PORT"
            hint = "For example 9464, or 0.0.0.0:9464 to be seen from other machines."
            raise ConfigError(what, where=f"--prometheus {address}", hint=hint) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"

    def count(self, result: FileResult, seconds: float) -> None:
        self._files.labels(result.status).inc()
        self._bytes.inc(result.size)
        self._latency.observe(seconds)

    def show(self, status: Mapping[str, Any]) -> None:
        self._beat.set_to_current_time()
        self._state.state(status["state"])
        for name, gauge in self._gauges.items():
            gauge.set(status[name] if status[name] is not None else float("nan"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _notify(message: str) -> None:
    """Send lines ``NAME=value`` to the service manager (``sd_notify``), where there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A manager that does not listen must not stop the work.
            sender.setblocking(False)
            abstract = address.startswith("@")  # a socket whose name begins with a NUL
            sender.sendto(message.encode(), f"\0{address[1:]}" if abstract else address)
    except OSError:
        return  # it is systemd's watchdog that finds out
