"""Masks made from files and arrays: what is in them, in Python and on the command line."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, folder_state, invoke
from builders import make_mask as build_mask
from tmt_dq import import_mask, make_mask
from tmt_dq.datamodels import TMTMaskModel
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, OutputError, UnknownFlagError
from tmt_dq.instruments import load
from tmt_dq.masks.mask import read_mask

FRAME = (4096, 4096)
HOT, DEAD, DO_NOT_USE = (CONVENTION[name] for name in ("HOT", "DEAD", "DO_NOT_USE"))


@pytest.fixture
def hot(folder: Path) -> Path:
    path = folder / "hot.txt"
    path.write_text("x y\n0 0\n10:12 20\n")
    return path


SAID: dict[str, Any] = {"detector": "IRIS1", "flag": "HOT", "base": 0}


def test_a_list_becomes_a_mask_that_every_reader_reads(hot: Path, folder: Path) -> None:
    output = folder / "mask.fits"
    made = import_mask(
        hot,
        output,
        **SAID,
        useafter="2026-05-01",
        pedigree=" inflight 2026-04-30 2026-05-01",
        author="A. Ström",
        description="Forty new hot pixels",
    )
    want = np.zeros(FRAME, np.uint32)
    want[0, 0] = want[20, 10:13] = HOT | DO_NOT_USE
    assert np.array_equal(read_mask(output).dq, want)
    with fits.open(output, checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DQ", "DQ_DEF"]
        assert np.array_equal(hdus["DQ"].data, want)
        definitions = dict(
            zip(hdus["DQ_DEF"].data["NAME"], hdus["DQ_DEF"].data["VALUE"], strict=True)
        )
        header = hdus[0].header
    assert definitions == {name: value for name, value in CONVENTION.items() if value}
    digest = hashlib.sha256(hot.read_bytes()).hexdigest()
    expected = {
        "TELESCOP": "TMT",
        "INSTRUME": "IRIS",
        "DETECTOR": "IRIS1",
        "REFTYPE": "MASK",
        "USEAFTER": "2026-05-01T00:00:00",
        "PEDIGREE": "INFLIGHT 2026-04-30 2026-05-01",
        "AUTHOR": "A. Str\\xf6m",
        "DESCRIP": "Forty new hot pixels",
        "SUBARRAY": "GENERIC",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": 4096,
        "SUBSIZE2": 4096,
        "FILENAME": "mask.fits",
        "DNUFLAGS": ",".join(load("IRIS").do_not_use),
    }
    assert {key: header[key] for key in expected} == expected
    history = " ".join(header["HISTORY"])
    for text in ("hot.txt", digest, "flag=HOT base=0", "HOT 4", "4 pixels got it"):
        assert text in history
    assert made.counts == {"GOOD": 4096 * 4096 - 4, "DO_NOT_USE": 4, "HOT": 4}
    assert made.sources[0].counts == {"HOT": 4}
    assert made.sources[0].sha256 == digest
    assert made.do_not_use_added == 4
    assert not made.missing
    with TMTMaskModel(output) as model:
        assert model.meta.instrument.detector == "IRIS1"
        assert model.meta.useafter == "2026-05-01T00:00:00"
        assert model.dq[20, 11] == HOT | DO_NOT_USE


def test_masks_survive_a_round_trip(folder: Path) -> None:
    rng = np.random.default_rng(1)
    dq = np.zeros(FRAME, np.uint32)
    dq[rng.integers(0, 4096, 5000), rng.integers(0, 4096, 5000)] = rng.integers(
        0, 2**32, 5000, np.uint32
    )
    first, second = folder / "first.fits", folder / "second.fits"
    make_mask(dq, first, detector="IRIS2", do_not_use="keep", history=["made by chance"])
    import_mask(first, second, detector="IRIS2", do_not_use="keep")
    assert np.array_equal(read_mask(first).dq, dq)
    assert np.array_equal(read_mask(second).dq, dq)
    assert "made by chance" in str(fits.getheader(first)["HISTORY"])
    made = make_mask(np.zeros(FRAME), folder / "mask.fits", detector="IFU")
    assert made.counts == {"GOOD": 4096 * 4096}
    with pytest.raises(GeometryError, match=r"\(4, 4\); IRIS1 has \(4096, 4096\)"):
        make_mask(np.zeros((4, 4)), folder / "small.fits", detector="IRIS1")
    with pytest.raises(MaskFormatError, match="no flags"):
        make_mask(np.full(FRAME, -1), folder / "negative.fits", detector="IRIS1")


def test_a_smaller_map_is_placed_and_its_origin_recorded(folder: Path) -> None:
    source = folder / "map.fits"
    fits.PrimaryHDU(np.ones((2, 3), np.uint8), fits.Header({"DETECTOR": "NRCALONG"})).writeto(
        source
    )
    output = folder / "mask.fits"
    made = import_mask(
        source, output, detector="img3", bad=1, flag="WARM", at=(4094, 4095), do_not_use="keep"
    )
    dq = read_mask(output).dq
    assert np.count_nonzero(dq) == 6
    assert (dq[4094:, 4093:] == CONVENTION["WARM"]).all()
    assert made.detector == "IRIS3"
    assert made.sources[0].remarks == ("it says DETECTOR NRCALONG",)
    assert "NRCALONG" in str(fits.getheader(output)["HISTORY"])


def test_masks_of_other_detectors_and_other_bits(folder: Path) -> None:
    source = build_mask(folder / "mask.fits", header={"DETECTOR": "IRIS2", "FASTAXIS": -1})
    with pytest.raises(MaskFormatError, match="has DETECTOR IRIS2; the mask is for IRIS IRIS1"):
        import_mask(source, folder / "new.fits", detector="IRIS1")
    assert import_mask(source, folder / "new.fits", detector="IMG2").detector == "IRIS2"
    assert read_mask(folder / "new.fits").orientation == (-1, None)
    dq = np.array([[3, 1]], np.uint32)
    source = build_mask(folder / "mask.fits", dq, rows=[(0, 1, "HOT")])
    with pytest.raises(UnknownFlagError):
        import_mask(source, folder / "bits.fits", detector="IRIS1")
    made = import_mask(source, folder / "bits.fits", detector="IRIS1", unknown="drop")
    assert made.sources[0].remarks == ("bit 1 of 1 pixels left out",)
    assert made.counts["HOT"] == 2


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"detector": "IRIS9"}, ConfigError, "IRIS9"),
        ({"detector": "N/A"}, ConfigError, "any detector"),
        ({"instrument": "NIRC"}, ConfigError, "not known"),
        ({"useafter": "May 2026"}, ConfigError, "not a date"),
        ({"flag": "HTO"}, UnknownFlagError, "HTO"),
        ({"do_not_use": "HTO"}, UnknownFlagError, "HTO"),
        ({"base": None}, ConfigError, "first pixel"),
        ({"flag": None}, ConfigError, "which flag"),
        ({"output": None}, ConfigError, "no output"),
        ({"output": "mask.txt"}, OutputError, "FITS"),
        ({"output": "absent/mask.fits"}, OutputError, "does not exist"),
    ],
    ids=str,
)
def test_nothing_is_written_when_something_is_wrong(
    hot: Path, folder: Path, said: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = folder_state(folder)
    options = {**SAID, "output": "mask.fits", **said}
    output = options.pop("output")
    with pytest.raises(error, match=message):
        import_mask(hot, None if output is None else folder / output, **options)
    assert folder_state(folder) == before


def test_existing_files_are_safe(hot: Path, folder: Path) -> None:
    output = folder / "mask.fits"
    output.write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        import_mask(hot, output, **SAID)
    assert output.read_text() == "mine"
    import_mask(hot, output, **SAID, overwrite=True)
    with pytest.raises(OutputError, match="same file"):
        import_mask(output, output, detector="IRIS1", overwrite=True)
    assert read_mask(output).dq[0, 0] == HOT | DO_NOT_USE
    before = folder_state(folder)
    made = import_mask(hot, folder / "dry.fits", **SAID, dry_run=True)
    assert made.counts["HOT"] == 4
    assert made.missing == ("USEAFTER", "PEDIGREE", "AUTHOR", "DESCRIP")
    assert not made.written
    assert folder_state(folder) == before


def test_the_command_line(hot: Path, folder: Path) -> None:
    output = folder / "mask.fits"
    asked = invoke("import", hot, "-o", output, "--detector", "IRIS1", "--flag", "HOT", code=2)
    assert "--base" in asked.err
    hot.write_text(hot.read_text().removeprefix("x y\n"))
    done = invoke(
        *("import", hot, "-o", output, "--detector", "IRIS1", "--flag", "HOT", "--base", "0"),
        *("--useafter", "2026-05-01", "--author", "me", "--description", "new", "--json"),
        *("--columns", "x,y"),
        code=0,
    )
    report = json.loads(done.out)
    assert report["counts"]["HOT"] == 4
    assert report["missing"] == ["PEDIGREE"]
    assert fits.getheader(output)["DESCRIP"] == "new"
    shown = invoke("import", output, "--detector", "IRIS1", "--dry-run", code=0)
    assert "HOT" in shown.out
    assert "dry run" in shown.out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--bad", "x"], 2),
        (["--values", "16"], 2),
        (["--values", "16=HOT,16=DEAD"], 2),
        (["--values", "convention", "--flag", "HOT"], 2),
        (["--base", "2"], 2),
        (["--at", "1"], 2),
        (["--bad", "1", "--flag", "HTO"], 4),
        (["--bad", "1", "--flag", "HOT"], 5),
        (["--bad", "nonzero", "--flag", "HOT", "--at", "1,1"], 0),
        (["--values", "1=HOT|DO_NOT_USE", "--at", "1,1"], 0),
        (["--values", "1:HOT,4:DEAD", "--at", "1,1"], 0),
        (["--values", "convention", "--at", "1,1"], 0),
    ],
    ids=str,
)
def test_options_of_the_command_line(folder: Path, options: list[str], code: int) -> None:
    source = folder / "map.fits"
    fits.PrimaryHDU(np.ones((2, 3), np.uint8)).writeto(source)
    invoke("import", source, "--detector", "IRIS1", "--dry-run", *options, code=code)
