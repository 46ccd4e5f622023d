"""Errors that are not a ramp's fault: the disk is full, the output folder is gone."""

import errno
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from tmt_dq.errors import OutputError, TmtDqError

__all__ = ["Trouble", "is_outside"]

_OUTSIDE = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EROFS", "EIO", "ENODEV", "ENXIO", "ESTALE", "ENOTCONN", "EHOSTDOWN"),
        *("ENETDOWN", "ENETUNREACH", "ETIMEDOUT", "EREMOTEIO", "EMFILE", "ENFILE", "ENOMEM"),
    )
}
_FIRST_S = 1.0
_LONGEST_S = 30.0


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


@dataclass(slots=True)
class Trouble:
    """What the watch waits for; it tries again after 1 s, 2 s, 4 s … at most 30 s.

    Parameters
    ----------
    why : str
        For people.
    needs : int
        Bytes of free space without which trying makes no sense.
    """

    why: str
    needs: int = 0
    since: float = field(default_factory=time.monotonic)
    pause: float = _FIRST_S
    due: float = field(default_factory=lambda: time.monotonic() + _FIRST_S)

    def again(self, why: str) -> None:
        """Take note that it is still so."""
        self.why = why
        self.pause = min(2 * self.pause, _LONGEST_S)
        self.due = time.monotonic() + self.pause

    def worth_trying(self, free: int | None) -> bool:
        """Tell whether it is time to try, and there is room."""
        if time.monotonic() < self.due:
            return False
        if free is not None and free < self.needs:
            self.due = time.monotonic() + _FIRST_S
            return False
        return True
