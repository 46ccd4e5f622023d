"""The cache that comes with the package: what is in it, and how it is expanded."""

import hashlib
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from reference_helpers import exposure, isolate
from tmt_dq import instruments
from tmt_dq.errors import ConfigError, OutputError, SelectionError
from tmt_dq.references import baseline, embedded, select_reference
from tmt_dq.references.rule_files import read_rule_file

MANIFEST = json.loads((embedded.DATA / "manifest.json").read_text())
MASK = "tmt_iris_mask_0101.fits"
REFERENCE_PIXEL = 2147483648
IRIS = instruments.load("IRIS")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path / "cache")


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Expand one mask, once for all tests that look at it."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("embedded"))
        return embedded.ensure(MASK)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replace the package's data by such with a small mask."""
    data = tmp_path / "data"
    content = os.urandom(100_000)
    path = f"references/tmt/iris/{MASK}"
    (data / path).parent.mkdir(parents=True)
    (data / f"{path}.xz").write_bytes(lzma.compress(content))
    (data / "rules.pmap").write_bytes(b"rules")
    manifest = {
        path: {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "packed": True,
        },
        "rules.pmap": {
            "size": 5,
            "sha256": hashlib.sha256(b"rules").hexdigest(),
            "packed": False,
        },
    }
    (data / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(embedded, "DATA", data)
    monkeypatch.setattr(embedded, "_manifest", embedded._manifest.__wrapped__)
    return {"content": content, "packed": data / f"{path}.xz", "path": path}


class TestContent:
    def test_every_detector_has_a_mask(self) -> None:
        names = {}
        for detector in IRIS.detectors:
            rmap = read_rule_file(embedded.DATA / "mappings/tmt/tmt_iris_mask_0100.rmap")
            assert f"('{detector}', 'GENERIC')" in rmap.text
            names[detector] = [name for name in MANIFEST if name.endswith(".fits")]
        assert {len(found) for found in names.values()} == {len(IRIS.detectors)}

    def test_it_is_small(self) -> None:
        stored = [path.stat().st_size for path in embedded.DATA.rglob("*") if path.is_file()]
        assert sum(stored) < 100_000

    @pytest.mark.parametrize("detector", ["IRIS1", "IFU"])
    def test_the_stored_mask_is_what_the_generator_makes(self, detector: Any) -> None:
        number = list(IRIS.detectors).index(detector) + 1
        name = f"tmt_iris_mask_{100 + number:04d}.fits"
        entry = MANIFEST[f"references/tmt/iris/{name}"]
        content = baseline.mask_bytes(IRIS, IRIS.detectors[detector], name)
        assert len(content) == entry["size"]
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]

    def test_the_stored_rules_are_what_the_generator_makes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(baseline, "mask_bytes", lambda *_: b"")
        baseline.build(tmp_path)
        made = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".xz"]
        names = {path.name for path in made}
        assert names >= {"tmt_0100.pmap", "tmt_iris_0100.imap", "tmt_iris_mask_0100.rmap"}
        for path in made:
            if path.name != "manifest.json":
                assert (
                    path.read_bytes() == (embedded.DATA / path.relative_to(tmp_path)).read_bytes()
                )

    def test_the_mask_flags_the_border_and_nothing_else(self, mask: Path) -> None:
        expected = np.zeros((4096, 4096), np.uint32)
        for edge in (slice(0, 4), slice(4092, 4096)):
            expected[edge, :] = expected[:, edge] = REFERENCE_PIXEL
        with fits.open(mask, checksum=True) as units:
            assert [unit.name for unit in units] == ["PRIMARY", "DQ"]
            assert "CHECKSUM" in units[0].header
            assert "DATASUM" in units["DQ"].header
            assert (units["DQ"].header["BITPIX"], units["DQ"].header["BZERO"]) == (32, 2**31)
            assert units["DQ"].data.dtype == np.uint32
            assert np.array_equal(units["DQ"].data, expected)

    def test_the_mask_has_a_masks_keywords(self, mask: Path) -> None:
        expected = {
            "INSTRUME": "IRIS",
            "DETECTOR": "IRIS1",
            "TELESCOP": "TMT",
            "REFTYPE": "MASK",
            "USEAFTER": "2015-01-01T00:00:00",
            "PEDIGREE": "DUMMY",
            "SUBARRAY": "GENERIC",
            "SUBSTRT1": 1,
            "SUBSTRT2": 1,
            "SUBSIZE1": 4096,
            "SUBSIZE2": 4096,
            "FILENAME": MASK,
        }
        header = fits.getheader(mask)
        assert {key: header[key] for key in expected} == expected
        assert all(header[key] for key in ("AUTHOR", "DESCRIP", "HISTORY"))

    def test_it_serves_the_sample_ramp_of_2015(
        self, mask: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(mask.parents[5]))
        header = exposure(DATE_OBS="2015-10-11", TIME_OBS="00:00:00", SUBARRAY=None)
        found = select_reference(header)
        assert (found.context, found.name, found.path) == ("tmt_0100.pmap", MASK, mask)
        with pytest.raises(SelectionError, match="2015-01-01 00:00:00"):
            select_reference(exposure(DATE_OBS="2014-12-31"))

    def test_named_as_crds_path_it_still_expands(
        self, mask: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(mask.parents[5]))
        found = select_reference(exposure(), crds_path=embedded.cache_path())
        assert found.path == mask


class TestExpansion:
    def test_rules_at_once_and_masks_when_they_are_needed(
        self, small: dict[str, Any], tmp_path: Path
    ) -> None:
        root = embedded.cache_path()
        assert root.parent == tmp_path / "cache/crds"
        assert (root / "rules.pmap").read_bytes() == b"rules"
        assert not (root / small["path"]).exists()
        assert embedded.provides(MASK)
        assert not embedded.provides("rules.pmap")
        assert embedded.ensure(MASK).read_bytes() == small["content"]

    def test_a_second_time_nothing_is_written(self, small: dict[str, Any]) -> None:
        path = embedded.ensure(MASK)
        before = path.stat()
        small["packed"].unlink()
        assert embedded.ensure(MASK).stat() == before

    def test_what_was_cut_short_is_mended(self, small: dict[str, Any]) -> None:
        path = embedded.ensure(MASK)
        path.write_bytes(small["content"][:1000])
        assert embedded.ensure(MASK).read_bytes() == small["content"]

    def test_a_killed_process_leaves_nothing(self, small: dict[str, Any]) -> None:
        path = embedded.location() / small["path"]
        path.parent.mkdir(parents=True)
        part = path.with_name(f".{path.name}.{2**22 + 1}.part")
        part.write_bytes(b"half")
        embedded.ensure(MASK)
        assert sorted(p.name for p in path.parent.iterdir()) == [".lock", MASK]

    @pytest.mark.parametrize("damage", [b"", b"x" * 1000, None])
    def test_a_damaged_package(self, small: dict[str, Any], damage: Any) -> None:
        small["packed"].write_bytes(lzma.compress(b"other") if damage is None else damage)
        with pytest.raises(OutputError, match="damaged") as caught:
            embedded.ensure(MASK)
        assert str(small["packed"]) in str(caught.value)
        assert list(embedded.location().rglob("*.fits*")) == []

    def test_a_folder_that_cannot_be_written(
        self, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(tmp_path / "file/cache"))
        with pytest.raises(OutputError, match="TMT_DQ_CACHE_DIR") as caught:
            select_reference(exposure())
        assert str(tmp_path / "file/cache") in str(caught.value)

    def test_a_full_disk(self, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            embedded.ensure(MASK)
        assert list(embedded.location().rglob("*.part")) == []

    def test_a_relative_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TMT_DQ_CACHE_DIR", "cache")
        with pytest.raises(ConfigError, match="absolute"):
            embedded.cache_path()

    def test_the_users_cache_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("TMT_DQ_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert embedded.location().parent == tmp_path / "tmt-dq/crds"


def test_processes_expand_at_the_same_moment(tmp_path: Path) -> None:
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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == MANIFEST[f"references/tmt/iris/{MASK}"]["sha256"]
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", MASK]
