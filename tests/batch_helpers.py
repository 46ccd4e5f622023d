"""Work for workers, ramps for batches, and a dask cluster of real processes on loopback."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import batch_work
import builders
from tmt_dq.batch import FileResult, run_batch, serial


def night(folder: Path, number: int, **options: Any) -> list[Path]:
    """Make small ramps."""
    folder.mkdir(exist_ok=True)
    return [
        builders.make_ramp(folder / f"iris_{place:04}_uncal.fits", **options)
        for place in range(number)
    ]


def run(inputs: Any, output_dir: Path, **options: Any) -> tuple[Any, dict[str, FileResult]]:
    """Run a batch in this process; return its result, and those of the files by input name."""
    results: dict[str, FileResult] = {}
    options.setdefault("mapper", serial)
    result = run_batch(
        inputs,
        output_dir=output_dir,
        on_result=lambda one: results.__setitem__(Path(one.input).name, one),
        **options,
    )
    return result, results


def statuses(results: dict[str, FileResult]) -> dict[str, str]:
    return {name: result.status for name, result in results.items()}


def report_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def children(pid: int) -> list[int]:
    """Return the worker processes below a process (not multiprocessing's own helpers)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                command = stat.with_name("cmdline").read_bytes()
                if b"resource_tracker" not in command:
                    found.append(int(stat.parent.name))
    return found


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s in vain")


def look_ahead(mapper: Any, number: int) -> int:
    """Do small jobs; return how many were taken, at most, that had not ended."""
    taken = ended = furthest = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        while taken < number:
            taken += 1
            yield taken

    for job, answer in mapper(batch_work.double, jobs()):
        assert answer == 2 * job
        ended += 1
        furthest = max(furthest, taken - ended)
    assert ended == number
    return furthest


@dataclass
class Dask:
    """A scheduler and its workers, all of them processes of their own."""

    address: str
    workers: list[subprocess.Popen[bytes]]
    start_worker: Callable[[], subprocess.Popen[bytes]]


def _address(file: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads(file.read_text())["address"])
    return None


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int, **variables: str) -> Iterator[Dask]:
    """Start a scheduler and workers on loopback, with these variables in their environment."""
    file = folder / "scheduler.json"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **variables}
    processes: list[subprocess.Popen[bytes]] = []

    def start(module: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *options, "--no-dashboard"]
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        processes.append(process)
        return process

    def start_worker() -> subprocess.Popen[bytes]:
        return start(
            "distributed.cli.dask_worker",
            *("--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--host"),
            *("127.0.0.1", "--local-directory", str(folder)),
        )

    try:
        start(
            "distributed.cli.dask_scheduler",
            *("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)),
        )
        address = until(lambda: _address(file))
        started = [start_worker() for _ in range(workers)]
        yield Dask(address, started, start_worker)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
