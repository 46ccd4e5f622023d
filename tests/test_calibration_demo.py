"""The demo of darks and flats tells its story to the end, and finds the truth."""

import contextlib
from pathlib import Path

import pytest

from builders import CONVENTION, arrays
from tmt_dq import calibration_demo
from tmt_dq.core.geometry import Window


def test_the_demo_makes_delivers_and_applies_a_mask(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_demo, "_SIZE", 96)
    monkeypatch.setattr(calibration_demo, "_ZOOM", Window(10, 10, 48, 48))
    demo = calibration_demo.run_calibration_demo(
        folder / "demo", watch=lambda _name, _size: contextlib.nullcontext()
    )
    assert all(path.exists() for path in demo.files.values())
    assert arrays(demo.flagged)["PIXELDQ"].any()
    rows = {row[0]: dict(zip(demo.found.header, row, strict=True)) for row in demo.found.rows}
    assert set(rows) <= set(CONVENTION)
    for flag in ("DEAD", "LOW_QE", "OPEN", "HOT"):
        assert rows[flag]["planted"] == rows[flag]["found"] != "0"
    assert rows["DEAD"]["in good pixels"] == "0"
    # Inverse RC has no flag of its own.
    assert rows["OTHER_BAD_PIXEL"]["planted"] != "0"
