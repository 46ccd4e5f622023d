"""`tmt-dq doctor`: what would be used, where it comes from, what is wrong; and what is logged."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import folder_state, invoke, make_mask, make_ramp
from reference_helpers import make_cache
from tmt_dq import __version__


def diagnose(*words: object, code: int = 0) -> dict[str, Any]:
    outcome = invoke("doctor", "--json", *words, code=code)
    document: dict[str, Any] = json.loads(outcome.out)
    return document


def test_nothing_is_wrong(cache_dir: Path) -> None:
    found = diagnose()
    assert found["versions"]["tmt-dq"] == __version__
    assert found["versions"]["numpy"] == np.__version__
    assert Path(str(found["rules"]["cache"])).is_relative_to(cache_dir)
    assert found["rules"]["cache_from"] == "comes with tmt-dq"
    assert found["rules"]["context"] == "tmt_0100.pmap"
    assert found["variables"]["TMT_DQ_CACHE_DIR"] == str(cache_dir)
    assert (found["errors"], found["remarks"]) == ([], [])
    text = invoke("doctor")
    assert (text.code, text.err) == (0, "")
    for part in ("tmt_0100.pmap", "newest of the cache", f"numpy         {np.__version__}"):
        assert part in text.out


def test_where_cache_and_context_come_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make_cache(folder / "cache")
    monkeypatch.setenv("CRDS_PATH", str(folder / "of jwst"))
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_1000.pmap")
    assert "of jwst" in str(diagnose(code=2)["errors"])
    monkeypatch.setenv("TMT_DQ_CRDS_PATH", str(cache))
    monkeypatch.setenv("TMT_DQ_CRDS_CONTEXT", "tmt_0001.pmap")
    rules = diagnose()["rules"]
    assert rules == {
        "cache": str(cache),
        "cache_from": "TMT_DQ_CRDS_PATH",
        "context": "tmt_0001.pmap",
        "context_from": "TMT_DQ_CRDS_CONTEXT",
    }
    rules = diagnose("--crds-path", cache, "--context", "latest")["rules"]
    assert (rules["cache_from"], rules["context_from"]) == ("--crds-path", "--context")


def test_what_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("TMT_DQ_CRDS_PATH", str(make_cache(folder / "cache")))
    monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(folder / "file" / "below"))
    monkeypatch.setenv("TMT_DQ_CRDSPATH", "misspelt")
    monkeypatch.setenv("CRDS_PASSWORD", "hunter2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "s3fs" else name)
    outcome = invoke("doctor", code=0)
    assert "TMT_DQ_CRDSPATH is no variable of tmt-dq" in outcome.err
    assert "below (cannot be written); check its permissions" in outcome.err
    assert "no s3fs" in outcome.out
    assert "hunter2" not in outcome.out


def test_verbose_shows_what_was_chosen(folder: Path) -> None:
    ramp = make_ramp(folder / "ramp_uncal.fits")
    assert invoke("select", ramp).err == ""
    chosen = "tmt_0100.pmap selects tmt_iris_mask_0101.fits"
    once = invoke("select", ramp, "-v").err
    assert chosen in once
    assert "DETECTOR" not in once
    twice = invoke("-vv", "select", ramp).err
    assert chosen in twice
    assert "DETECTOR" in twice
    assert invoke("select", ramp).err == ""


def test_log_file(folder: Path) -> None:
    ramp, mask = make_ramp(folder / "a_uncal.fits"), make_mask(folder / "mask.fits")
    log = folder / "night.log"
    words = ("apply", ramp, "--mask", mask, "--log-file", log, "-q")
    done = invoke(*words)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert invoke(*words).code == 10
    lines = log.read_text().splitlines()
    assert all(
        re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ tmt_dq\.", line) for line in lines
    )
    assert str(folder / "a_dqinit.fits") in lines[0]
    assert " INFO tmt_dq.apply.apply: " in lines[0]
    assert " ERROR " in lines[-1]
    assert lines[-1].endswith("a_dqinit.fits: already exists")


def test_log_file_of_a_batch(folder: Path) -> None:
    ramp, mask = make_ramp(folder / "a_uncal.fits"), make_mask(folder / "mask.fits")
    log = folder / "night.log"
    words = ("--output-dir", folder / "out", "--mask", mask, "--jobs", 1, "--log-file", log)
    assert invoke("batch", ramp, *words).code == 0
    written = f"{ramp}: COMPLETE, mask {mask}; {folder / 'out' / 'a_dqinit.fits'} written"
    assert f" INFO tmt_dq.batch.run: {written}" in log.read_text()


@pytest.mark.parametrize("name", ["a_uncal.fits", "none/night.log", "."])
def test_a_log_file_that_is_none(folder: Path, name: str) -> None:
    ramp = make_ramp(folder / "a_uncal.fits")
    before = folder_state(folder)
    outcome = invoke("apply", ramp, "--log-file", folder / name, code=10)
    assert str(folder / name) in outcome.err
    assert folder_state(folder) == before
