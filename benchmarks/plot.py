"""Time and memory over the number of reads: python -m benchmarks.plot RESULTS.json FILE."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.contenders import COMPRESSED
from benchmarks.measure import spread

__all__ = ["draw"]


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the results of a race.

    Parameters
    ----------
    results : dict
        As `benchmarks.run` writes them.
    path : Path
        The picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (time, memory) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    # Compressed ramps have a table only: they are about what expanding costs.
    names = dict.fromkeys(
        lane["name"]
        for lane in results["lanes"]
        if lane["runs"] and not lane["name"].startswith("gzip")
        if not lane["name"].endswith(COMPRESSED)
    )
    for name in names:
        lanes = [lane for lane in results["lanes"] if lane["name"] == name and lane["runs"]]
        lanes.sort(key=lambda lane: lane["groups"])
        reads = [lane["groups"] for lane in lanes]
        walls = [spread([run["wall_s"] for run in lane["runs"]]) for lane in lanes]
        middle = [wall[0] for wall in walls]
        bars = [[m - low for m, low, _ in walls], [high - m for m, _, high in walls]]
        line = time.errorbar(reads, middle, bars, marker="o", markersize=4, capsize=2, label=name)
        peak = [max(run["peak_rss_bytes"] for run in lane["runs"]) / 1e6 for lane in lanes]
        memory.plot(reads, peak, marker="o", markersize=4, color=line[0].get_color())
    for axes, label in ((time, "wall time (s)"), (memory, "peak resident memory (MB)")):
        axes.set(xscale="log", yscale="log", xlabel="reads of 4096 × 4096 uint16", ylabel=label)
        ticks = sorted({lane["groups"] for lane in results["lanes"]})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    draw(json.loads(source.read_text()), target)
