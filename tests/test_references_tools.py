"""The stock CRDS tools, with our observatory registered; no server is ever asked."""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from delivery_helpers import deliverable
from published_files import rules_folder
from reference_helpers import make_cache, published_cache
from tmt_dq import instruments
from tmt_dq.references import crds_tools, embedded, observatories, register
from tmt_dq.references.crds_tools import run


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, where tools that open a connection fail."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import socket\n"
        "def connect(*_):\n"
        "    raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = connect\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def write_mask(path: Path, *, dq: Any = None, **changes: object) -> Path:
    """Write a small mask with all that is demanded of one; a change to None removes a card."""
    cards = {"DETECTOR": "IRIS2", "USEAFTER": "2026-03-04T05:06:07", "SUBARRAY": "GENERIC"}
    return deliverable(path, dq, start=(1, 1), header={**cards, **changes})


def test_what_it_shows_without_a_tool_or_with_help(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        assert run(arguments) == 0
        shown = capfd.readouterr().out
        assert all(f"  {tool} " in shown for tool in crds_tools.TOOLS)
    for words, status, shown in (
        (["bestref"], 2, "'bestref'"),
        (["list", "--nonesuch"], 2, "tmt-dq crds list"),
        (["certify", "--help"], 0, "usage: tmt-dq crds certify"),
    ):
        assert run(words) == status
        assert shown in "".join(capfd.readouterr())


def test_a_connection_is_an_error(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other tests rely on."""
    monkeypatch.setenv("CRDS_SERVER_URL", "http://127.0.0.1:9")
    assert run(["sync", "--contexts", "tmt_0100.pmap"]) == 1
    assert "a connection was opened" in capfd.readouterr().err


def test_what_crds_raises_becomes_a_status(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(["diff", "tmt_iris_mask_0001.rmap", "tmt_iris_mask_0002.rmap"]) == 1
    assert "tmt-dq crds diff: FileNotFoundError" in capfd.readouterr().err
    (tmp_path / "mappings/tmt").mkdir(parents=True)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path))
    assert run(["list", "--status"]) == 1
    assert "(FATAL)" in capfd.readouterr().err


def test_the_environment_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    assert run(["list", "--status"]) == 0
    assert dict(os.environ) == before
    shown = capfd.readouterr().out
    assert str(embedded.location()) in shown
    assert "tmt_0100.pmap" in shown


class TestEmbeddedCache:
    def test_list_and_matches(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert run(["list", "--mappings", "--contexts", "tmt_0100.pmap"]) == 0
        names = capfd.readouterr().out.split()
        assert names == ["tmt_0100.pmap", "tmt_iris_0100.imap", "tmt_iris_mask_0100.rmap"]
        assert run(["matches", "--files", "tmt_iris_mask_0103.fits"]) == 0
        assert "META.INSTRUMENT.DETECTOR='IRIS3'" in capfd.readouterr().out

    def test_bestrefs(self, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        header = fits.Header({"INSTRUME": "IRIS", "DETECTOR": "IFU", "SUBARRAY": "FULL"})
        header.update({"DATE-OBS": "2026-01-02", "TIME-OBS": "03:04:05"})
        ramp = tmp_path / "ramp.fits"
        fits.PrimaryHDU(header=header).writeto(ramp)
        arguments = ["--files", str(ramp), "--types", "mask", "--print-new-references"]
        assert run(["bestrefs", *arguments]) == 0
        assert "tmt_iris_mask_0105.fits" in capfd.readouterr().out

    def test_certify(self, capfd: pytest.CaptureFixture[str]) -> None:
        files = ["crds://tmt_0100.pmap", "crds://tmt_iris_mask_0102.fits"]
        assert run(["certify", *files, "--comparison-context", "none"]) == 0, capfd.readouterr()
        assert "0 errors" in capfd.readouterr().err


class TestPublishedRules:
    """A cache as published has no server_config, without which crds alone would give up."""

    @pytest.fixture(autouse=True)
    def _published(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("CRDS_PATH", str(published_cache(tmp_path / "cache")))

    def test_list_and_certify(self, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        before = sorted((tmp_path / "cache").rglob("*"))
        assert run(["list", "--status"]) == 0
        assert "'tmt_0001.pmap'" in capfd.readouterr().out
        assert run(["certify", "crds://tmt_0001.pmap"]) == 0, capfd.readouterr()
        assert "0 errors" in capfd.readouterr().err
        assert sorted((tmp_path / "cache").rglob("*")) == before

    @pytest.mark.parametrize("tool", ["refactor", "refactor2"])
    def test_insert_a_reference(
        self, capfd: pytest.CaptureFixture[str], tmp_path: Path, tool: Any
    ) -> None:
        mask = write_mask(tmp_path / "tmt_iris_mask_0002.fits")
        old = str(tmp_path / "cache/mappings/tmt/tmt_iris_mask_0001.rmap")
        new = tmp_path / "tmt_iris_mask_0002.rmap"
        if tool == "refactor":
            arguments = ["insert", old, str(new), str(mask)]
        else:
            arguments = ["insert_reference", "--old-rmap", old, "--new-rmap", str(new)]
            arguments += ["--references", str(mask)]
        assert run([tool, *arguments]) == 0, capfd.readouterr()
        text = new.read_text()
        assert "('IRIS2', 'GENERIC')" in text
        assert "'2026-03-04 05:06:07' : 'tmt_iris_mask_0002.fits'" in text
        assert "'2015-10-01 00:00:00' : 'tmt_iris_mask_0001.fits'" in text


class TestCertify:
    def test_bad_masks(self, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        changes: list[tuple[dict[str, Any], str]] = [
            ({"DETECTOR": "IRIS7"}, "DETECTOR"),
            ({"DETECTOR": "ANY"}, "DETECTOR"),
            ({"DETECTOR": None}, "DETECTOR"),
            ({"TELESCOP": "Keck"}, "TELESCOP"),
            ({"PEDIGREE": "GUESS"}, "PEDIGREE"),
            ({"USEAFTER": "yesterday"}, "USEAFTER"),
            ({"AUTHOR": None}, "AUTHOR"),
            ({"SUBARRAY": "SUB64"}, "SUBARRAY"),
            ({"SUBSTRT1": 0}, "SUBSTRT1"),
            ({"SUBSIZE1": 9}, "DQ"),
            ({"dq": np.zeros((1, 6, 8), np.uint32)}, "DQ"),
            ({"dq": np.zeros((6, 8), np.float32)}, "DQ"),
        ]
        names = {f"tmt_iris_mask_{n:04}.fits": c for n, c in enumerate(changes, start=2)}
        good = str(write_mask(tmp_path / "tmt_iris_mask_0001.fits"))
        assert run(["certify", good, "--comparison-context", "none"]) == 0, capfd.readouterr()
        paths = [str(write_mask(tmp_path / name, **c)) for name, (c, _) in names.items()]
        assert run(["certify", *paths, "--comparison-context", "none"]) == 1
        errors = [line for line in capfd.readouterr().err.splitlines() if "ERROR" in line]
        for name, (_, word) in names.items():
            assert any(name in line and word in line for line in errors), (name, errors)


class TestData:
    def test_the_checks_know_detectors_and_types(self) -> None:
        folder = observatories.load("tmt").folder / "tpns"
        for name in ("iris_all.tpn", "iris_all_ld.tpn"):
            lines = (folder / name).read_text().splitlines()
            [values] = [line.split()[-1] for line in lines if "DETECTOR " in line]
            assert values.split(",") == list(instruments.load("IRIS").detectors)
        text = (rules_folder() / "tmt_iris_0003.imap").read_text()
        for kind in observatories.load("tmt").filekinds:
            assert f"'{kind.upper()}' :" in text


class TestLocate:
    """What crds asks an observatory's package."""

    @pytest.fixture(autouse=True)
    def _locate(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        register()
        monkeypatch.setenv("CRDS_PATH", str(make_cache(tmp_path / "cache")))
        self.locate = importlib.import_module("crds.tmt.locate")

    def test_names(self) -> None:
        for name, expected in (
            ("tmt_0001.pmap", ("", "")),
            ("tmt.pmap", ("", "")),
            ("tmt_iris_0003.imap", ("iris", "")),
            ("/x/tmt_iris_mask_0001.rmap", ("iris", "mask")),
            ("./tmt_iris_flat_0001.fits", ("iris", "flat")),
            # Rules whose name does not tell.
            (str(rules_folder() / "tmt_iris_nonlin_0004.rmap"), ("iris", "nonlincoeff")),
        ):
            assert self.locate.get_file_properties(name) == expected

    def test_files_whose_name_does_not_tell(self, tmp_path: Path) -> None:
        path = write_mask(tmp_path / "mine.fits")
        assert self.locate.get_file_properties(str(path)) == ("iris", "mask")
        path = write_mask(tmp_path / "other.fits", REFTYPE="BIAS")
        with pytest.raises(Exception, match="REFTYPE is 'BIAS'; expected one of"):
            self.locate.get_file_properties(str(path))

    def test_a_second_observatory(self) -> None:
        """A description makes crds know it: Liger has no Python of its own."""
        found = importlib.import_module("crds.ligeriri.locate")
        kinds = importlib.import_module("crds.ligeriri").TYPES.filekinds
        assert (kinds, found.filekind_to_keyword("dq")) == (["all", "dq"], "R_DQ")
        utils = importlib.import_module("crds.core.utils")
        names = [utils.instrument_to_observatory(name) for name in ("liger", "iris")]
        assert names == ["ligeriri", "tmt"]

    def test_places(self, tmp_path: Path) -> None:
        folder = tmp_path / "cache/references/tmt"
        for name in ("tmt_iris_dark_0009.fits", "mine.fits"):
            assert self.locate.locate_file(name, "instrument") == str(folder / "iris" / name)
            assert self.locate.locate_file(f"/x/{name}", "flat") == str(folder / name)
        # What is there is found, wherever the cache says that references are.
        name = "tmt_iris_mask_0001.fits"
        assert self.locate.locate_file(name, "flat") == str(folder / "iris" / name)
