"""How many files a second a batch does, against ``cp`` in as many processes.

python -m benchmarks.batch                       # subarrays, full frames
python -m benchmarks.batch --dask 1 2 3 4        # weak scaling on a dask cluster too
python -m benchmarks.batch --peer                # jwst: for f in *; do strun …
python -m benchmarks.batch --again               # --affected-by
python -m benchmarks.batch --jobs 2 --files 400 --frames 8 --groups 10

Files are in the page cache. Rates of small files are those between the end of the first tenth of
the files and the end of the last, so that the start of workers (told apart) does not count. Full
frames are timed as a whole, and from the end of each worker's first file on (*steady*), as a night
would go.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from benchmarks import machine
from benchmarks.contenders import tmt_dq
from benchmarks.measure import spread, warm
from benchmarks.peers import JWST
from benchmarks.ramps import write_ramp
from benchmarks.report import machine_lines

__all__ = ["main"]

_SIDES = (64, 128, 256)


def main() -> int:
    """Run what the arguments ask for."""
    options = _parser().parse_args()
    folder: Path = options.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMT_DQ_CACHE_DIR"] = str(folder / "cache")
    print(machine_lines(machine.describe(folder)), flush=True)
    rows: list[dict[str, Any]] = []
    try:
        for side in _SIDES if options.files else ():
            rows += _subarrays(folder, side, options)
        if options.peer:
            rows += _peer(folder, options)
        rows += _frames(folder, options)
        if options.again:
            rows += _again(folder, options)
        rows += _weak_scaling(folder, options)
    finally:
        for name in ("in", "out", "dask", "peer", "crds"):
            shutil.rmtree(folder / name, ignore_errors=True)
    options.json.write_text(json.dumps(rows, indent=1))
    print(f"\nraw results: {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--files", type=int, default=400, help="subarrays of each size [400]")
    parser.add_argument("--frames", type=int, default=8, help="full frames [8]")
    parser.add_argument("--groups", type=int, default=10, help="reads of each file [10]")
    parser.add_argument("--runs", type=int, default=3, help="rounds [3]")
    parser.add_argument("--dask", type=int, nargs="*", default=[], help="numbers of workers")
    parser.add_argument("--peer", action="store_true", help="jwst's strun too, in a loop")
    parser.add_argument("--peers", type=Path, default=Path(".bench"), help="its environment")
    parser.add_argument("--peer-files", type=int, default=10, help="its subarrays [10]")
    parser.add_argument("--dask-files", type=int, default=200, help="subarrays a worker [200]")
    parser.add_argument("--again", action="store_true", help="--affected-by on full frames too")
    parser.add_argument("--dir", type=Path, default=Path(".bench/batch"))
    parser.add_argument("--json", type=Path, default=Path(".bench/batch.json"))
    return parser


def _make(folder: Path, number: int, side: int, groups: int) -> list[Path]:
    """Make ramps; each is a file of its own."""
    place = folder / "in"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    paths = [place / f"iris_{i:06}_uncal.fits" for i in range(number)]
    write_ramp(paths[0], groups, shape=(side, side))
    for path in paths[1:]:
        shutil.copyfile(paths[0], path)
    os.sync()
    return paths


def _subarrays(folder: Path, side: int, options: Any) -> Iterator[dict[str, Any]]:
    paths = _make(folder, options.files, side, options.groups)
    yield _cpu(folder, paths, options)
    for jobs in options.jobs:
        for sync in (True, False):
            rates, starts = [], []
            for _ in range(options.runs):
                times = _batch(folder, jobs=jobs, sync=sync)
                first = max(1, len(times) // 10)
                rates.append((len(times) - first) / (times[-1] - times[first - 1]))
                starts.append(times[0])
            row = {
                "what": f"{side} × {side} × {options.groups}, {'' if sync else 'no '}sync",
                "jobs": jobs,
                "files_per_s": spread(rates),
                "first_file_s": spread(starts),
                "bytes": paths[0].stat().st_size,
            }
            _show(row)
            yield row


def _cpu(folder: Path, paths: list[Path], options: Any) -> dict[str, Any]:
    """Take the CPU time of a file, which other work on the machine disturbs less than the clock."""
    from tmt_dq import run_batch
    from tmt_dq.batch import serial

    rates = []
    for _ in range(options.runs):
        times: list[float] = []
        run_batch(
            folder / "in",
            output_dir=_clear(folder),
            mapper=serial,
            sync=False,
            on_result=lambda _, times=times: times.append(time.process_time()),
        ).raise_failures()
        first = max(1, len(times) // 10)
        rates.append((len(times) - first) / (times[-1] - times[first - 1]))
    size = paths[0].stat().st_size
    row = {
        "what": f"{size / 1e6:.2f} MB each, by CPU time alone",
        "jobs": 1,
        "files_per_s": spread(rates),
        "bytes": size,
    }
    _show(row)
    return row


def _frames(folder: Path, options: Any) -> Iterator[dict[str, Any]]:
    """Time full frames and ``cp`` of them in turns."""
    if not options.frames:
        return
    paths = _make(folder, options.frames, 4096, options.groups)
    size = sum(path.stat().st_size for path in paths)
    for jobs in options.jobs:
        ways: dict[str, Callable[[], float]] = {
            "cp": lambda jobs=jobs: _copy(folder, paths, jobs, sync=False),  # type: ignore[misc]
            "cp, then sync": lambda jobs=jobs: _copy(folder, paths, jobs, sync=True),  # type: ignore[misc]
        }
        steady: dict[str, list[float]] = {}
        for name, sync in (("batch", True), ("batch --no-sync", False)):
            rates = steady.setdefault(name, [])
            ways[name] = lambda jobs=jobs, sync=sync, rates=rates: _timed(  # type: ignore[misc]
                _batch(folder, jobs=jobs, sync=sync), jobs, rates
            )
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.runs):
            for name, way in ways.items():
                for path in paths:
                    warm(path)
                os.sync()
                seconds[name].append(way())
        for name, values in seconds.items():
            row = {
                "what": f"{len(paths)} × 4096 × 4096 × {options.groups}: {name}",
                "jobs": jobs,
                "files_per_s": spread([len(paths) / value for value in values]),
                "MB_per_s": spread([size / 1e6 / value for value in values]),
                "bytes": paths[0].stat().st_size,
            }
            if steady.get(name):
                row["steady_files_per_s"] = spread(steady[name])
            _show(row)
            yield row


def _timed(times: list[float], jobs: int, rates: list[float]) -> float:
    """Return how long a batch took; note its rate after each worker's first file."""
    if len(times) > jobs:
        rates.append((len(times) - jobs) / (times[-1] - times[jobs - 1]))
    return times[-1]


def _peer(folder: Path, options: Any) -> Iterator[dict[str, Any]]:
    """Time ``for f in *; do strun …``: a process a file, which is what its users have."""
    missing = JWST.build(options.peers)
    if missing is not None:
        print(missing)
        return
    python = JWST.python(options.peers.resolve())
    env = {**os.environ, **JWST.environment(options.peers.resolve())}
    for side, number in ((256, options.peer_files), (4096, min(2, options.frames))):
        if not number:
            continue
        place = folder / "peer"
        shutil.rmtree(place, ignore_errors=True)
        (place / "out").mkdir(parents=True)
        paths = _make(folder, 1, side, options.groups)
        mask = place / "mask.fits"
        _write_mask(mask, side)
        first = place / "ramp_0_uncal.fits"
        words = [str(python), str(JWST.script("make")), str(paths[0]), str(mask), str(first)]
        subprocess.run([*words, str(place / "jwst_mask.fits")], env=env, check=True)
        for index in range(1, number):
            shutil.copyfile(first, place / f"ramp_{index}_uncal.fits")
        strun = python.with_name("strun")
        loop = (
            'for f in *_uncal.fits; do "$0" jwst.dq_init.DQInitStep "$f" --save_results=true '
            "--output_dir=out --override_mask=jwst_mask.fits >/dev/null 2>&1 || exit 1; done"
        )
        rates = []
        for _ in range(options.runs):
            start = time.perf_counter()
            subprocess.run(["sh", "-c", loop, str(strun)], cwd=place, env=env, check=True)
            rates.append(number / (time.perf_counter() - start))
        made = len(list((place / "out").iterdir()))
        assert made == number, f"strun made {made} files of {number}"
        row = {
            "what": f"{side} × {side} × {options.groups}: for f in *; do strun … (jwst)",
            "jobs": 1,
            "files_per_s": spread(rates),
            "bytes": first.stat().st_size,
        }
        _show(row)
        yield row


def _write_mask(path: Path, side: int) -> None:
    """Write a mask of the peer's ramps: four pixels at the border, as IRIS' own."""
    dq = np.zeros((side, side), np.uint32)
    dq[:4] = dq[-4:] = dq[:, :4] = dq[:, -4:] = 1 << 31
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(dq, name="DQ")]).writeto(path)


def _again(folder: Path, options: Any) -> Iterator[dict[str, Any]]:
    """Time a new mask for full frames: outputs written anew."""
    from tmt_dq import deliver_mask, run_batch, select_mask

    paths = _make(folder, options.frames, 4096, options.groups)
    cache = folder / "crds"
    shutil.rmtree(cache, ignore_errors=True)
    spots, mask = folder / "spots.txt", folder / "mask.fits"
    spots.write_text("x y\n1205 877\n1206 877\n")
    words = [*tmt_dq(), "combine", str(select_mask(paths[0]).path), "--add", str(spots)]
    words += ["--flag", "HOT", "--base", "1", "-o", str(mask), "--overwrite"]
    words += ["--useafter", "2025-12-01", "--pedigree", "DUMMY"]
    words += ["--author", "a", "--description", "b"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    receipt = deliver_mask(mask, cache=cache, create=True)
    for path in (spots, mask):
        path.unlink()
    assert receipt.context_before is not None
    for jobs in options.jobs:
        rates: list[float] = []
        steady: list[float] = []
        for _ in range(options.runs):
            out = _clear(folder)
            common = {"output_dir": out, "jobs": jobs, "crds_path": cache}
            run_batch(folder / "in", context=receipt.context_before, **common)
            os.sync()
            times: list[float] = []
            start = time.perf_counter()
            result = run_batch(
                folder / "in",
                context=receipt.context,
                affected_by=receipt.context_before,
                on_result=lambda _, times=times, start=start: times.append(
                    time.perf_counter() - start
                ),
                **common,
            )
            result.raise_failures()
            assert result.done == len(paths)
            rates.append(len(paths) / _timed(times, jobs, steady))
        row = {
            "what": f"{len(paths)} × 4096 × 4096 × {options.groups}: --affected-by",
            "jobs": jobs,
            "files_per_s": spread(rates),
            "bytes": paths[0].stat().st_size,
        }
        if steady:
            row["steady_files_per_s"] = spread(steady)
        _show(row)
        yield row


def _clear(folder: Path) -> Path:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return out


def _copy(folder: Path, paths: list[Path], jobs: int, *, sync: bool) -> float:
    out = _clear(folder)

    def copy(path: Path) -> None:
        subprocess.run(["cp", path, out], check=True)
        if sync:
            subprocess.run(["sync", out / path.name], check=True)

    start = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(copy, paths))
    return time.perf_counter() - start


def _batch(folder: Path, *, jobs: int = 1, sync: bool, mapper: Any = None) -> list[float]:
    """Run a batch; return when each file ended, in seconds from the start."""
    from tmt_dq import run_batch

    out = _clear(folder)
    times: list[float] = []
    start = time.perf_counter()
    run_batch(
        folder / "in",
        output_dir=out,
        jobs=jobs,
        mapper=mapper,
        sync=sync,
        on_result=lambda _: times.append(time.perf_counter() - start),
    ).raise_failures()
    return times


def _weak_scaling(folder: Path, options: Any) -> Iterator[dict[str, Any]]:
    """Time n times as many subarrays on n workers of a dask cluster: the time should stay."""
    from tmt_dq.batch import Cluster

    alone = None
    for workers in options.dask:
        _make(folder, workers * options.dask_files, 256, options.groups)
        rates = []
        with _cluster(folder, workers) as file:
            for _ in range(options.runs):
                times = _batch(folder, sync=True, mapper=Cluster(scheduler_file=file))
                first = max(1, len(times) // 10)
                rates.append((len(times) - first) / (times[-1] - times[first - 1]))
        found = spread(rates)
        alone = alone or found[0] / workers
        row = {
            "what": f"256 × 256 × {options.groups} on dask",
            "jobs": workers,
            "files_per_s": found,
            "efficiency": found[0] / workers / alone,
            "bytes": (folder / "in" / "iris_000000_uncal.fits").stat().st_size,
        }
        _show(row)
        yield row


@contextlib.contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[Path]:
    place = folder / "dask"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    file = place / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    each = ["--nthreads", "1", "--no-nanny", "--local-directory", str(place)]
    commands = [["scheduler", "--port", "0"]] + [["worker", *each]] * workers
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *rest, *common],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for kind, *rest in commands
    ]
    try:
        while not file.exists():
            time.sleep(0.05)
        from distributed import Client

        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(workers)
        yield file
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _show(row: dict[str, Any]) -> None:
    middle, low, high = row["files_per_s"]
    text = f"{row['what']:44} {row['jobs']:3} jobs {middle:8.2f} files/s ({low:.2f}–{high:.2f})"
    if "MB_per_s" in row:
        text += f" {row['MB_per_s'][0]:8.0f} MB/s"
    if "steady_files_per_s" in row:
        text += "  steady {:.2f} ({:.2f}–{:.2f})".format(*row["steady_files_per_s"])
    if "efficiency" in row:
        text += f"  {row['efficiency']:.0%} of {row['jobs']} times one worker"
    if "first_file_s" in row:
        text += f"  first after {row['first_file_s'][0]:.1f} s"
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
