"""Work for workers. Only the standard library: each worker that is started imports this."""

import os
import signal
import time
from pathlib import Path
from typing import Any


def double(number: int, _progress: Any = None) -> int:
    return 2 * number


def double_or_die(job: tuple[int, str], _progress: Any = None) -> int:
    """Die where a file says so; the file is removed first if its name ends in -once."""
    number, trap = job
    path = Path(trap)
    if trap and path.exists():
        if trap.endswith("-once"):
            path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def refuse(number: int, _progress: Any = None) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def pid_after(seconds: float, _progress: Any = None) -> int:
    time.sleep(seconds)
    return os.getpid()


def write_pieces(sizes: tuple[int, ...], progress: Any = None) -> int:
    """Report each piece as written, as a file's writer does."""
    for size in sizes:
        progress(size)
    if 13 in sizes:
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(sizes)


def write_until_stopped(path: str, progress: Any = None) -> None:
    """Write without end; leave a note when that is interrupted."""
    Path(path).touch()
    try:
        while True:
            time.sleep(0.01)
            progress(1)
    except Exception as error:
        Path(path).write_text(type(error).__name__)
        raise
