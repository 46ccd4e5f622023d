"""Instruments are data: what IRIS' description says, and Liger through the whole chain."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import arrays, make_mask, make_ramp, run_cli, run_python
from reference_helpers import mapping_text, write_rules
from tmt_dq import instruments
from tmt_dq.apply.apply import apply_dq
from tmt_dq.core.geometry import Border
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, SelectionError
from tmt_dq.instruments import description


def test_iris_has_five_detectors_of_4096_by_4096_with_a_border_of_four() -> None:
    iris = instruments.load("iris")
    assert list(iris.detectors) == ["IRIS1", "IRIS2", "IRIS3", "IRIS4", "IFU"]
    assert {detector.shape for detector in iris.detectors.values()} == {(4096, 4096)}
    borders = {detector.reference_border for detector in iris.detectors.values()}
    assert borders == {Border(4, 4, 4, 4)}
    assert (iris.observatory, iris.reftype) == ("tmt", "mask")
    for name in instruments.available():
        assert instruments.load(name).recipe == Recipe()
    with pytest.raises(ConfigError, match=r"'NIRCAM' is not known.*IRIS, LIGER"):
        instruments.load("NIRCAM")
    # Help texts and completion show the instruments.
    code = "import sys, tmt_dq.instruments as i; i.load('IRIS'); print('numpy' in sys.modules)"
    assert run_python("-c", code).stdout.strip() == "False"


DESCRIPTION = """
name = "Test"
telescope = "TMT"
observatory = "tmt"
reftype = "mask"
read_number_column = "READ"
[keywords]
"META.INSTRUMENT.NAME" = "INSTRUME"
[recipe]
ad_floor = 0
guide_parts = ["box"]
[limits]
flagged_fraction = 0.1
[do_not_use]
flags = ["DEAD"]
[guide_windows]
extension = "ODGW"
keywords = ["X{n}", "Y{n}", "NX{n}", "NY{n}"]
count = 4
[detectors.A]
aliases = ["ONE"]
shape = [64, 32]
reference_border = 4
[detectors.B]
aliases = []
shape = [64, 32]
reference_border = 0
channels = 2
[layouts.other]
datamodl = "Cube"
data = "COUNTS"
flags = "QUALITY"
axes = ["x", "y", "group", "integration"]
unknown_orientation = [0, 1]
"""

RULES = """[other_observatories.other]
reftype = "dq"
keywords = {}
[other_observatories.other.detectors]
"""


def test_a_description_is_what_it_says() -> None:
    made = description.parse(DESCRIPTION, "test.toml")
    found = (made.name, made.telescope, made.observatory, made.reftype)
    assert found == ("Test", "TMT", "tmt", "mask")
    assert made.keywords == {"META.INSTRUMENT.NAME": "INSTRUME"}
    assert made.recipe == Recipe(ad_floor=0, guide_parts=("box",))
    assert (made.limits.flagged_fraction, made.limits.do_not_use_fraction) == (0.1, None)
    assert made.do_not_use == ("DEAD",)
    assert made.guide_windows is not None
    assert made.guide_windows.keywords == ("X{n}", "Y{n}", "NX{n}", "NY{n}")
    assert made.read_number_column == "READ"
    assert made.detector("one").shape == (64, 32)
    assert (made.detector("A").channels, made.detector("B").channels) == (1, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "Test"', "", "test.toml: has no field name; expected a text"),
        ('name = "Test"', "name = 3", "test.toml: name is 3; expected a text"),
        ('name = "Test"', 'name = " "', "test.toml: name is ' '; expected a text"),
        ('"mask"', '"mask"\nreftypo = "x"', "test.toml: has the unknown field reftypo; known are"),
        ("[keywords]", "[keyword]", "test.toml: has no field keywords; expected a table"),
        ('= "INSTRUME"', "= 1", "test.toml[keywords]: META.INSTRUMENT.NAME is 1; expected"),
        ("ad_floor = 0", "ad_flour = 0", "test.toml[recipe]: a recipe has no ad_flour"),
        ("ad_floor = 0", 'ad_floor = "0"', "test.toml[recipe]: ad_floor is '0' (str); expected"),
        ("flagged_fraction", "flagged", "test.toml[limits]: has the unknown field flagged; known"),
        ("= 0.1", "= 10", "test.toml[limits]: flagged_fraction is 10; expected a fraction"),
        ("= 0.1", "= true", "test.toml[limits]: flagged_fraction is True; expected a fraction"),
        ('["DEAD"]', '["DAED"]', "test.toml[do_not_use]: 'DAED' is not a flag of PIXELDQ"),
        ('["DEAD"]', '"DEAD"', "test.toml[do_not_use]: flags is 'DEAD'; expected a list"),
        ("[do_not_use]", "do_not_use = 3\n[x]", "test.toml[limits]: has the unknown field do_not"),
        ('"NY{n}"]', '"NY"]', "test.toml[guide_windows]: keywords is"),
        ("count = 4", "count = 0", "test.toml[guide_windows]: count is 0; expected a number"),
        ("count = 4", "", "test.toml[guide_windows]: has no field count"),
        ("[64, 32]", "[64]", "test.toml[detectors.A]: shape is [64]; expected two numbers"),
        ("[64, 32]", "[64, 0]", "test.toml[detectors.A]: shape is [64, 0]; expected two numbers"),
        ("[64, 32]", "[64, 32.0]", "test.toml[detectors.A]: shape is [64, 32.0]; expected"),
        ("border = 4", "border = -4", "test.toml[detectors.A]: reference_border is -4; expected"),
        ("border = 4", "boarder = 4", "test.toml[detectors.A]: has no field reference_border"),
        ('["ONE"]', '["one", "B"]', "test.toml[detectors]: detectors and aliases are A, ONE, B, B"),
        ("[detectors.A]", "[detectors]\nA = 3\n[x]", "test.toml[detectors.A]: is 3; expected a t"),
        (
            "channels = 2",
            "channels = 2\nchanels = 2",
            "detectors.B]: has the unknown field chanels",
        ),
        ('datamodl = "Cube"', "", "test.toml[layouts.other]: has no field datamodl"),
        ('["x", "y"', '["x", "x"', "expected integration, group, y, x, in the order of the array"),
        ('"QUALITY"', '"counts"', "[layouts.other]: has data = 'COUNTS' and flags = 'counts'; exp"),
        ('"QUALITY"', '"pixeldq"', "expected two names, and none of ASDF, DQ_DEF, DQ_SOURCES, PIX"),
        ("[0, 1]", "[0]", "test.toml[layouts.other]: unknown_orientation is [0]; expected two"),
        ("[limits]", "[limits", "test.toml: is not TOML: "),
        *(
            ("[do_not_use]", f"{RULES}{wrong}\n[do_not_use]", f"other.detectors]: has {wrong}; exp")
            for wrong in ("A = 'B'", "C = 'ONE'")
        ),
    ],
)
def test_a_wrong_description_names_file_and_field(old: str, new: str, message: str) -> None:
    text = DESCRIPTION.replace(old, new, 1)
    assert text != DESCRIPTION
    with pytest.raises(ConfigError) as caught:
        description.parse(text, "test.toml")
    assert message in str(caught.value)


@pytest.fixture
def liger_cache(tmp_path: Path) -> Path:
    """Rules with the parkeys of those published for Liger, and two masks of 2048 x 2048."""
    root = tmp_path / "cache"
    dates = {"2015-10-01 00:00:00": "old.fits", "2026-05-01 12:00:00": "new.fits"}
    parkey = (("META.INSTRUMENT.DETECTOR", "META.SUBARRAY.NAME"), ("META.DATE",))
    rules = {("IMG", "GENERIC"): dates}
    references = write_rules(root, "ligeriri", "Liger", rules, reftype="dq", parkey=parkey)
    imap = root / "mappings/ligeriri/ligeriri_liger_0001.imap"
    header: dict[str, Any] = {"mapping": "INSTRUMENT", "observatory": "LIGERIRI"}
    header |= {"name": imap.name, "derived_from": "NONE", "ignore_checksum": True}
    header |= {"instrument": "Liger", "parkey": ("META.EXPOSURE.IMTYPE",)}
    imap.write_text(mapping_text(header, "{'DQ' : 'ligeriri_liger_dq_0001.rmap'}"))
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
    run_cli("apply", ramp, "-o", folder / "out.fits", "--crds-path", liger_cache, code=0)
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


def test_a_sibling_is_no_substitute(folder: Path) -> None:
    iris = make_mask(folder / "mask.fits", np.zeros((6, 8), np.uint32), start=(201, 101))
    with pytest.raises(MaskFormatError, match=r"INSTRUME IRIS.*is of Liger"):
        apply_dq(_liger(folder / "ramp.fits"), mask=iris)
    expected = r"comes with tmt-dq.*no rules for observatory 'ligeriri'"
    with pytest.raises(ConfigError, match=expected):
        apply_dq(_liger(folder / "ramp.fits"))
