"""What certification finds in masks, and that CRDS' own certify has its say."""

import errno
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, failing, folder_state, invoke, make_ramp
from delivery_helpers import deliverable
from tmt_dq import certify_mask
from tmt_dq.core.counts import FlagCount
from tmt_dq.datamodels import TMTMaskModel
from tmt_dq.errors import CertificationError, ConfigError, MaskFormatError, SelectionError
from tmt_dq.references import embedded

quick = pytest.mark.usefixtures("no_crds")


def found(path: Path, severity: str, **options: Any) -> list[tuple[str, str]]:
    """Return where and what of the findings of a severity."""
    findings = certify_mask(path, **options).findings
    return [(one.where, one.what) for one in findings if one.severity == severity]


@quick
def test_a_good_mask_passes_and_is_not_touched(folder: Path) -> None:
    path = deliverable(folder / "mask.fits")
    before = folder_state(folder)
    certification = certify_mask(path)
    assert certification.passed
    certification.raise_errors()
    assert folder_state(folder) == before
    assert certification.instrument == "IRIS"
    assert certification.detector == "IRIS1"
    assert certification.useafter == "2026-05-01T00:00:00"
    assert certification.shape == (6, 8)
    assert certification.flags == (
        FlagCount("DO_NOT_USE", 1, 1 / 48, 1),
        FlagCount("HOT", 1, 1 / 48, 1),
    )
    assert [one.severity for one in certification.findings] == ["warning", "info"]


def test_the_masks_of_the_package_pass() -> None:
    path = embedded.ensure("tmt_iris_mask_0101.fits")
    certification = certify_mask(path)
    assert certification.findings == ()
    # The border of four pixels: 2 * 4 * 4096 + 2 * 4 * 4088.
    assert certification.flags == (FlagCount("REFERENCE_PIXEL", 65472, 65472 / 4096**2, 0),)


def test_crds_has_its_say(folder: Path) -> None:
    path = deliverable(folder / "mask.fits", header={"PEDIGREE": "HEARSAY", "SUBSIZE1": 8.0})
    errors = found(path, "error")
    assert [where for where, _ in errors] == ["CRDS"]
    assert "PEDIGREE" in errors[0][1]


@quick
@pytest.mark.parametrize(
    ("keyword", "value", "where"),
    [
        ("USEAFTER", None, "USEAFTER"),
        ("USEAFTER", "2026-05-01", "USEAFTER"),
        ("USEAFTER", "2026-02-30T00:00:00", "USEAFTER"),
        ("PEDIGREE", None, "PEDIGREE"),
        ("PEDIGREE", "ground", "PEDIGREE"),
        ("AUTHOR", None, "AUTHOR"),
        ("AUTHOR", "N/A", "AUTHOR"),
        ("DESCRIP", "", "DESCRIP"),
        ("HISTORY", None, "HISTORY"),
        ("TELESCOP", "KECK", "TELESCOP"),
        ("REFTYPE", None, "REFTYPE"),
        ("INSTRUME", "MIRI", "INSTRUME"),
        ("DETECTOR", "ANY", "DETECTOR"),
        ("SUBARRAY", "SUB64", "SUBARRAY"),
        ("SUBARRAY", None, "SUBARRAY"),
        ("SUBARRAY", "GENERIC", "DQ"),
        ("SUBSTRT1", None, "SUBSTRT1"),
        ("SUBSTRT1", 4090, "DQ"),
        ("SUBSTRT1", 0, "DQ"),
        ("SUBSIZE1", 9, "DQ"),
    ],
)
def test_keywords(folder: Path, keyword: str, value: object, where: str) -> None:
    path = deliverable(folder / "mask.fits", header={keyword: value})
    errors = found(path, "error")
    assert [one for one, _ in errors] == [where], errors
    with pytest.raises(CertificationError) as caught:
        certify_mask(path).raise_errors()
    assert where in str(caught.value)
    assert caught.value.hint or where == "DQ"


@quick
def test_all_errors_are_told_at_once(folder: Path) -> None:
    changes = {"USEAFTER": None, "AUTHOR": None, "TELESCOP": "KECK", "DETECTOR": "*"}
    path = deliverable(folder / "mask.fits", header=changes)
    errors = [where for where, _ in found(path, "error")]
    assert errors == ["DETECTOR", "TELESCOP", "USEAFTER", "AUTHOR"]


def test_crds_sees_what_a_delivery_would_write(folder: Path) -> None:
    """It knows no aliases of detectors, and allows no ASDF extension: both would be errors."""
    path = folder / "mask.fits"
    model = TMTMaskModel(np.zeros((6, 8), np.uint32))
    model.meta.instrument.name = "IRIS"
    model.meta.instrument.detector = "IMG1"
    model.meta.subarray.name = "CUSTOM"
    model.meta.subarray.xstart = model.meta.subarray.ystart = 11
    model.meta.useafter = "2026-05-01T00:00:00"
    model.meta.author, model.meta.description = "A", "D"
    model.meta.pedigree = "GROUND"
    model.save(str(path))
    model.close()
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["HISTORY"] = "made here"
        assert "ASDF" in hdus
    assert found(path, "error") == []
    warnings = dict(found(path, "warning"))
    assert "ASDF" in warnings
    assert warnings["DQ"].startswith("covers x 11–18, y 11–16 (8 × 6) only")
    assert warnings["DETECTOR"] == (
        "is IMG1, another name of IRIS1, which a delivery writes instead"
    )


def flagged(path: Path, flags: dict[str, int], **options: Any) -> Path:
    """Write a mask of 20 x 20 pixels, so many with each flag; "+1" is for DO_NOT_USE too."""
    dq = np.zeros(400, np.uint32)
    place = 0
    for name, pixels in flags.items():
        dq[place : place + pixels] = CONVENTION[name.removesuffix("+1")] | name.endswith("+1")
        place += pixels
    return deliverable(path, dq.reshape(20, 20), **options)


@quick
class TestPixels:
    def test_flags_with_and_without_do_not_use(self, folder: Path) -> None:
        path = flagged(folder / "mask.fits", {"DEAD+1": 3, "DEAD": 2, "RC": 1})
        assert ("DQ", "DEAD: 5 pixels, 3 with DO_NOT_USE and 2 without") in found(path, "info")
        assert ("DQ", "RC: 1 pixels, 0 with DO_NOT_USE and 1 without") in found(path, "info")
        warning = ("DQ", "3 of 6 flagged pixels lack DO_NOT_USE: steps will use them")
        assert warning in found(path, "warning")
        path = flagged(folder / "all.fits", {"DEAD+1": 3})
        assert not any("DO_NOT_USE" in what for _, what in found(path, "warning"))

    def test_implausibly_many(self, folder: Path) -> None:
        """iris.toml says: at most 10 % flagged, 5 % DO_NOT_USE."""
        assert found(flagged(folder / "a.fits", {"HOT": 40}), "error") == []
        path = flagged(folder / "b.fits", {"HOT": 41})
        [(where, what)] = found(path, "error")
        assert (where, what[:42]) == ("DQ", "41 of 400 active pixels (10.2%) are flagge")
        assert found(path, "error", max_flagged=0.2) == []
        assert len(found(path, "error", max_flagged=0.01)) == 1
        [(where, what)] = found(flagged(folder / "c.fits", {"DO_NOT_USE": 21}), "error")
        assert (where, what[:43]) == ("DQ", "21 of 400 active pixels (5.2%) are DO_NOT_U")

    @pytest.mark.parametrize("start", [(1, 1), (4077, 4077), (101, 1)])
    def test_border(self, folder: Path, start: tuple[int, int]) -> None:
        frame = np.full((4096, 4096), CONVENTION["REFERENCE_PIXEL"], np.uint32)
        frame[4:-4, 4:-4] = 0
        x, y = start[0] - 1, start[1] - 1
        right = frame[y : y + 20, x : x + 20]
        # As many as there are, and they do not count as flagged.
        assert found(deliverable(folder / "right.fits", right, start=start), "error") == []
        dq = right.copy()
        for pixels in (right > 0, right == 0):
            dq[tuple(np.argwhere(pixels)[0])] ^= CONVENTION["REFERENCE_PIXEL"]
        path = deliverable(folder / "mask.fits", dq, start=start)
        [(_, error)] = found(path, "error")
        assert f"1 of the {np.count_nonzero(right)} pixels in the border" in error
        assert any("1 pixels outside the border" in what for _, what in found(path, "warning"))
        # A detector without reference pixels: on request, and recorded.
        assert found(path, "error", border=False) == []
        assert any("--no-border" in what for _, what in found(path, "warning", border=False))

    @pytest.mark.parametrize("name", ["RESERVED", "JUMP_DET"])
    def test_flags_that_do_not_belong_in_a_mask(self, folder: Path, name: str) -> None:
        path = flagged(folder / "mask.fits", {f"{name}+1": 1})
        assert any(what.startswith(f"{name} does not belong") for _, what in found(path, "warning"))


@quick
class TestDqDef:
    def test_other_bits_are_read_by_name(self, folder: Path) -> None:
        dq = np.eye(6, 8, dtype=np.uint32) * np.uint32(2)
        path = deliverable(folder / "m.fits", dq, rows=[(1, 2, "DEAD")], header={})
        assert certify_mask(path, max_flagged=1).flags == (FlagCount("DEAD", 6, 6 / 48, 0),)

    @pytest.mark.parametrize(
        "more",
        [[], [(11, 2048, "LUKEWARM")], [(11, 2047, "HOT")]],
        ids=["undeclared bit", "unknown name", "contradiction"],
    )
    def test_wrong_tables(self, folder: Path, more: Any) -> None:
        path = deliverable(folder / "m.fits", rows=[(0, 1, "DO_NOT_USE"), *more])
        assert [where for where, _ in found(path, "error")] == ["DQ"]


@quick
class TestFiles:
    def test_checksums(self, folder: Path) -> None:
        path = deliverable(folder / "mask.fits")
        raw = bytearray(path.read_bytes())
        with fits.open(path) as hdus:
            place = hdus["DQ"].fileinfo()["datLoc"]
        raw[place + 3] ^= 4
        path.write_bytes(raw)
        assert [where for where, _ in found(path, "error")] == ["DQ"]
        path = deliverable(folder / "mask.fits", checksum=False)
        assert found(path, "error") == []

    def test_not_a_mask(self, folder: Path) -> None:
        path = deliverable(folder / "mask.fits")
        packed = folder / "mask.fits.gz"
        with gzip.open(packed, "wb") as target, path.open("rb") as source:
            shutil.copyfileobj(source, target)
        assert [where for where, _ in found(packed, "error")] == ["file"]
        path = folder / "text.fits"
        path.write_text("bad pixels: 17, 4")
        assert [where for where, _ in found(path, "error")] == ["file"]
        short = deliverable(folder / "mask.fits")
        short.write_bytes(short.read_bytes()[:-2880])
        assert [where for where, _ in found(short, "error")] == ["file"]
        fits.PrimaryHDU().writeto(folder / "empty.fits")
        assert "DQ" in [where for where, _ in found(folder / "empty.fits", "error")]

    def test_an_exposure(self, folder: Path) -> None:
        """What the file is, not which keywords it lacks: nobody should correct those."""
        ramp = make_ramp(folder / "ramp.fits", start=(101, 201))
        certification = certify_mask(ramp)
        [finding] = certification.findings
        assert (finding.severity, finding.where) == ("error", "file")
        assert "is an exposure, not a mask" in finding.what
        assert "tmt-dq apply" in str(finding.remedy)
        outcome = invoke("deliver", ramp, "--crds-path", folder / "cache", "--create", code=7)
        assert "is an exposure, not a mask" in outcome.err
        assert "REFTYPE: is missing" not in outcome.err

    def test_no_file_and_no_cache(self, folder: Path) -> None:
        with pytest.raises(MaskFormatError, match="no such file"):
            certify_mask(folder / "missing.fits")
        assert "is a folder" in certify_mask(folder).findings[0].what
        path = deliverable(folder / "mask.fits")
        with pytest.raises(ConfigError):
            certify_mask(path, crds_path=folder / "nowhere")
        with pytest.raises(SelectionError):
            certify_mask(path, context="tmt_0666.pmap")


@quick
def test_command_line(folder: Path) -> None:
    good, bad = deliverable(folder / "good.fits"), folder / "bad.fits"
    deliverable(bad, header={"AUTHOR": None})
    outcome = invoke("certify", good)
    assert (outcome.code, "passed" in outcome.out) == (0, True)
    outcome = invoke("certify", bad)
    assert (outcome.code, "FAILED" in outcome.out, "AUTHOR" in outcome.out) == (7, True, True)
    outcome = invoke("certify", good, bad, "--json", code=7)
    first, second = json.loads(outcome.out)["masks"]
    assert (first["passed"], second["passed"]) == (True, False)
    assert second["findings"][0]["severity"] == "error"
    assert second["findings"][0]["remedy"] == "Write AUTHOR."
    assert first["flags"][1] == {
        "name": "HOT",
        "pixels": 1,
        "with_do_not_use": 1,
        "without_do_not_use": 0,
    }
    assert invoke("certify", folder / "missing.fits").code == 4
    corner = deliverable(folder / "corner.fits", start=(1, 1))
    outcome = invoke("certify", corner)
    assert (outcome.code, "lack REFERENCE_PIXEL" in outcome.out) == (7, True)
    assert invoke("certify", corner, "--no-border").code == 0
    assert invoke("certify", good, "--max-flagged", "2").code == 2
    # A file that is not there is told, and the mask behind it is looked at all the same.
    outcome = invoke("certify", folder / "notes.fits", good, "--json")
    reports = json.loads(outcome.out)["masks"]
    assert (outcome.code, [report["passed"] for report in reports]) == (7, [False, True])
    assert reports[0]["error"]["exit_code"] == 4


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the system answers who may not enter a folder; root may enter all.
    monkeypatch.setattr(Path, "is_file", failing(errno.EACCES))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(MaskFormatError, match="no permission to read it"):
        certify_mask(tmp_path / "m.fits")
