"""Where a measurement was made."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.measure import memory_total

__all__ = ["describe", "packages"]


def describe(folder: Path) -> dict[str, Any]:
    """Return CPU, memory, kernel, file system and load; no names of hosts or users."""
    device, kind = _file_system(folder)
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": memory_total(),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": kind,
        "device": device,
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }


def packages(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of packages in another environment."""
    code = (
        "import sys\nfrom importlib.metadata import version\n"
        "print(sys.version.split()[0])\n"
        "for name in sys.argv[1:]: print(version(name))"
    )
    lines = subprocess.run(
        [python, "-c", code, *names], check=True, capture_output=True, text=True
    ).stdout.split()
    return dict(zip(("python", *names), lines, strict=True))


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _file_system(folder: Path) -> tuple[str, str]:
    """Return device and type of the file system that holds a folder."""
    best = ("", "unknown", "unknown")
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return best[1:]
    place = str(folder.resolve())
    for line in mounts:
        device, mount, kind, *_ = line.split()
        if len(mount) >= len(best[0]) and (
            place == mount or place.startswith(mount.rstrip("/") + "/")
        ):
            best = (mount, device, kind)
    return best[1:]
