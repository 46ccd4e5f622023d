"""Work for workers. Only the standard library: each worker that is started imports this."""

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def double_or_die(job: tuple[int, str]) -> int:
    """Die where a file says so; the file is removed first if its name ends in -once."""
    number, trap = job
    path = Path(trap)
    if trap and path.exists():
        if trap.endswith("-once"):
            path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def refuse(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
