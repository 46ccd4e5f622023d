"""The benchmarks, each run once on little data, so that they cannot rot; nothing is timed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from benchmarks import cases, contenders, measure, micro, plot, race, ramps, report
from benchmarks.check import stored_bytes
from benchmarks.peers import PEERS

ROOT = Path(__file__).parents[1]

USAGE = {
    "wall_s": 2.0,
    "user_s": 0.5,
    "system_s": 0.25,
    "peak_rss_bytes": 10**8,
    "read_bytes": 10**9,
    "written_bytes": 10**9,
    "disk_read_bytes": 0,
    "disk_written_bytes": 10**9,
    "others_s": 0.5,
}


def lane(name: str, *seconds: float, groups: int = 10, note: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "groups": groups,
        "runs": [{**USAGE, "wall_s": second} for second in seconds],
        "stored_bytes": 10**9,
        "size_bytes": 10**9,
        "checks": {},
        "note": note,
    }


@pytest.mark.parametrize("name", sorted(micro.names()))
def test_case_runs(name: str) -> None:
    result = micro.measure(name, 64, 1)
    assert result["name"] == name
    assert len(result["seconds"]) == 1


@pytest.mark.parametrize("case", [cases.Combine, cases.Translate, cases.Count])
def test_case_and_its_reference_agree(case: type) -> None:
    subject = case()
    subject.setup(64)
    results = [getattr(subject, method)(64) for method in vars(case) if method.startswith("time_")]
    if case is cases.Count:
        assert sorted(number for name, number in results[0].items() if name != "GOOD") == sorted(
            number for number in results[1] if number
        )
    elif case is cases.Translate:
        np.testing.assert_array_equal(*results)
    else:
        np.testing.assert_array_equal(subject.pixeldq, subject.mask)


def test_process_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = (
        "import sys, time; time.sleep(0.05); block = b'x' * 50_000_000;"
        "open(sys.argv[1], 'wb').write(block)"
    )
    usage = measure.run([sys.executable, "-c", code, str(target)])
    assert usage.wall_s >= 0.05
    assert usage.peak_rss_bytes > 50_000_000
    assert usage.written_bytes >= 50_000_000
    assert usage.user_s + usage.system_s < usage.wall_s


def test_failing_process_is_reported_with_its_output(tmp_path: Path) -> None:
    code = "raise SystemExit('it broke')"
    with pytest.raises(RuntimeError, match="it broke"):
        measure.run([sys.executable, "-c", code], log=tmp_path / "log")


def test_spread() -> None:
    assert measure.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(("shape", "subarray"), [((8, 16), "CUSTOM"), ((4096, 4096), "FULL")])
def test_simulated_ramp_is_what_it_says(
    tmp_path: Path, shape: tuple[int, int], subarray: str
) -> None:
    path = tmp_path / "ramp.fits"
    ramps.write_ramp(path, 2, shape=shape)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["SUBARRAY"] == subarray
        sci = hdus["SCI"].data
        assert sci.dtype == np.uint16
        assert sci.shape == (1, 2, *shape)
        np.testing.assert_array_equal(sci[0, 1], ramps.read(1, ramps.noise_plane(shape)))


def test_stored_bytes_are_those_outside_holes(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.write(b"x" * 65536)
        file.truncate(16 * 65536)
        file.seek(8 * 65536)
        file.write(b"y" * 65536)
        file.flush()
        os.fsync(file.fileno())
        assert stored_bytes(file.fileno(), 65536, 15 * 65536) == 65536
        assert stored_bytes(file.fileno(), 9 * 65536, 7 * 65536) == 0
        assert stored_bytes(file.fileno(), 0, 65536) == 65536


def test_table_holds_medians_and_ratios() -> None:
    lanes = [lane("cp", 1.0, 3.0, 2.0), lane("ours", 4.0, 6.0, 5.0), lane("peer", note="not run")]
    lines = report.race_table(lanes, 10).splitlines()
    assert len(lines) == 5
    assert "2.00 s (1.00–3.00)" in lines[2]
    assert "| 2.50 | +3.00 s |" in lines[3]
    assert "not run" in lines[4]
    assert "0.50 in the worst" in report.others_line(lanes)


def test_disk_needed_counts_the_inputs_and_the_largest_output(tmp_path: Path) -> None:
    copy = contenders.plain_copies()[0]
    peer = contenders.peer(PEERS[0], tmp_path)
    read, spare = 4096 * 4096, 2 * 1024**3
    assert race.disk_needed([10, 416], (4096, 4096), [copy]) == 416 * read * (2 + 2) + spare
    assert race.disk_needed([10], (4096, 4096), [copy, peer]) == 10 * read * (2 + 2 + 5) + spare
    # It would not run so long a ramp, so its input is not made.
    assert race.too_large(peer, 10**6) is not None
    assert race.disk_needed([10**6], (2, 2), [copy, peer]) == 10**6 * 4 * (2 + 2) + spare


def test_page_takes_the_tables_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report._BEGIN}\nold\n{report._END}\nafter\n")
    cases_found = [{"name": "A.time_b", "size": 64, "seconds": [0.5], "memory_bytes": 10**6}]
    for _ in range(2):
        report.put_into(page, report.case_table(cases_found))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("| A.time_b | 500.00 ms | 500.00–500.00 ms | 1.0 MB |") == 1
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no"):
        report.put_into(page, "")


def test_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    plot.draw({"lanes": [lane("cp", 1.0), lane("cp", 2.0, groups=20)]}, path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_peer_is_pinned_and_kept_off_the_network(peer: Any, tmp_path: Path) -> None:
    pins = (ROOT / f"benchmarks/peers/{peer.name}.txt").read_text().split()
    assert f"{peer.name}=={peer.version}" in pins
    assert all("==" in pin for pin in pins)
    for kind in ("make", "run"):
        script = peer.script(kind)
        compile(script.read_text(), script, "exec")
    variables = peer.environment(tmp_path)
    assert "serverless" in variables["CRDS_SERVER_URL"]
    assert Path(variables["CRDS_PATH"]).is_relative_to(tmp_path)


def test_whole_benchmark_runs(tmp_path: Path, cache_dir: Path) -> None:
    # The cache is expanded already: only its name is the benchmark's own.
    (tmp_path / "cache").symlink_to(cache_dir)
    results = tmp_path / "results.json"
    arguments = ["--groups", "2", "--size", "64", "64", "--runs", "1"]
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.run", *arguments),
            *("--dir", str(tmp_path), "--json", str(results), "--compressed"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads(results.read_text())
    ours = [lane for lane in found["lanes"] if lane["name"].startswith("tmt-dq")]
    assert {"tmt-dq apply, .fits.gz", "tmt-dq apply, .fits.fz"} < {lane["name"] for lane in ours}
    for measured in ours:
        assert not measured["note"]
        assert measured["checks"]["sci_equal"]
        assert measured["checks"]["pixeldq_is_mask"]
    assert set(found["small"]) >= {"tmt-dq --help", "one more file of 2 reads: apply_dq"}
    assert not (tmp_path / "n2").exists()
