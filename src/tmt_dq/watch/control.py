"""Control of a running watch: stop it, wake it, make it search again."""

import contextlib
import os
from typing import Literal

__all__ = ["Control"]


class Control:
    """Handle of a running `watch_folder`; its methods may be called from threads and handlers."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.stopping: Literal["no", "finish", "now"] = "no"
        self.reload_wanted = False

    def stop(self) -> None:
        """End: what is at work is finished first. A second call ends at once."""
        self.stopping = "finish" if self.stopping == "no" else "now"
        self.ring()

    def reload(self) -> None:
        """Search the folder again, and try again what was set aside."""
        self.reload_wanted = True
        self.ring()

    def ring(self) -> None:
        """Wake the watch."""
        with contextlib.suppress(OSError):  # it is closed
            os.eventfd_write(self._bell, 1)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when it is rung."""
        return self._bell

    def answer(self) -> None:
        """Take the rings so far away."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._bell)
