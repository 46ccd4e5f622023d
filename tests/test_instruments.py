"""Instruments are data: what IRIS' description says, and Liger through the whole chain."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import arrays, make_mask, make_ramp, run_cli
from tmt_dq import instruments
from tmt_dq.apply.apply import apply_dq
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, SelectionError


def test_iris_has_five_detectors_of_4096_by_4096_with_a_border_of_four() -> None:
    iris = instruments.load("iris")
    assert list(iris.detectors) == ["IRIS1", "IRIS2", "IRIS3", "IRIS4", "IFU"]
    assert {detector.shape for detector in iris.detectors.values()} == {(4096, 4096)}
    assert {detector.reference_border for detector in iris.detectors.values()} == {4}
    assert (iris.observatory, iris.reftype) == ("tmt", "mask")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_both_names_of_a_detector(number: int) -> None:
    iris = instruments.load("IRIS")
    assert iris.detector(f"img{number}") is iris.detector(f"IRIS{number}")


@pytest.mark.parametrize("name", ["N/A", "ANY", "*", "", " ", "IRIS5", "IRIS"])
def test_what_is_no_detector(name: str) -> None:
    with pytest.raises(SelectionError, match="IRIS1/IMG1"):
        instruments.load("IRIS").detector(name)


def test_the_specification_asks_for_the_mask_alone() -> None:
    for name in instruments.available():
        assert instruments.load(name).recipe == Recipe()


def test_an_unknown_instrument() -> None:
    with pytest.raises(ConfigError, match=r"'NIRCAM' is not known.*IRIS, LIGER"):
        instruments.load("NIRCAM")


HEADER = """header = {{
    'derived_from' : 'NONE',
    'ignore_checksum' : True,
    'name' : '{name}',
    'observatory' : 'LIGERIRI',
    'sha1sum' : '',
    {own}
}}

selector = {selector}
"""

PIPELINE = "'mapping' : 'PIPELINE', 'parkey' : ('META.INSTRUMENT.NAME',),"
INSTRUMENT = """'mapping' : 'INSTRUMENT', 'instrument' : 'Liger',
    'parkey' : ('META.EXPOSURE.IMTYPE',),"""
REFERENCE = """'mapping' : 'REFERENCE', 'instrument' : 'Liger', 'filekind' : 'DQ',
    'classes' : ('Match', 'UseAfter'),
    'parkey' : (('META.INSTRUMENT.DETECTOR', 'META.SUBARRAY.NAME'), ('META.DATE',)),
    'substitutions' : {'META.SUBARRAY.NAME' : {'GENERIC' : 'N/A'}},"""
RULE = """Match({
    ('IMG', 'GENERIC') : UseAfter({
        '2015-10-01 00:00:00' : 'old.fits',
        '2026-05-01 12:00:00' : 'new.fits',
    }),
})"""
RULES = {
    "ligeriri_0001.pmap": (PIPELINE, "{'LIGER' : 'ligeriri_liger_0001.imap'}"),
    "ligeriri_liger_0001.imap": (INSTRUMENT, "{'DQ' : 'ligeriri_liger_dq_0001.rmap'}"),
    "ligeriri_liger_dq_0001.rmap": (REFERENCE, RULE),
}


@pytest.fixture
def liger_cache(tmp_path: Path) -> Path:
    """Rules with the parkeys of those published for Liger, and two masks of 2048 x 2048."""
    root = tmp_path / "cache"
    mappings = root / "mappings/ligeriri"
    mappings.mkdir(parents=True)
    for name, (own, selector) in RULES.items():
        (mappings / name).write_text(HEADER.format(name=name, own=own, selector=selector))
    references = root / "references/ligeriri/liger"
    references.mkdir(parents=True)
    own_keys = {"INSTRUME": "Liger", "DETECTOR": "IMG", "TELESCOP": "Keck-I", "REFTYPE": "DQ"}
    for name, value in (("old.fits", 1024), ("new.fits", 2048)):
        dq = np.zeros((2048, 2048), np.uint32)
        dq[100, 200] = value
        make_mask(references / name, dq, header=own_keys)
    return root


def _liger(path: Path, **header: object) -> Path:
    keys = {"INSTRUME": "Liger", "DETECTOR": "IMG", "TELESCOP": "Keck-I", **header}
    return make_ramp(path, start=(201, 101), header=keys)


@pytest.mark.parametrize(
    ("time", "name", "value"), [("11:59:59", "old", 1024), ("12:00:00", "new", 2048)]
)
def test_liger_needs_no_python(
    folder: Path, liger_cache: Path, time: str, name: str, value: int
) -> None:
    """Selected by its own rules, whose last key holds date and time in one; applied; recorded."""
    ramp = _liger(folder / "ramp.fits", **{"DATE-OBS": "2026-05-01", "TIME-OBS": time})
    run = run_cli("apply", ramp, "-o", folder / "out.fits", "--crds-path", liger_cache)
    assert run.returncode == 0, run.stderr
    expected = np.zeros((6, 8), np.uint32)
    expected[0, 0] = value
    np.testing.assert_array_equal(arrays(folder / "out.fits")["PIXELDQ"], expected)
    assert fits.getval(folder / "out.fits", "R_MASK") == f"crds://{name}.fits"


def test_liger_has_its_own_size_and_detectors(folder: Path, liger_cache: Path) -> None:
    with pytest.raises(SelectionError, match="Liger has IMG"):
        apply_dq(_liger(folder / "a.fits", DETECTOR="IRIS1"), crds_path=liger_cache)
    ramp = _liger(folder / "b.fits", SUBSTRT1=2042)
    with pytest.raises(GeometryError, match="leaves the detector IMG"):
        apply_dq(ramp, crds_path=liger_cache)


def test_a_mask_of_the_sibling_is_refused(folder: Path) -> None:
    iris = make_mask(folder / "mask.fits", np.zeros((6, 8), np.uint32), start=(201, 101))
    with pytest.raises(MaskFormatError, match=r"INSTRUME IRIS.*is of Liger"):
        apply_dq(_liger(folder / "ramp.fits"), mask=iris)


def test_without_rules_for_its_observatory(folder: Path) -> None:
    expected = r"comes with tmt-dq.*no rules for observatory 'ligeriri'"
    with pytest.raises(ConfigError, match=expected):
        apply_dq(_liger(folder / "ramp.fits"))
