"""Runs each benchmark once on little data, so that none breaks unnoticed; nothing is timed."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--groups", "2", "--size", "64", "64", "--runs", "1")


def run(module: str, *arguments: str | Path) -> None:
    """Run a module of the benchmarks; end with what it printed if it fails."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"{answer.stdout}{answer.stderr}\nbenchmarks.{module}: exit {answer.returncode}")


def main() -> None:
    """Run the race of processes, the cases in memory and a mask; check what the race wrote."""
    with tempfile.TemporaryDirectory(prefix="tmt-dq-benchmarks-") as folder:
        results = Path(folder, "results.json")
        plot = ("--plot", Path(folder, "plot.png"))
        run("run", *SMALL, "--compressed", "--dir", folder, "--json", results, *plot)
        lanes = [lane for lane in json.loads(results.read_text())["lanes"] if lane["checks"]]
    run("micro", "--size", "64", "--repeat", "1")
    run("make_cost", "--size", "64", "--darks", "6", "--reads", "12")
    wrong = [
        f"{lane['name']}: {lane['checks']}"
        for lane in lanes
        if not lane["checks"]["sci_equal"] or not lane["checks"]["pixeldq_is_mask"]
    ]
    if wrong or not lanes:
        sys.exit("\n".join(["The outputs of the benchmarks are wrong:", *wrong]))
    print(f"the benchmarks run, and the outputs of {len(lanes)} contenders are right")


if __name__ == "__main__":
    main()
