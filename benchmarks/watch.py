"""How long after a ramp is complete its output is there, against ``cp`` of the same file.

python -m benchmarks.watch               # 64 × 64 and full frames, with sync and without
python -m benchmarks.watch --small 500 --frames 40 --how move write

Ramps are moved into the watched folder one by one, each after the output of the one before is there
and a pause. The clock runs from the rename to the moment at which the output has its name. The copy
of the same file is timed in the same turn, by ``cp`` and, for runs that wait for the disk, ``cp``
and ``sync`` of the copy. Files are in the page cache.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.measure import warm
from benchmarks.ramps import write_ramp
from benchmarks.report import machine_lines

__all__ = ["main"]

_LOOK_S = 0.0005
_LIMIT_S = 60.0


def main() -> int:
    """Run what the arguments ask for."""
    options = _parser().parse_args()
    folder: Path = options.dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["TMT_DQ_CACHE_DIR"] = str(folder.parent / "cache")
    print(machine_lines(machine.describe(folder)), flush=True)
    print(_HEADER)
    rows = []
    try:
        for shape, number in (((64, 64), options.small), ((4096, 4096), options.frames)):
            if number:
                write_ramp(folder / "ramp.fits", options.groups, shape=shape)
                for how in options.how:
                    for sync in (True, False):
                        row = _measure(folder, number, options, how=how, sync=sync)
                        rows.append({"shape": shape, "how": how, "sync": sync, **row})
                        _show(rows[-1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.json.write_text(json.dumps(rows, indent=1))
    print(f"\nraw results: {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--small", type=int, default=200, help="subarrays of 64 × 64 [200]")
    parser.add_argument("--frames", type=int, default=20, help="full frames [20]")
    parser.add_argument("--groups", type=int, default=10, help="reads of each file [10]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two files [0.1]")
    parser.add_argument("--how", nargs="+", default=["move"], choices=["move", "write"])
    parser.add_argument("--dir", type=Path, default=Path(".bench/watch"))
    parser.add_argument("--json", type=Path, default=Path(".bench/watch.json"))
    return parser


_HEADER = (
    f"{'ramp':24}{'copy p50':>10}{'p99':>8}{'output p50':>12}{'p99':>8}"
    f"{'over 1.3 own copy + 0.2: p50':>30}{'p99':>8}"
)


def _measure(folder: Path, number: int, options: Any, *, how: str, sync: bool) -> dict[str, Any]:
    """Time outputs and copies in turns."""
    place, out = folder / "in", folder / "out"
    for path in (place, out):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    beat = folder / "beat.json"
    beat.unlink(missing_ok=True)
    words = [sys.executable, "-m", "tmt_dq", "watch", place, "--output-dir", out, "-q"]
    words += ["--jobs", options.jobs, "--heartbeat", beat] + ([] if sync else ["--no-sync"])
    outputs, copies = [], []
    with subprocess.Popen([str(word) for word in words]) as watch:
        try:
            _wait_ready(beat)
            # The first files of each worker read the mask: they are told apart.
            cold = [
                _one(folder, f"cold{turn}", how=how, sync=sync)[0]
                for turn in range(2 * options.jobs)
            ]
            for turn in range(number):
                time.sleep(options.pause * random.uniform(0.5, 1.5))
                output, copy = _one(folder, f"ramp{turn}", how=how, sync=sync)
                outputs.append(output)
                copies.append(copy)
        finally:
            watch.send_signal(signal.SIGTERM)
    return {
        "files": number,
        "bytes": (folder / "ramp.fits").stat().st_size,
        "first_s": max(cold),
        "output_s": [_part(outputs, part) for part in (50, 99)],
        "copy_s": [_part(copies, part) for part in (50, 99)],
        # Of each file against its own copy, in the same turn: negative where the aim is met.
        "over_s": [
            _part([out - 1.3 * copy - 0.2 for out, copy in zip(outputs, copies, strict=True)], part)
            for part in (50, 99)
        ],
    }


def _wait_ready(beat: Path) -> None:
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        if beat.exists():
            return
        time.sleep(0.05)
    raise TimeoutError("the watch does not begin")


def _one(folder: Path, name: str, *, how: str, sync: bool) -> tuple[float, float]:
    """Return how long an output takes, and a copy."""
    staged, target = folder / "staged.fits", folder / "in" / f"{name}_uncal.fits"
    output = folder / "out" / f"{name}_dqinit.fits"
    shutil.copyfile(folder / "ramp.fits", staged)
    os.sync()
    warm(staged)
    copy = _copy(staged, folder / "copy.fits", sync=sync)
    if how == "move":
        staged.rename(target)
        start = time.perf_counter()
    else:
        with target.open("wb") as file, staged.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            file.seek(0)
        start = time.perf_counter()
    while not output.exists():
        if time.perf_counter() - start > _LIMIT_S:
            raise TimeoutError(f"no output {output}")
        time.sleep(_LOOK_S)
    seconds = time.perf_counter() - start
    # The folder stays small, as one from which the next step takes what it needs.
    output.unlink()
    target.unlink()
    return seconds, copy


def _copy(source: Path, target: Path, *, sync: bool) -> float:
    target.unlink(missing_ok=True)
    os.sync()
    start = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    if sync:
        subprocess.run(["sync", target, target.parent], check=True)
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds


def _part(values: list[float], part: int) -> float:
    """Return a percentile, counted from above: never better than it was."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * part // 100)]


def _show(row: dict[str, Any]) -> None:
    ny, nx = row["shape"]
    what = f"{ny} × {nx}, {row['how']}{'' if row['sync'] else ', no sync'}"
    copy, output = row["copy_s"], row["output_s"]
    print(
        f"{what:24}{copy[0]:10.3f}{copy[1]:8.3f}{output[0]:12.3f}{output[1]:8.3f}"
        f"{row['over_s'][0]:+30.3f}{row['over_s'][1]:+8.3f}   first {row['first_s']:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
