"""What one more file costs a process that has done one already; prints JSON.

Imports, the CRDS rules and the mask are warm, as they are for all files but the first of a night.

python -m benchmarks.marginal RAMP FOLDER RUNS
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["measure"]


def measure(ramp: Path, folder: Path, runs: int) -> dict[str, list[float]]:
    """Time `apply_dq` and ``cp`` in turns.

    Returns
    -------
    dict of str to list of float
        Seconds of each.
    """
    from tmt_dq.apply.apply import apply_dq

    output = folder / "marginal.fits"
    copy = ["cp", str(ramp), str(output)]
    ways: dict[str, Callable[[], object]] = {
        "cp": lambda: subprocess.run(copy, check=True),
        "cp, then sync": lambda: (
            subprocess.run(copy, check=True),
            subprocess.run(["sync", str(output)], check=True),
        ),
        "apply_dq": lambda: apply_dq(ramp, output),
        "apply_dq(sync=False)": lambda: apply_dq(ramp, output, sync=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(runs + 1):
        for name, way in ways.items():
            output.unlink(missing_ok=True)
            os.sync()
            start = time.perf_counter()
            way()
            # The first round warms up.
            if number:
                seconds[name].append(time.perf_counter() - start)
    output.unlink()
    return seconds


if __name__ == "__main__":
    source, target, count = sys.argv[1:]
    print(json.dumps(measure(Path(source), Path(target), int(count))))
