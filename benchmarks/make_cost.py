"""Time and peak memory of `tmt-dq make`: ``python -m benchmarks.make_cost --size 1024 2048 4096``.

A process of its own makes a mask of 10 darks of 60 reads and 10 flats of 20 reads, noise without
defects. Every second file is another name of the one before, so that half of the disk is enough:
13.4 GB at full size, removed afterwards.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tmt_dq.calibration.simulation import write_exposure


def write_ramp(path: Path, size: int, reads: int, light_dn: float, seed: int) -> None:
    """Write an exposure of a full detector of this size; its frame is a part of IRIS1's."""
    rng = np.random.default_rng(seed)
    cube = np.empty((reads, size, size), np.uint16)
    for read in range(reads):
        noise = rng.standard_normal((size, size), np.float32)
        cube[read] = 5000 + light_dn * read + np.float32(6 + 0.02 * light_dn) * noise
    write_exposure(path, cube, SUBARRAY="FULL" if size == 4096 else "CUSTOM")


def make_files(folder: Path, size: int, darks: int, reads: int) -> None:
    """Write the exposures, each under two names."""
    for kind, count, length, light in (("dark", darks, reads, 0.0), ("flat", 10, 20, 900.0)):
        for number in range(0, count, 2):
            path = folder / f"{kind}_{number:02}.fits"
            write_ramp(path, size, length, light, seed=number + 100 * length)
            os.link(path, folder / f"{kind}_{number + 1:02}.fits")


def measured(folder: Path, size: int, darks: int, reads: int, jobs: int) -> dict[str, Any]:
    """Make a mask in a process of its own; return its report, with what the process took."""
    # In a process of its own: a child's peak is never less than its parent's.
    maker = multiprocessing.get_context("spawn").Process(
        target=make_files, args=(folder, size, darks, reads)
    )
    maker.start()
    maker.join()
    if maker.exitcode:
        sys.exit("the exposures could not be written")
    words = ["make", "--darks", folder / "dark_*.fits", "--flats", folder / "flat_*.fits"]
    words += ["--detector", "IRIS1", "-o", folder / "mask.fits", "--json", "--allow-few"]
    program = Path(sys.executable).with_name("tmt-dq")
    began = time.monotonic()
    with (folder / "report.json").open("w") as out:
        command = [str(program), *map(str, words), "--jobs", str(jobs)]
        process = subprocess.Popen(command, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        sys.exit(f"tmt-dq make ended with status {status}")
    report: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    cpu = used.ru_utime + used.ru_stime
    return report | {"wall": seconds, "cpu": cpu, "peak": used.ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[1024], help="rows and columns")
    parser.add_argument("--darks", type=int, default=10)
    parser.add_argument("--reads", type=int, default=60, help="of a dark")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dir", type=Path, help="folder for the files")
    given = parser.parse_args()
    reports = []
    for size in given.size:
        with tempfile.TemporaryDirectory(dir=given.dir) as name:
            folder = Path(name)
            needed = (given.darks * given.reads + 10 * 20) * size**2  # two bytes, two names a file
            if shutil.disk_usage(folder).free < 1.1 * needed:
                sys.exit(f"{needed / 1e9:.1f} GB of disk are needed in {folder.parent}")
            reports.append(measured(folder, size, given.darks, given.reads, given.jobs))
    print(
        "| frames | reads of a dark | reads of pixels | time | processor | a read of a pixel ",
        end="",
    )
    print("| peak memory | estimated |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for size, one in zip(given.size, reports, strict=True):
        reads = one["cost"]["reads"]
        print(f"| {size} × {size} | {given.reads} | {reads / 1e6:,.0f} million ", end="")
        print(
            f"| {one['wall']:.0f} s | {one['cpu']:.0f} s | {one['cpu'] / reads * 1e9:.0f} ns ",
            end="",
        )
        print(f"| {one['peak'] / 1e9:.2f} GB | {one['cost']['peak_bytes'] / 1e9:.2f} GB |")
    print("\n| finder |" + "".join(f" {size} × {size} |" for size in given.size))
    print("|---|" + "---:|" * len(reports))
    for rows in zip(*(one["finders"] for one in reports), strict=True):
        print(f"| {rows[0]['finder']} |" + "".join(f" {row['seconds']:.2f} s |" for row in rows))


if __name__ == "__main__":
    main()
