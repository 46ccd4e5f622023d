"""Metrics of a watch, served to Prometheus over HTTP."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from tmt_dq.errors import ConfigError

__all__ = ["Endpoint"]

_STATES = ("starting", "watching", "waiting", "stopping", "stopped")
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


class Endpoint:
    """Server of metrics at ``PORT``, ``HOST:PORT`` or ``[IPv6]:PORT``; port 0 is any that is free.

    The host is 127.0.0.1 where none is named. `url` is where the metrics are. Raises `ConfigError`
    if prometheus_client is not installed, or the address cannot be used.
    """

    def __init__(self, address: str) -> None:
        host, port = _split(address)
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            hint = "Run: pip install prometheus-client"
            raise ConfigError("prometheus_client is not installed", hint=hint) from error
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
        """Serve a status from now on."""
        self._status = status

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        if isinstance(self._thread, threading.Thread):
            self._thread.join(2)

    def collect(self) -> Iterator[Any]:
        """Yield the metrics of the status; prometheus_client calls this for every request."""
        from prometheus_client import core

        counter, gauge = core.CounterMetricFamily, core.GaugeMetricFamily
        status, states = self._status, dict.fromkeys(_STATES, 0)
        if not status:
            return
        contexts = dict.fromkeys(status["contexts"], 1)
        yield _labelled(counter, "files", "Ramps by outcome.", "result", status["files"])
        yield _labelled(counter, "errors", "Ramps set aside.", "error", status["errors"])
        yield counter(_name("bytes"), "Bytes of the ramps worked on.", value=status["bytes"])
        deaths = status["workers"]["deaths"]
        yield counter(_name("worker_deaths"), "Workers that died.", value=deaths)
        for name, text in (
            ("latency", "From a ramp found complete to its output, of those seen to arrive."),
            ("processing", "Time of a worker for a ramp."),
        ):
            values = status[f"{name}_s"]
            yield core.HistogramMetricFamily(
                _name(f"{name}_seconds"),
                text,
                buckets=list(values["buckets"].items()),
                sum_value=values["sum"],
            )
        for name, text in _GAUGES.items():
            if status.get(name) is not None:
                yield gauge(_name(name), text, value=status[name])
        states[status["state"]] = 1
        yield _labelled(gauge, "state", "1 for the state it is in.", "state", states)
        yield _labelled(gauge, "context", "1 for rules in use.", "context", contexts)


def _name(name: str) -> str:
    return f"tmt_dq_watch_{name}"


def _labelled(kind: Any, name: str, text: str, label: str, values: Mapping[str, float]) -> Any:
    family = kind(_name(name), text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _split(address: str) -> tuple[str, int]:
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if separator else "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(
            f"{address!r} is not an address; expected PORT or HOST:PORT",
            where="--prometheus",
            hint="For example 9464, or 0.0.0.0:9464 to be seen from other machines.",
        )
    return host or "127.0.0.1", int(port)
