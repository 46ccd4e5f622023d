"""Time and peak memory of the cases: python -m benchmarks.micro [--size 4096] [--repeat 9].

Each case runs in a process of its own. Memory is how far the process' resident memory rose above
where it stood before the call, at its highest (``VmHWM`` of /proc/self/status).
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import case_table

__all__ = ["measure", "names"]


def names() -> Iterator[str]:
    """Yield the cases as ``Class.method``."""
    from benchmarks.cases import CASES

    for case in CASES:
        for method in vars(case):
            if method.startswith("time_"):
                yield f"{case.__name__}.{method}"


def measure(name: str, size: int, repeat: int) -> dict[str, Any]:
    """Run a case of this name.

    Parameters
    ----------
    name : str
        ``Class.method``.
    size : int
        Frames are size × size.
    repeat : int
        Number of timed calls, after one that is not timed.

    Returns
    -------
    dict
        Seconds of each call, and the bytes of memory that the first took.
    """
    from benchmarks import cases

    class_name, method_name = name.split(".")
    case = getattr(cases, class_name)()
    case.setup(size)
    method = getattr(case, method_name)
    try:
        gc.collect()
        before = _status("VmRSS")
        _forget_peak()
        result = method(size)
        memory = _status("VmHWM") - before
        del result
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            result = method(size)
            seconds.append(time.perf_counter() - start)
            del result
    finally:
        if hasattr(case, "teardown"):
            case.teardown(size)
    return {"name": name, "size": size, "seconds": seconds, "memory_bytes": memory}


def main() -> None:
    """Measure all cases, or the one that is named, and print them."""
    parser = argparse.ArgumentParser(description="Measure what happens in memory.")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--case", help="measure this one here and print JSON")
    parser.add_argument("--json", type=Path, help="write the raw results")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.size, options.repeat)))
        return
    results = []
    for name in names():
        answer = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.micro", "--case", name),
                *("--size", f"{options.size}", "--repeat", f"{options.repeat}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        results.append(json.loads(answer.stdout.splitlines()[-1]))
    print(case_table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))


def _status(field: str) -> int:
    """Return a number of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _forget_peak() -> None:
    """Let VmHWM begin again at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
