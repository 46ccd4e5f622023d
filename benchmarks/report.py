"""Results as tables, in the form that Markdown takes.

python -m benchmarks.report RESULTS.json [--cases CASES.json] [--into PAGE.md]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import spread

__all__ = [
    "case_table",
    "document",
    "machine_lines",
    "others_line",
    "put_into",
    "race_table",
    "small_table",
    "table",
]

_REFERENCE = "cp"
_PEER = "jwst"
_BEGIN = "<!-- measured -->"
_END = "<!-- end of what was measured -->"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [_line(header, widths)]
    rules = ["-" * width if n == 0 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    lines.append(_line(rules, widths))
    lines += [_line(row, widths) for row in rows]
    return "\n".join(lines)


def race_table(lanes: Sequence[dict[str, Any]], groups: int) -> str:
    """Return the table of one length of ramp."""
    chosen = [lane for lane in lanes if lane["groups"] == groups]
    reference = next((lane for lane in chosen if lane["name"] == _REFERENCE and lane["runs"]), None)
    cp = None if reference is None else spread(_values(reference, "wall_s"))[0]
    rival = next((lane for lane in chosen if lane["name"].startswith(_PEER) and lane["runs"]), None)
    jwst = None if rival is None else spread(_values(rival, "wall_s"))[0]
    header = (
        f"{groups} reads",
        "wall (range)",
        "÷ cp",
        "− cp",
        "jwst ÷",
        "CPU",
        "peak memory",
        "read",
        "written",
        "output on disk",
        "GROUPDQ on disk",
    )
    return table(header, [_race_row(lane, cp, jwst) for lane in chosen])


def document(
    results: dict[str, Any],
    cases: Sequence[dict[str, Any]] = (),
    groups: Sequence[int] = (),
) -> str:
    """Return all tables, and where they were measured, as Markdown.

    Parameters
    ----------
    results : dict
        As `benchmarks.run` writes them.
    cases : sequence of dict
        As `benchmarks.micro` writes them.
    groups : sequence of int
        The lengths to show; all if there are none.
    """
    lines = [f"Measured {results['date'][:10]} on {machine_lines(results['machine'])}."]
    lines.append(others_line(results["lanes"]))
    for name, versions in results["packages"].items():
        listing = ", ".join(f"{package} {version}" for package, version in versions.items())
        lines.append(f"\n{name}: {listing}." if name == "tmt-dq" else f"{name}: {listing}.")
    lengths = groups or sorted({lane["groups"] for lane in results["lanes"]})
    lines += [f"\n{race_table(results['lanes'], length)}" for length in lengths]
    if results["small"]:
        lines.append(f"\n{small_table(results['small'])}")
    if cases:
        lines.append(f"\n{case_table(cases)}")
    return "\n".join(lines)


def case_table(cases: Sequence[dict[str, Any]]) -> str:
    """Return the table of the cases in memory."""
    rows = []
    for case in cases:
        middle, least, most = (1e3 * value for value in spread(case["seconds"]))
        memory = f"{case['memory_bytes'] / 1e6:.1f} MB"
        rows.append((case["name"], f"{middle:.2f} ms", f"{least:.2f}–{most:.2f} ms", memory))
    size = cases[0]["size"]
    return table((f"{size} × {size}", "median", "range", "memory"), rows)


def put_into(page: Path, text: str) -> None:
    """Replace what a page has between its two marks."""
    head, _, rest = page.read_text().partition(_BEGIN)
    _, mark, tail = rest.partition(_END)
    if not mark:
        raise ValueError(f"{page} has no {_BEGIN} … {_END}")
    page.write_text(f"{head}{_BEGIN}\n\n{text}\n\n{_END}{tail}")


def main() -> None:
    """Print the tables of results, or put them into a page."""
    parser = argparse.ArgumentParser(description="Show results as tables.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--cases", type=Path, help="results of benchmarks.micro")
    parser.add_argument("--groups", type=int, nargs="+", default=(), help="lengths to show [all]")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace the tables of a page")
    options = parser.parse_args()
    cases = () if options.cases is None else json.loads(options.cases.read_text())
    text = document(json.loads(options.results.read_text()), cases, options.groups)
    if options.into is None:
        print(text)
    else:
        put_into(options.into, text)


def _race_row(lane: dict[str, Any], cp: float | None, jwst: float | None) -> tuple[str, ...]:
    if lane["note"] or not lane["runs"]:
        return (lane["name"], lane["note"], *[""] * 9)
    middle, least, most = spread(_values(lane, "wall_s"))
    groupdq = lane["checks"].get("groupdq_stored_bytes")
    cpu = spread([run["user_s"] + run["system_s"] for run in lane["runs"]])[0]
    return (
        lane["name"],
        f"{middle:.2f} s ({least:.2f}–{most:.2f})",
        "" if cp is None else f"{middle / cp:.2f}",
        "" if cp is None else f"{middle - cp:+.2f} s",
        "" if jwst is None else f"{jwst / middle:.1f}",
        f"{cpu:.2f} s",
        f"{max(_values(lane, 'peak_rss_bytes')) / 1e6:.0f} MB",
        _bytes(spread(_values(lane, "read_bytes"))[0]),
        _bytes(spread(_values(lane, "written_bytes"))[0]),
        _bytes(lane["stored_bytes"]),
        "" if groupdq is None else _bytes(groupdq),
    )


def others_line(lanes: Sequence[dict[str, Any]]) -> str:
    """Say how much others used the machine during the runs."""
    shares = [run["others_s"] / run["wall_s"] for lane in lanes for run in lane["runs"]]
    if not shares:
        return ""
    middle, _, most = spread(shares)
    return f"Others used {middle:.2f} of a core in the median run, {most:.2f} in the worst."


def small_table(results: dict[str, list[float]]) -> str:
    """Return a table of named lists of seconds."""
    rows = []
    for name, values in results.items():
        middle, least, most = spread(values)
        rows.append((name, f"{middle:.3f} s", f"{least:.3f}–{most:.3f} s"))
    return table(("", "median", "range"), rows)


def machine_lines(machine: dict[str, Any]) -> str:
    """Return where the measurement was made, in a line or two."""
    load = ", ".join(f"{value:.1f}" for value in machine["load_average"])
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_bytes'] / 1e9:.0f} GB of "
        f"memory, {machine['kernel']}, {machine['file_system']}, Python {machine['python']}; load "
        f"average at the start {load}"
    )


def _values(lane: dict[str, Any], name: str) -> list[float]:
    return [run[name] for run in lane["runs"]]


def _bytes(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


if __name__ == "__main__":
    main()
