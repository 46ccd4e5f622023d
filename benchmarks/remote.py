"""Time and peak memory of inputs and outputs in an S3 store: python -m benchmarks.remote.

The store is moto's server on loopback, on this machine's own disk and cores: what
is measured is tmt-dq against fsspec's plain ``get`` and ``put`` of the same bytes, not a network.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import measure

_SERVER = Path(__file__).parent.parent / "tests" / "s3_server.py"
_COPY = """
import sys, fsspec
fs = fsspec.filesystem("s3")
getattr(fs, sys.argv[1])(sys.argv[2], sys.argv[3])
"""
_BUCKET = "import fsspec; fsspec.filesystem('s3').mkdir('bench')"
_FORGET = "import sys, fsspec; fsspec.filesystem('s3').rm(sys.argv[1])"


@contextmanager
def store() -> Iterator[dict[str, str]]:
    """Start a store; yield the variables that lead to it."""
    with subprocess.Popen(
        [sys.executable, _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            port = int(process.stdout.readline())
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "bench",
                "AWS_DEFAULT_REGION": "us-east-1",
                # moto puts the parts of a large object together for longer than s3fs waits.
                "FSSPEC_S3": json.dumps({"config_kwargs": {"read_timeout": 600}}),
            }
        finally:
            process.stdin.close()
            process.wait()


def compare(ngroups: int, size: int, folder: Path, env: dict[str, str]) -> list[dict[str, object]]:
    """Measure all ways for a ramp of so many reads."""
    ramp, out = folder / "ramp.fits", folder / "out.fits"
    ramps = ["-m", "benchmarks.ramps", str(ramp), "--groups", str(ngroups), "--size"]
    subprocess.run([sys.executable, *ramps, str(size), str(size)], check=True)
    here, there, made = str(ramp), "s3://bench/ramp.fits", "s3://bench/out.fits"
    apply = [sys.executable, "-m", "tmt_dq", "apply", "--quiet"]
    ways: dict[str, list[str]] = {
        "fsspec put": [sys.executable, "-c", _COPY, "put_file", here, "bench/ramp.fits"],
        "fsspec get": [sys.executable, "-c", _COPY, "get_file", "bench/ramp.fits", str(out)],
        "select": [sys.executable, "-m", "tmt_dq", "select", there],
        "apply s3 to disk": [*apply, there, "-o", str(out)],
        "apply disk to s3": [*apply, here, "-o", made],
        "apply s3 to s3": [*apply, there, "-o", made],
    }
    rows: list[dict[str, object]] = []
    for name, command in ways.items():
        usage = measure.run(command, env=env, log=folder / "log")
        read = ramp.stat().st_size
        rows.append(
            {
                "way": name,
                "reads": ngroups,
                "wall_s": round(usage.wall_s, 2),
                "peak_mb": round(usage.peak_rss_bytes / 1e6),
                "ramp_mb_per_s": round(read / 1e6 / usage.wall_s),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
        out.unlink(missing_ok=True)
        if made in command:
            subprocess.run(
                [sys.executable, "-c", _FORGET, made], check=True, env={**os.environ, **env}
            )
    ramp.unlink()
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, nargs="+", default=[10, 40, 80])
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args()
    for ngroups in options.reads:
        with store() as env, tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-c", _BUCKET], check=True, env={**os.environ, **env})
            compare(ngroups, options.size, Path(folder), env)


if __name__ == "__main__":
    main()
