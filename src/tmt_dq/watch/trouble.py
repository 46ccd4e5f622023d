"""Errors that are not a ramp's fault: the disk is full, the output folder is gone."""

import errno
import logging
import os
import time
from pathlib import Path

from tmt_dq.errors import OutputError, TmtDqError

__all__ = ["Trouble", "is_outside"]

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
_SAY_AGAIN_S = 600.0


def is_outside(error: TmtDqError | None, number: int | None, folder: Path) -> bool:
    """Tell whether an error would meet any other ramp as well, and may pass.

    Parameters
    ----------
    error : TmtDqError or None
        The error.
    number : int or None
        The system's number of it.
    folder : Path
        The output folder.

    Returns
    -------
    bool
        Whether to wait and try again.
    """
    if not isinstance(error, OutputError):
        return False
    return number in _OUTSIDE or not os.access(folder, os.W_OK | os.X_OK)


class Trouble:
    """What the watch waits for; it tries again after 1 s, 2 s, 4 s … at most 30 s.

    Parameters
    ----------
    error : TmtDqError
        What went wrong.
    needs : int
        Bytes of free space without which trying makes no sense.

    Attributes
    ----------
    why : str
        For people.
    """

    def __init__(self, error: TmtDqError, needs: int = 0) -> None:
        self.why = _why(error)
        self._needs = needs
        self._since = self._said = time.monotonic()
        self._pause = _FIRST_S
        self._due = self._since + _FIRST_S
        hint = "" if error.hint is None else f" {error.hint}"
        log.error("waiting: %s.%s What arrives is kept in mind.", self.why, hint)

    def again(self, error: TmtDqError, needs: int = 0) -> None:
        """Take note that it is still so."""
        self.why = _why(error)
        self._needs = max(needs, self._needs)
        self._pause = min(2 * self._pause, _LONGEST_S)
        self._due = time.monotonic() + self._pause

    def say_again(self) -> None:
        """Say from time to time that it is still so."""
        if time.monotonic() - self._said > _SAY_AGAIN_S:
            self._said = time.monotonic()
            log.error("still waiting: %s", self.why)

    def over(self) -> None:
        """Say that it is over."""
        log.warning("going on after %.0f s of waiting", time.monotonic() - self._since)

    def worth_trying(self, free: int | None) -> bool:
        """Tell whether it is time to try, and there is room."""
        if time.monotonic() < self._due:
            return False
        if free is not None and free < self._needs:
            self._due = time.monotonic() + _FIRST_S
            return False
        return True


def _why(error: TmtDqError) -> str:
    return error.what if error.where is None else f"{error.where}: {error.what}"
