"""Instruments of other folders, as TOML files alone."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, arrays, data_unit, invoke, make_mask, make_ramp
from reference_helpers import write_rules
from tmt_dq import DQInitStep, apply_dq, instruments
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import ConfigError, GeometryError, RampFormatError
from tmt_dq.files import copying

DESCRIPTIONS = Path(__file__).parent / "instruments"
DATE = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")


@dataclass
class Case:
    """A ramp, the mask that rules of the published form select for it, and pixels of both."""

    instrument: str
    detector: str
    mask: tuple[int, int]
    ramp: tuple[int, int]
    start: tuple[int, int] = (1, 1)  # x, y
    pixels: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (((7, 9), (7, 9)),)
    keywords: dict[str, object] = field(default_factory=dict)
    parkey: tuple[str, ...] = ("META.INSTRUMENT.DETECTOR", "META.SUBARRAY.NAME")
    key: tuple[str, ...] = ("GENERIC",)  # what follows the detector in the rule
    flags: str = "PIXELDQ"


CASES = {
    # The golden subarray of the peers' test suite.
    "MIRI subarray": Case(
        *("MIRI", "MIRIMAGE", (1024, 1032), (224, 288), (1, 467)),
        pixels=(((542, 100), (76, 100)), ((550, 100), (84, 100)), ((580, 80), (114, 80))),
    ),
    "NIRISS subarray": Case(
        *("NIRISS", "NIS", (2048, 2048), (272, 288), (500, 1)), pixels=(((7, 509), (7, 10)),)
    ),
    "NIRCam subarray": Case(
        *("NIRCam", "NRCBLONG", (2048, 2048), (64, 64), (993, 985)),
        pixels=(((984, 992), (0, 0)), ((1047, 1055), (63, 63))),
        key=("SUB64P|SUB64|GENERIC",),
    ),
    "FGS stack": Case(
        *("FGS", "GUIDER1", (2048, 2304), (2048, 2304)),
        pixels=(((2047, 2303), (2047, 2303)),),
        keywords={"EXP_TYPE": "FGS_ID-STACK"},
        parkey=("META.INSTRUMENT.DETECTOR", "META.EXPOSURE.TYPE"),
        key=("FGS_ID-STACK",),
        flags="DQ",
    ),
    "NIRSpec IRS2": Case(
        *("NIRSpec", "NRS2", (3200, 2048), (3200, 2048)),
        pixels=(((3199, 2047), (3199, 2047)),),
        keywords={"READPATT": "NRSIRS2RAPID", "SUBSIZE2": 2048},
        parkey=("META.INSTRUMENT.DETECTOR", "META.EXPOSURE.READPATT"),
        key=("NRSIRS2|NRSIRS2RAPID",),
    ),
}


@pytest.fixture(autouse=True)
def _described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMT_DQ_INSTRUMENTS", str(DESCRIPTIONS))


def _cards(case: Case) -> dict[str, object]:
    return {
        "TELESCOP": "JWST",
        "INSTRUME": case.instrument.upper(),
        "DETECTOR": case.detector,
        "SUBARRAY": "SUB64" if case.mask != case.ramp else "FULL",
        **case.keywords,
    }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_five_instruments_of_jwst_without_python(folder: Path, case: Case) -> None:
    """Masks are selected by rules of an observatory that crds has itself, and applied."""
    rules = {
        (case.detector, *case.key): {"2015-10-01 00:00:00": "right.fits"},
        (f"NOT {case.detector}", *case.key): {"2015-10-01 00:00:00": "wrong.fits"},
    }
    references = write_rules(
        folder / "cache", "jwst", case.instrument, rules, parkey=(case.parkey, DATE)
    )
    mask = np.zeros(case.mask, np.uint32)
    expected = np.zeros(case.ramp, np.uint32)
    for number, (there, here) in enumerate(case.pixels):
        mask[there] = expected[here] = CONVENTION["HOT"] << number
    cards = _cards(case) | {"SUBSIZE2": case.mask[0]}
    make_mask(references / "right.fits", mask, header=cards | {"SUBARRAY": "GENERIC"})
    ramp = make_ramp(
        folder / "ramp.fits", (1, 1, *case.ramp), start=case.start, header=_cards(case)
    )
    applied = apply_dq(ramp, crds_path=folder / "cache")
    assert applied.mask == "crds://right.fits"
    np.testing.assert_array_equal(fits.getdata(applied.output, case.flags), expected)
    names = [name for _, name, *_ in fits.info(applied.output, output=False)]
    assert names[1:5] == ["SCI", case.flags, "GROUPDQ", "DQ_DEF"]
    assert data_unit(applied.output, "SCI") == data_unit(ramp, "SCI")
    for file in (references / "right.fits", applied.output):
        found = invoke("inspect", file, "--json")
        assert (found.code, '"HOT"' in found.out) == (0, True), found.err


def test_a_frame_is_that_of_its_keywords(folder: Path) -> None:
    """3,200 rows are those of IRS2, and of nothing else: no size is guessed."""
    header = _cards(CASES["NIRSpec IRS2"]) | {"READPATT": "NRSRAPID", "SUBSIZE2": None}
    ramp = make_ramp(folder / "ramp.fits", (1, 1, 3200, 2048), start=None, header=header)
    with pytest.raises(GeometryError, match="not the full frame 2048 × 2048"):
        apply_dq(ramp, mask="N/A")
    header["READPATT"] = "NRSIRS2"
    make_ramp(ramp, (1, 1, 2048, 2048), start=None, header=header)
    with pytest.raises(GeometryError, match="not the full frame 2048 × 3200"):
        apply_dq(ramp, mask="N/A")


def test_flags_under_another_name(folder: Path) -> None:
    """The flags that an exposure of the guider has in DQ are kept; a PIXELDQ is refused."""
    header = _cards(CASES["FGS stack"]) | {"EXP_TYPE": "FGS_TRACK"}
    before = np.full((6, 8), CONVENTION["JUMP_DET"], np.uint32)
    mask = make_mask(folder / "mask.fits", header=_cards(CASES["FGS stack"]))
    extra = [fits.ImageHDU(before, name="DQ")]
    ramp = make_ramp(folder / "ramp.fits", header=header, extra=extra)
    applied = apply_dq(ramp, mask=mask)
    expected = before | fits.getdata(mask, "DQ")
    np.testing.assert_array_equal(fits.getdata(applied.output, "DQ"), expected)
    # A data model has no DQ, where these flags are: they must not be left behind.
    with TMTRampModel(ramp) as model, pytest.raises(RampFormatError, match="their flags in DQ, an"):
        DQInitStep.call(model, override_mask=str(mask), configure_log=False)
    make_ramp(ramp, header=header, pixeldq=before)
    with pytest.raises(RampFormatError, match=r"flags are in DQ and GROUPDQ, but .* PIXELDQ"):
        apply_dq(ramp, mask=mask, overwrite=True)


def test_flags_under_a_name_of_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written, although the copy of the rest ends later, and left out to start over."""
    text = (DESCRIPTIONS / "fgs.toml").read_text().replace('"DQ"', '"flags"')
    (folder / "fgs.toml").write_text(text)
    monkeypatch.setenv("TMT_DQ_INSTRUMENTS", str(folder))
    copy = copying.Copier._run

    def late(*given: Any) -> None:
        time.sleep(0.5)
        copy(*given)

    monkeypatch.setattr(copying.Copier, "_run", late)
    header = _cards(CASES["FGS stack"]) | {"EXP_TYPE": "FGS_TRACK"}
    names = ("FLAGS", "REST")
    extra = [fits.ImageHDU(np.zeros((6, 8), np.uint32), name=name) for name in names]
    ramp = make_ramp(folder / "ramp.fits", header=header, extra=extra)
    mask = make_mask(folder / "mask.fits", header=_cards(CASES["FGS stack"]))
    first = apply_dq(ramp, mask=mask).output
    second = apply_dq(first, folder / "again.fits", mask=mask, start_over=True).output
    for path in (first, second):
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus].count("FLAGS") == 1
            np.testing.assert_array_equal(hdus["FLAGS"].data, fits.getdata(mask, "DQ"))


def test_reference_pixels_on_two_sides(folder: Path) -> None:
    header = _cards(CASES["MIRI subarray"])
    for start, columns in (((1, 467), slice(0, 4)), ((1025, 1), slice(4, 8))):
        ramp = make_ramp(folder / "ramp.fits", start=start, header=header)
        recipe = {"reference_pixels": True}
        applied = apply_dq(ramp, mask="N/A", recipe=recipe, overwrite=True)
        expected = np.zeros((6, 8), np.uint32)
        expected[:, columns] = CONVENTION["REFERENCE_PIXEL"]
        np.testing.assert_array_equal(arrays(applied.output)["PIXELDQ"], expected)
        assert applied.sources[0].parameters == {"border": [0, 0, 4, 4]}


def test_folders_are_searched_in_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = folder / "own"
    own.mkdir()
    text = (DESCRIPTIONS / "niriss.toml").read_text()
    (own / "niriss.toml").write_text(text.replace("[2048, 2048]", "[64, 32]"))
    monkeypatch.setenv("TMT_DQ_INSTRUMENTS", f"{own}:{DESCRIPTIONS}")
    assert instruments.load("NIRISS").detector("NIS").shape == (64, 32)
    assert instruments.load("MIRI").detector("mirimage").reference_border == (0, 0, 4, 4)
    assert instruments.load("IRIS").detector("IMG1").name == "IRIS1"
    assert str(own / "niriss.toml") in invoke("doctor", "--json").out
    (own / "other.toml").write_text(text)
    monkeypatch.setenv("TMT_DQ_INSTRUMENTS", f"{own}:")
    with pytest.raises(ConfigError, match=r"other\.toml: describes NIRISS; expected the name nir"):
        instruments.load("other")
    assert "describes NIRISS" in invoke("doctor").err
    monkeypatch.setenv("TMT_DQ_INSTRUMENTS", str(folder / "none"))
    with pytest.raises(ConfigError, match="TMT_DQ_INSTRUMENTS: there is no folder"):
        instruments.available()
