"""One process, measured from outside: wall clock, CPU, memory, bytes.

Only the standard library is imported here and in `benchmarks.run`: a child's peak memory, as the
kernel counts it, is never less than that of the process that started it.
"""

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Usage", "busy_seconds", "memory_total", "run", "spread", "warm"]

_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and the children it waited for used.

    Parameters
    ----------
    wall_s : float
        From before the start until it ended.
    user_s, system_s : float
        CPU time (``ru_utime``, ``ru_stime``).
    peak_rss_bytes : int
        Largest resident memory of any one of the processes (``ru_maxrss``).
    read_bytes, written_bytes : int
        Bytes that went through system calls, copies inside the kernel included (``rchar``,
        ``wchar`` of /proc/PID/io). Pages of mapped files are not in it.
    disk_read_bytes, disk_written_bytes : int
        Bytes fetched from the disk and bytes of pages made dirty (``read_bytes``, ``write_bytes``
        of /proc/PID/io).
    others_s : float
        CPU time that everything else on the machine took meanwhile: how far to trust `wall_s`.
    """

    wall_s: float
    user_s: float
    system_s: float
    peak_rss_bytes: int
    read_bytes: int
    written_bytes: int
    disk_read_bytes: int
    disk_written_bytes: int
    others_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Usage:
    """Run a command to its end and measure it.

    Parameters
    ----------
    command : sequence of str
        The command and its arguments.
    env : mapping, optional
        Variables added to the environment.
    cwd : Path, optional
        Folder to run in.
    log : Path, optional
        Where its output goes; by default nowhere.

    Returns
    -------
    Usage
        The measurements.

    Raises
    ------
    RuntimeError
        Raised if the command fails; the message holds the end of its output.
    """
    words = [os.fspath(word) for word in command]
    with open(log or os.devnull, "wb") as sink:  # noqa: PTH123 - os.devnull is no Path
        busy = busy_seconds()
        start = time.perf_counter()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
        )
        # Wait without reaping: the counters in /proc live as long as the zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall = time.perf_counter() - start
        busy = busy_seconds() - busy
    counters = _io_counters(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "" if log is None else log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}\n{tail}")
    return Usage(
        wall_s=wall,
        user_s=usage.ru_utime,
        system_s=usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * 1024,
        read_bytes=counters.get("rchar", 0),
        written_bytes=counters.get("wchar", 0),
        disk_read_bytes=counters.get("read_bytes", 0),
        disk_written_bytes=counters.get("write_bytes", 0),
        others_s=max(0.0, busy - usage.ru_utime - usage.ru_stime),
    )


def warm(path: Path) -> None:
    """Read a file once, so that the next reader finds it in memory if there is room."""
    buffer = bytearray(_CHUNK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, least and largest."""
    return statistics.median(values), min(values), max(values)


def busy_seconds() -> float:
    """Return the CPU time that all cores have spent on anything since the machine started."""
    with contextlib.suppress(OSError):
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ticks = dict(zip(names, map(int, first), strict=False))
        spent = sum(ticks.values()) - ticks["idle"] - ticks["iowait"]
        return spent / os.sysconf("SC_CLK_TCK")
    return 0.0


def memory_total() -> int:
    """Return the bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _io_counters(pid: int) -> dict[str, int]:
    found = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            name, _, number = line.partition(":")
            found[name] = int(number)
    return found
