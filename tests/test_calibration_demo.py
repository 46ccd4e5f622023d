"""The demo of darks and flats tells its story to the end, and finds the truth."""

import json
from pathlib import Path

import pytest

from builders import CONVENTION, arrays, invoke
from tmt_dq import calibration_demo
from tmt_dq.core.geometry import Window


def test_the_demo_makes_delivers_and_applies_a_mask(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_demo, "_SIZE", 96)
    monkeypatch.setattr(calibration_demo, "_ZOOM", Window(10, 10, 48, 48))
    done = invoke("demo", "--calibrations", "--output-dir", folder / "demo", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    files = {name: Path(path) for name, path in report["files"].items()}
    assert all(path.exists() for path in files.values())
    assert arrays(files["flagged ramp"])["PIXELDQ"].any()
    rows = {row["flag"]: row for row in report["truth"]}
    for flag in ("DEAD", "LOW_QE", "OPEN", "HOT"):
        assert rows[flag]["planted"] == rows[flag]["found"] != "0"
    assert rows["DEAD"]["in good pixels"] == "0"
    # Inverse RC has no flag of its own.
    assert rows["OTHER_BAD_PIXEL"]["planted"] != "0"
    assert set(rows) <= set(CONVENTION)
