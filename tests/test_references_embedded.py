"""The cache that comes with the package: what is in it, and how its masks are made."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from builders import failing
from reference_helpers import exposure
from tmt_dq import instruments
from tmt_dq.errors import ConfigError, OutputError, SelectionError
from tmt_dq.references import embedded, select_reference
from tmt_dq.references.rule_files import read_rule_file

MASK = "tmt_iris_mask_0101.fits"
REFERENCE_PIXEL = 2147483648
# Of the masks that are in use: data that name one must find the same bytes in any version.
SHA256 = {
    MASK: "b4bead77f85ce7bac5814d109e1c0ba2f26f9357fdb6be8d75544fd478d4ba8f",
    "tmt_iris_mask_0102.fits": "adbe959024259cb231e3716f2765462780b785150f712b6bc07cf7374608dd33",
    "tmt_iris_mask_0103.fits": "ddcfe254b788f981164aa05afaaa6b7f50aa200a631cecf6662f9af06dc72ef5",
    "tmt_iris_mask_0104.fits": "bea933afd67a84b2482e778bd4a3d567e58e9d708009166e44bf4efd8af46545",
    "tmt_iris_mask_0105.fits": "8c26cdd83c5803005f0d255c7cee085bacea9b4ceab10f6ac5709020cee60781",
}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one mask, once for all tests that look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMT_DQ_CACHE_DIR", str(tmp_path_factory.mktemp("embedded")))
        return embedded.ensure(MASK)


class TestContent:
    def test_every_detector_has_a_mask_by_rules_to_trust(self) -> None:
        rmap = read_rule_file(embedded.DATA / "mappings/tmt/tmt_iris_mask_0100.rmap")
        for detector, name in zip(instruments.load("IRIS").detectors, SHA256, strict=True):
            start = f"('{detector}', 'GENERIC') : UseAfter({{\n        '2015-01-01 00:00:00'"
            assert f"{start} : '{name}'" in rmap.text
        for path in (embedded.DATA / "mappings/tmt").iterdir():
            assert read_rule_file(path).header["name"] == path.name

    def test_the_masks_are_those_that_are_in_use(self, tmp_path: Path) -> None:
        """Whatever the versions of NumPy and astropy."""
        embedded.write_copy(tmp_path / "copy")
        folder = tmp_path / "copy/references/tmt/iris"
        assert {path.name: sha256(path) for path in folder.iterdir()} == SHA256

    def test_it_serves_the_sample_ramp_of_2015(
        self, mask: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(mask.parents[5]))
        header = exposure(DATE_OBS="2015-10-11", TIME_OBS="00:00:00", SUBARRAY=None)
        found = select_reference(header)
        assert (found.context, found.name, found.path) == ("tmt_0100.pmap", MASK, mask)
        with pytest.raises(SelectionError, match="2015-01-01 00:00:00"):
            select_reference(exposure(DATE_OBS="2014-12-31"))

    def test_named_as_crds_path_it_still_makes_masks(self, tmp_path: Path) -> None:
        found = select_reference(exposure(), crds_path=embedded.cache_path())
        assert found.path is not None
        assert found.path.is_relative_to(tmp_path / "cache")
        assert sha256(found.path) == SHA256[MASK]


class TestFolder:
    def test_rules_at_once_and_masks_when_they_are_needed(self, tmp_path: Path) -> None:
        root = embedded.cache_path()
        assert root.parent == tmp_path / "cache/crds"
        assert (root / "mappings/tmt/tmt_0100.pmap").is_file()
        assert not list(root.rglob("*.fits"))
        assert embedded.provides(MASK)
        assert not embedded.provides("tmt_0100.pmap")
        path = embedded.ensure(MASK)
        assert path == root / "references/tmt/iris" / MASK
        before = path.stat()
        assert embedded.ensure(MASK).stat() == before
        # What was cut short is made again.
        os.truncate(path, 1000)
        assert sha256(embedded.ensure(MASK)) == SHA256[MASK]
        assert [p.name for p in path.parent.iterdir()] == [MASK]

    def test_a_folder_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(tmp_path / "file/cache"))
        with pytest.raises(OutputError, match="TMT_DQ_CACHE_DIR") as caught:
            select_reference(exposure())
        assert str(tmp_path / "file/cache") in str(caught.value)

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(OutputError, match="No space left"):
            embedded.ensure(MASK)
        assert [path for path in embedded.location().rglob("*") if path.is_file()] == []

    def test_the_users_cache_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("TMT_DQ_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert embedded.location().parent == tmp_path / "tmt-dq/crds"
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", "cache")
        with pytest.raises(ConfigError, match="absolute"):
            embedded.cache_path()


def test_processes_make_a_mask_at_the_same_moment(tmp_path: Path) -> None:
    code = dedent(
        f"""
        import pathlib, sys, time
        from tmt_dq.references import embedded
        go = pathlib.Path({str(tmp_path / "go")!r})
        print("ready", flush=True)
        while not go.exists():
            time.sleep(0.001)
        print(embedded.ensure({MASK!r}))
        """
    )
    command = [sys.executable, "-W", "error", "-c", code]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    [path] = {Path(worker.communicate(timeout=120)[0].strip()) for worker in workers}
    assert [worker.returncode for worker in workers] == [0] * 4
    assert sha256(path) == SHA256[MASK]
    assert [p.name for p in path.parent.iterdir()] == [MASK]
