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


def write_pieces(sizes: tuple[int, ...]) -> int:
    """Say of each piece that it was written, as a file's writer does."""
    from tmt_dq.batch import meter

    meter._EVERY_S = 0.0
    tell = meter.meter()
    assert tell is not None
    for size in sizes:
        tell(size)
    if 13 in sizes:
        os.kill(os.getpid(), signal.SIGKILL)
    return sum(sizes)


def write_until_stopped(path: str) -> None:
    """Write without end; leave a note when that is interrupted."""
    from tmt_dq.batch import meter

    tell = meter.meter()
    assert tell is not None
    Path(path).touch()
    try:
        while True:
            time.sleep(0.01)
            tell(1)
    except Exception as error:
        Path(path).write_text(type(error).__name__)
        raise
