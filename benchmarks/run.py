"""Measure tmt-dq against ``cp`` and its peers, and print tables.

python -m benchmarks.run                        # cp and tmt-dq, 10 and 40 reads
python -m benchmarks.run --peers                # jwst and romancal too
python -m benchmarks.run --groups 10 40 416     # 416 reads need 30 GB of disk
python -m benchmarks.run --peers --groups 5 10 20 40 80 --plot scaling.png
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.contenders import compressed, ours, peer, plain_copies, tmt_dq
from benchmarks.measure import run
from benchmarks.peers import PEERS, Peer
from benchmarks.race import Race, disk_needed, prepare_cache
from benchmarks.report import document, machine_lines

__all__ = ["main"]

_MOST_FOR_ONE_MORE = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; return the exit status."""
    options = _parser().parse_args(arguments)
    folder: Path = options.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Without it, tmt-dq would be compiled anew in each run where it is installed as editable.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    peers = _peers(folder) if options.peers else []
    cache = folder / "cache"
    contenders = [*plain_copies(), *ours(cache), *(peer(p, folder) for p in peers)]
    if options.compressed:
        contenders += compressed(cache)
    if options.only:
        contenders = [c for c in contenders if any(word in c.name for word in options.only)]
    problem = _disk_problem(folder, disk_needed(options.groups, options.size, contenders))
    if problem:
        print(problem, file=sys.stderr)
        return 1
    results = _results(options, folder, peers)
    print(machine_lines(results["machine"]), flush=True)
    for groups in options.groups:
        race = Race(
            folder, groups, contenders, cache, size=options.size, patience_s=options.patience
        )
        try:
            race.prepare()
            _add(results["lanes"], [lane.as_dict() for lane in race.go(options.runs)])
            if options.small and groups == min(options.groups):
                results["small"] |= _start_up(folder, cache, options.runs)
            if options.small and groups <= _MOST_FOR_ONE_MORE:
                results["small"] |= _one_more(folder, race.ramp, groups, cache, options.runs)
        finally:
            if not options.keep:
                race.clean()
        options.json.write_text(json.dumps(results, indent=1))
    print(f"\n{document(results)}\n\nraw results: {options.json}")
    if options.plot is not None:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.plot", options.json, options.plot], check=True
        )
    return 1 if any(lane["note"].startswith("failed") for lane in results["lanes"]) else 0


def _results(options: argparse.Namespace, folder: Path, peers: Sequence[Peer]) -> dict[str, Any]:
    """Return the results to add to: of before, or none yet."""
    before: dict[str, Any] = {"lanes": [], "small": {}}
    if options.add and options.json.is_file():
        before = json.loads(options.json.read_text())
    return before | {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(folder),
        "packages": before.get("packages", {})
        | {
            "tmt-dq": machine.packages(
                Path(sys.executable), ("tmt-dq", "numpy", "astropy", "crds", "stpipe")
            ),
            **{p.name: machine.packages(p.python(folder), p.packages) for p in peers},
        },
    }


def _add(lanes: list[dict[str, Any]], new: Sequence[dict[str, Any]]) -> None:
    """Add results; they take the place of those of the same contender and length."""
    done = {(lane["name"], lane["groups"]) for lane in new}
    lanes[:] = [lane for lane in lanes if (lane["name"], lane["groups"]) not in done]
    lanes += new


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Measure tmt-dq against cp and its peers.",
    )
    parser.add_argument("--peers", action="store_true", help="race jwst and romancal too")
    parser.add_argument(
        "--compressed", action="store_true", help="compressed ramps too (.fits.gz, .fits.fz)"
    )
    parser.add_argument(
        "--groups", type=int, nargs="+", default=[10, 40], help="reads of the ramps"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[4096, 4096],
        metavar=("NY", "NX"),
        help="pixels of a read [4096 4096]; smaller ones are subarrays, to try the benchmark out",
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds [5]")
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how long, for each length of ramp, to wait until nobody else uses the machine, and "
        "to repeat disturbed runs [0]",
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", help="contenders with these words")
    parser.add_argument("--dir", type=Path, default=Path(".bench"), help="working folder [.bench]")
    parser.add_argument("--json", type=Path, default=Path(".bench/results.json"))
    parser.add_argument(
        "--add", action="store_true", help="add to the results in --json, replacing what is new"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw time and memory over reads")
    parser.add_argument("--keep", action="store_true", help="leave the ramps on the disk")
    parser.add_argument(
        "--no-small",
        dest="small",
        action="store_false",
        help="leave out --help, the small subarray and the cost of one more file",
    )
    return parser


def _peers(folder: Path) -> list[Peer]:
    found = []
    for which in PEERS:
        missing = which.build(folder)
        if missing:
            print(missing, file=sys.stderr)
        else:
            found.append(which)
    return found


def _disk_problem(folder: Path, need: int) -> str | None:
    free = shutil.disk_usage(folder).free
    print(
        f"needs {need / 1e9:.1f} GB of disk in {folder}; {free / 1e9:.1f} GB are free", flush=True
    )
    return None if need < free else "Not enough disk: choose fewer --groups or another --dir."


def _start_up(folder: Path, cache: Path, runs: int) -> dict[str, list[float]]:
    """Measure what a process costs that has next to nothing to do."""
    env = {"TMT_DQ_CACHE_DIR": str(cache.resolve())}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        subarray, output = Path(place, "subarray.fits"), Path(place, "output.fits")
        make = [sys.executable, "-m", "benchmarks.ramps", str(subarray), "--groups", "2"]
        subprocess.run([*make, "--size", "64", "64"], check=True)
        prepare_cache(cache, subarray)
        apply = [*tmt_dq(), "apply", "--quiet", str(subarray), "-o", str(output)]
        commands: dict[str, list[str]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import numpy, astropy.io.fits'": [
                *(sys.executable, "-c", "import numpy, astropy.io.fits")
            ],
            "python -c 'import crds'": [sys.executable, "-c", "import crds"],
            "tmt-dq --help": [*tmt_dq(), "--help"],
            "tmt-dq apply of a 64 × 64 subarray": apply,
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(2 * runs):
            for name, command in commands.items():
                output.unlink(missing_ok=True)
                seconds[name].append(run(command, env=env).wall_s)
    return seconds


def _one_more(
    folder: Path, ramp: Path, groups: int, cache: Path, runs: int
) -> dict[str, list[float]]:
    """Measure what one more file costs a process that has done one."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.marginal", ramp, name, f"{runs}"],
            env={**os.environ, "TMT_DQ_CACHE_DIR": str(cache.resolve())},
            capture_output=True,
            text=True,
            check=True,
        )
    return {
        f"one more file of {groups} reads: {way}": seconds
        for way, seconds in json.loads(answer.stdout).items()
    }


if __name__ == "__main__":
    sys.exit(main())
