"""Back-off: errors that are not a ramp's fault, and when to try again."""

import errno
import logging
import os
import time
from pathlib import Path

from tmt_dq.errors import OutputError, TmtDqError

__all__ = ["Backoff", "free_bytes", "is_outside"]

log = logging.getLogger(__name__)

_OUTSIDE = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EIO", "ENODEV", "ENXIO", "ESTALE", "ENOTCONN", "EHOSTDOWN"),
        *("ENETDOWN", "ENETUNREACH", "ETIMEDOUT", "EREMOTEIO", "EMFILE", "ENFILE", "ENOMEM"),
    )
}
_FIRST_S = 1.0
_LONGEST_S = 30.0
_REMIND_S = 600.0


def is_outside(error: TmtDqError | None, number: int | None, folder: Path) -> bool:
    """Tell whether an error (of the system: `number`) would meet any other ramp, and may pass."""
    if not isinstance(error, OutputError):
        return False
    return number in _OUTSIDE or not os.access(folder, os.W_OK | os.X_OK)


class Backoff:
    """Wait for the end of an error: after 1 s, 2 s, 4 s … at most 30 s it is tried again.

    `why` is the error for people, empty where there is none; `folder` has the outputs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.why = ""
        self._needs = 0
        self._since = self._reminded = self._due = 0.0
        self._pause = _FIRST_S

    def begin(self, error: TmtDqError, needs: int = 0) -> None:
        """Wait, or wait longer; `needs` bytes must be free before it is worth trying."""
        now = time.monotonic()
        began = not self.why
        self.why = error.what if error.where is None else f"{error.where}: {error.what}"
        self._needs = max(needs, self._needs)
        self._pause = _FIRST_S if began else min(2 * self._pause, _LONGEST_S)
        self._due = now + self._pause
        if began:
            self._since = self._reminded = now
            hint = "" if error.hint is None else f" {error.hint}"
            log.error("paused: %s.%s New ramps are queued.", self.why, hint)

    def end(self) -> None:
        """Go on."""
        if self.why:
            log.warning("going on after a pause of %.0f s", time.monotonic() - self._since)
        self.why, self._needs = "", 0

    def remind(self) -> None:
        """Log from time to time that the pause goes on."""
        if self.why and time.monotonic() - self._reminded > _REMIND_S:
            self._reminded = time.monotonic()
            log.error("still paused: %s", self.why)

    def is_over(self) -> bool:
        """Tell whether it is time to try, and there is room."""
        if time.monotonic() < self._due:
            return False
        free = free_bytes(self._folder)
        if free is not None and free < self._needs:
            self._due = time.monotonic() + _FIRST_S
            return False
        return True


def free_bytes(folder: Path) -> int | None:
    """Return the free space of a folder; None if the system does not tell."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
