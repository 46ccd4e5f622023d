"""What the facade refuses, and how it says so."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders import make_mask, make_ramp
from reference_helpers import exposure, make_cache, rmap_text
from tmt_dq.errors import ConfigError, RampFormatError, SelectionError, TmtDqError
from tmt_dq.references import select_reference

MASK = "references/tmt/iris/tmt_iris_mask_0001.fits"


def refused(
    error: type[TmtDqError], *words: str, header: dict[str, object] | None = None, **options: Any
) -> None:
    """Select, expect an error that holds all words and a hint."""
    with pytest.raises(error) as caught:
        select_reference(exposure() if header is None else header, **options)
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert caught.value.hint


DATES = ("2026-5-1", "01/05/2026", "2026-02-30", "20260501", "2026-05-01T10", "")
TIMES = ("10:11", "10.11.12", "10:11:12Z", "")
WRONG: list[Any] = [
    *(
        ({"DETECTOR": name}, SelectionError, ("IRIS4/IMG4",))
        for name in ("N/A", "ANY", "*", "", "any", " n/a ", "UNDEFINED")
    ),
    *(
        ({"DETECTOR": name}, SelectionError, (name, "IFU"))
        for name in ("IRIS9", "NOT APPLICABLE", "IRIS1|IRIS2", "IRIS*", "1")
    ),
    *(
        ({key: None}, RampFormatError, (key, "missing"))
        for key in ("INSTRUME", "DETECTOR", "DATE-OBS", "TIME-OBS")
    ),
    *(({"DATE-OBS": date}, RampFormatError, ("DATE-OBS", "YYYY-MM-DD")) for date in DATES),
    *(({"TIME-OBS": time}, RampFormatError, ("TIME-OBS", "hh:mm:ss")) for time in TIMES),
    *(
        ({"TIME-OBS": time}, RampFormatError, (time,))
        for time in ("25:00:00", "12:00:60", "23:59:61", "24:00:00")
    ),
]


class TestExposure:
    @pytest.mark.parametrize(("changes", "error", "words"), WRONG, ids=str)
    def test_wrong_keywords(
        self,
        tmp_path: Path,
        changes: dict[str, object],
        error: type[TmtDqError],
        words: tuple[str, ...],
    ) -> None:
        cache, header = make_cache(tmp_path), exposure(**changes)
        refused(error, "r.fits", *words, header=header, crds_path=cache, where="r.fits")

    def test_leap_seconds_belong_to_their_day(self, tmp_path: Path) -> None:
        """FITS 4.0, 9.1.1: 60 ≤ ss < 61 in UTC. The first rule begins on 2015-10-01, 0:00."""
        cache = make_cache(tmp_path)
        header = exposure(DATE_OBS="2016-12-31", TIME_OBS="23:59:60.62")
        assert select_reference(header, crds_path=cache).name == "tmt_iris_mask_0001.fits"
        header = exposure(DATE_OBS="2015-09-30T23:59:60.9", TIME_OBS="")
        refused(SelectionError, "2015-09-30 23:59:59", header=header, crds_path=cache)

    @pytest.mark.parametrize(
        ("date", "time"),
        [
            ("2026-05-01T10:11:12.3", "  "),
            ("2015-10-01T00:00:00", None),
            ("2026-05-01T10:11:12.345678901", None),
        ],
    )
    def test_date_and_time_in_one(self, tmp_path: Path, date: str, time: str | None) -> None:
        header = exposure(DATE_OBS=date, TIME_OBS=time)
        assert select_reference(header, crds_path=make_cache(tmp_path)).name

    def test_a_time_that_contradicts(self, tmp_path: Path) -> None:
        header = exposure(DATE_OBS="2026-05-01T10:11:12.3", TIME_OBS="10:11:13")
        refused(RampFormatError, "10:11:12.3", "10:11:13", header=header)
        header["TIME-OBS"] = "10:11:12"
        assert select_reference(header, crds_path=make_cache(tmp_path)).name


class TestCacheAndContext:
    def test_a_cache_that_is_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused(ConfigError, str(tmp_path / "no"), crds_path=tmp_path / "no")
        monkeypatch.setenv("CRDS_PATH", str(tmp_path / "nope"))
        refused(ConfigError, "CRDS_PATH", str(tmp_path / "nope"))
        refused(ConfigError, "''", crds_path="")

    def test_a_cache_without_rules(self, tmp_path: Path) -> None:
        (tmp_path / "mappings/jwst").mkdir(parents=True)
        words = ("tmt", str(tmp_path / "mappings/tmt"), "TMT_DQ_CRDS_PATH")
        refused(ConfigError, *words, crds_path=tmp_path)
        (tmp_path / "mappings/tmt").mkdir(parents=True)
        refused(SelectionError, str(tmp_path), ".pmap", crds_path=tmp_path)

    @pytest.mark.parametrize(
        "context",
        ["build", "tmt-edit", "tmt_iris_0001.imap", "../tmt_0001.pmap", "jwst_1241.pmap", ""],
    )
    def test_contexts_that_make_no_sense(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: Any
    ) -> None:
        cache = make_cache(tmp_path)
        refused(ConfigError, repr(context), "tmt_0001.pmap", crds_path=cache, context=context)
        if context:
            monkeypatch.setenv("CRDS_CONTEXT", context)
            refused(ConfigError, "CRDS_CONTEXT", crds_path=cache)

    def test_files_that_are_not_there(self, tmp_path: Path) -> None:
        cache = make_cache(tmp_path)
        mappings = cache / "mappings/tmt"
        words = ("tmt_0077.pmap", "tmt_0001.pmap", str(mappings))
        refused(SelectionError, *words, crds_path=cache, context="tmt_0077.pmap")
        for name in ("tmt_iris_mask_0001.rmap", "tmt_iris_0001.imap"):
            (mappings / name).unlink()
            refused(SelectionError, str(mappings / name), crds_path=cache)
        (mappings / "tmt_iris_0001.imap").mkdir()
        refused(SelectionError, "tmt_iris_0001.imap", "cannot be read", crds_path=cache)

    @pytest.mark.parametrize("text", ["", "{", "[1]", "exit()"])
    def test_a_server_config_that_is_damaged(self, tmp_path: Path, text: Any) -> None:
        cache = make_cache(tmp_path, config=text)
        refused(SelectionError, str(cache / "config/tmt/server_config"), crds_path=cache)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"pmap": "{'WFOS' : 'tmt_wfos_0001.imap'}"}, ("IRIS", "WFOS", "tmt_0001.pmap")),
            ({"imap": "{'DARK' : 'tmt_iris_dark_0001.rmap'}"}, ("MASK", "DARK", ".imap")),
            ({"rmap": rmap_text(filekind="DARK")}, ("filekind", "DARK", ".rmap")),
            ({"rmap": rmap_text(instrument="WFOS")}, ("instrument", "WFOS", ".rmap")),
            ({"rmap": rmap_text(observatory="JWST")}, ("observatory", "JWST", ".rmap")),
        ],
    )
    def test_rules_for_something_else(
        self, tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
    ) -> None:
        refused(SelectionError, *words, crds_path=make_cache(tmp_path, **changes))


class TestClosedFolders:
    """A folder that may not be entered is an error, never another context, mask or cache."""

    @pytest.mark.parametrize(
        "closed",
        [".", "mappings", "mappings/tmt", "config", "config/tmt", "references", "references/tmt"],
    )
    def test_select(self, tmp_path: Path, closed: str) -> None:
        config = "{'latest_context': 'tmt_0001.pmap'}"
        contexts = ("tmt_0001.pmap", "tmt_0002.pmap")
        cache = make_cache(tmp_path / "cache", contexts=contexts, config=config)
        ramp = make_ramp(tmp_path / "ramp.fits")
        (cache / closed).chmod(0)
        try:
            done = as_a_stranger("-m", "tmt_dq", "select", ramp, "--crds-path", cache)
        finally:
            (cache / closed).chmod(0o755)
        assert done.returncode in (2, 6), done.stderr
        assert "Permission denied" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize(
        "words", [("certify",), ("make", "--detector", "IRIS1", "--dry-run", "--darks")]
    )
    def test_input(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0)
        try:
            done = as_a_stranger("-m", "tmt_dq", *words, folder / "file.fits")
        finally:
            folder.chmod(0o755)
        assert done.returncode in (3, 4), done.stderr
        assert "permission" in done.stderr.lower()
        assert "Traceback" not in done.stderr

    def test_a_mask_of_the_past(self, tmp_path: Path) -> None:
        """It may be of the detector that is asked about: it is shown as what cannot be read."""
        cache = make_cache(tmp_path / "cache")
        closed = (cache / MASK).with_name("tmt_iris_mask_0777.fits")
        make_mask(closed).chmod(0)
        mask = make_mask(tmp_path / "mask.fits")
        words = ("explain", mask, "--pixel", "1,1", "--crds-path", cache)
        done = as_a_stranger("-m", "tmt_dq", *words)
        assert done.returncode == 0, done.stderr
        assert "tmt_iris_mask_0777.fits  cannot be read: Permission denied" in done.stdout

    @pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
    def test_paths_that_no_file_has(self, tmp_path: Path, name: str) -> None:
        refused(ConfigError, "cannot be used", crds_path=tmp_path / name)


def as_a_stranger(*words: object) -> subprocess.CompletedProcess[str]:
    """Run Python without root's power over permissions."""
    command = [sys.executable, *map(str, words)]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read everything; setpriv (util-linux) would drop that power")
        command = [setpriv, "--inh-caps=-all", "--bounding-set=-all", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class TestReferenceFile:
    def test_not_in_the_cache(self, tmp_path: Path) -> None:
        cache = make_cache(tmp_path, files=[])
        folders = (f"{cache}/references/tmt/iris\n", f"{cache}/references/tmt\n")
        refused(SelectionError, "tmt_iris_mask_0001.fits", *folders, crds_path=cache)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "the file is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7\n", "git lfs pull"),
            (b"<html>404 not found</html>", "not a FITS file"),
            (b"SIMP", "is truncated"),
        ],
    )
    def test_not_a_reference_file(self, tmp_path: Path, content: bytes, words: str) -> None:
        cache = make_cache(tmp_path)
        (cache / MASK).write_bytes(content)
        refused(SelectionError, str(cache / MASK), words, crds_path=cache)

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
    def test_not_a_file(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        cache = make_cache(tmp_path, files=[])
        make(cache / MASK)
        refused(SelectionError, str(cache / MASK), "expected a FITS file", crds_path=cache)

    def test_unreadable(self, tmp_path: Path) -> None:
        cache = make_cache(tmp_path / "cache")
        (cache / MASK).chmod(0)
        ramp = make_ramp(tmp_path / "ramp.fits")
        done = as_a_stranger("-m", "tmt_dq", "select", ramp, "--crds-path", cache)
        assert done.returncode == 6, done.stderr
        assert "cannot be read" in done.stderr
        assert str(cache / MASK) in done.stderr
