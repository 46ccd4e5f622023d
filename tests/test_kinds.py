"""A file of the wrong kind: each verb says what the file is, and which verbs take it."""

from pathlib import Path

import pytest

from builders import invoke, make_mask, make_ramp

MASK = "is a reference file (REFTYPE is MASK), not an exposure"
RAMP = "is an exposure, not a mask"
TEXT = "it is text, which begins with 'x y"
FOLDER = "is a folder; expected a"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_ramp(tmp_path / "ramp.fits")
    make_mask(tmp_path / "mask.fits")
    (tmp_path / "list.txt").write_text("x y\n3 2\n")
    (tmp_path / "night").mkdir()
    make_ramp(tmp_path / "jwst.fits", header={"TELESCOP": "JWST", "INSTRUME": "NIRCAM"})


@pytest.mark.parametrize(
    ("words", "what", "verb"),
    [
        ("apply mask.fits", MASK, "apply --mask"),
        ("apply list.txt", TEXT, "batch @LIST"),
        ("apply night", FOLDER, "batch"),
        ("apply ramp.fits --mask ramp.fits", RAMP, "apply, select, batch"),
        ("apply ramp.fits --mask list.txt", TEXT, "apply --user-dq"),
        ("apply jwst.fits", "is an exposure of JWST; INSTRUME", "Another one needs"),
        ("select mask.fits", MASK, "inspect, diff"),
        ("select list.txt", TEXT, "batch @LIST"),
        ("select night", FOLDER, "batch"),
        ("inspect list.txt", TEXT, "import"),
        ("inspect ramp.fits", "was not initialized", "apply"),
        ("explain list.txt --pixel 1,1", TEXT, "import"),
        ("diff mask.fits list.txt", TEXT, "import"),
        ("combine ramp.fits -o o.fits", RAMP, "apply, select, batch"),
        ("combine list.txt -o o.fits", TEXT, "import"),
        ("import ramp.fits --detector IRIS1 -o o.fits", RAMP, "apply, select, batch"),
        ("import night --detector IRIS1 -o o.fits", FOLDER, "bad pixels"),
        ("certify list.txt", TEXT, "import"),
        ("certify night", FOLDER, ""),
        ("deliver list.txt --create --crds-path cache", TEXT, ""),
        ("deliver ramp.fits --create --crds-path cache", RAMP, ""),
        ("batch list.txt --output-dir out", TEXT, "batch @LIST"),
        ("rollback list.txt", "is not a receipt that can be read: it is not JSON", "deliver"),
        ("rollback mask.fits", "is not a receipt that can be read: it is not JSON", "deliver"),
        ("watch list.txt --output-dir out", "is not a folder", ""),
    ],
)
def test_the_wrong_kind_of_file(words: str, what: str, verb: str) -> None:
    outcome = invoke(*words.split())
    assert 2 <= outcome.code <= 10
    shown = outcome.out + outcome.err
    assert what in shown
    assert verb in shown
    assert not Path("o.fits").exists()
