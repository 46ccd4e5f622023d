"""Reporter of a watch: shows its status in the heartbeat file, to Prometheus and to systemd."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tmt_dq.watch.metrics import Endpoint
from tmt_dq.watch.options import WatchOptions
from tmt_dq.watch.status import write_heartbeat

__all__ = ["Reporter"]

log = logging.getLogger(__name__)

_BEAT_S = 5.0


class Reporter:
    """Outlets for the status of a watch; `metrics_url` is None where no metrics are served."""

    def __init__(self, options: WatchOptions) -> None:
        self._heartbeat = options.heartbeat
        self._endpoint = None if options.prometheus is None else Endpoint(options.prometheus)
        self.metrics_url = None if self._endpoint is None else self._endpoint.url
        self._beat_due = 0.0
        self._shown = ""
        self._ready = False
        self._warned: set[str] = set()

    def show(self, status: Mapping[str, Any]) -> None:
        """Show a status; the heartbeat is written when it is time, or the state is another one."""
        if self._endpoint is not None:
            self._endpoint.show(status)
        state, now = status["state"], time.monotonic()
        shown = f"{state} {status['why']}"
        heartbeat = self._heartbeat
        if heartbeat is not None and (now >= self._beat_due or shown != self._shown):
            self._beat_due, self._shown = now + _BEAT_S, shown
            self.attempt(heartbeat, lambda: write_heartbeat(heartbeat, status))
        if state in {"watching", "waiting"} and not self._ready:
            self._ready = True
            notify("READY=1")
        if state == "stopping":
            notify("STOPPING=1")
        line = f"{state}, {status['files']['done']} done, {status['set_aside']} set aside"
        notify(f"WATCHDOG=1\nSTATUS={line}")

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


def notify(message: str) -> None:
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
