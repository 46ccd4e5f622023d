"""Flags in astropy: names for `astropy.nddata.bitmask`, and models as NDData and CCDData."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, bitmask

from builders import CONVENTION, arrays, make_mask, make_ramp, run_python
from tmt_dq import apply_dq, dqflags
from tmt_dq.datamodels import TMTMaskModel, TMTRampModel
from tmt_dq.errors import ConfigError, GeometryError, UnknownFlagError

DNU, SATURATED, DEAD, HOT, REF = (
    CONVENTION[name] for name in ("DO_NOT_USE", "SATURATED", "DEAD", "HOT", "REFERENCE_PIXEL")
)


def test_every_flag_has_its_name_in_astropy() -> None:
    for name, value in CONVENTION.items():
        if value:
            assert bitmask.interpret_bit_flags(name, flag_name_map=dqflags.PixelBits) == value
    assert dqflags.PixelBits["UNRELIABLE_ERROR"] == 256  # its old name
    assert dqflags.PixelBits.HOT.__doc__ == "Hot pixel"
    assert bitmask.interpret_bit_flags("DEAD,HOT", flag_name_map=dqflags.PixelBits) == 3072
    assert bitmask.interpret_bit_flags("~(DEAD+HOT)", flag_name_map=dqflags.PixelBits) == ~3072
    assert bitmask.interpret_bit_flags(["DEAD", "HOT"], flag_name_map=dqflags.PixelBits) == 3072
    assert dqflags.GroupBits.SATURATED == 2
    with pytest.raises(AttributeError, match="HAUT"):
        bitmask.interpret_bit_flags("HAUT", flag_name_map=dqflags.PixelBits)
    with pytest.raises(AttributeError, match="HOT"):
        bitmask.interpret_bit_flags("HOT", flag_name_map=dqflags.GroupBits)
    with pytest.raises(AttributeError, match="NoBits"):
        _ = dqflags.NoBits


def test_the_classes_pickle_and_cost_nothing_until_used() -> None:
    assert pickle.loads(pickle.dumps(dqflags.PixelBits)) is dqflags.PixelBits
    code = (
        "import sys\nfrom tmt_dq import dqflags\ndqflags.pixel['HOT']\n"
        "assert 'astropy' not in sys.modules\nassert 'PixelBits' in dir(dqflags)\n"
        "print(dqflags.PixelBits.HOT)\n"
    )
    assert run_python("-c", code).stdout == "2048\n"


WORLD = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CUNIT1": "deg",
    "CUNIT2": "deg",
    "CRVAL1": 10.0,
    "CRVAL2": 20.0,
    "CRPIX1": 3.0,
    "CRPIX2": 2.0,
    "CDELT1": -1e-5,
    "CDELT2": 1e-5,
    "CTYPE3": "TIME",
    "WCSAXES": 4,
}


@pytest.fixture
def flagged(folder: Path) -> Path:
    """Return a ramp of 3 groups: DEAD at [0, 0], HOT and DO_NOT_USE at [2, 3], one saturated."""
    ramp = make_ramp(folder / "a_uncal.fits", sci_header={"BUNIT": "electron", **WORLD})
    apply_dq(ramp, mask=make_mask(folder / "m.fits"), recipe={"full_scale": 143})
    return folder / "a_dqinit.fits"


def test_whole_ramp(flagged: Path) -> None:
    model = TMTRampModel(flagged)
    exported = model.to_nddata()
    assert isinstance(exported, NDData)
    assert np.shares_memory(exported.data, model.data)
    assert exported.unit == u.electron
    assert exported.wcs is None
    stored = arrays(flagged)
    assert exported.flags.dtype == np.uint32
    expected = stored["PIXELDQ"] | stored["GROUPDQ"].astype(np.uint32)
    np.testing.assert_array_equal(exported.flags, expected)
    assert expected[0, 2, 5, 7] == SATURATED
    np.testing.assert_array_equal(exported.mask, (expected & DNU) != 0)
    assert exported.meta["DETECTOR"] == "IRIS1"
    assert exported.uncertainty is None


@pytest.mark.parametrize(
    ("chosen", "bits"),
    [
        ("DO_NOT_USE", DNU),
        ("DEAD,HOT", DEAD | HOT),
        (["DEAD", "SATURATED"], DEAD | SATURATED),
        ("any", 2**32 - 1),
    ],
)
def test_chosen_flags(flagged: Path, chosen: Any, bits: int) -> None:
    model = TMTRampModel(flagged)
    exported = model.to_nddata(mask_flags=chosen)
    np.testing.assert_array_equal(exported.mask, (exported.flags & np.uint32(bits)) != 0)
    read = model.to_ccddata(mask_flags=chosen)
    np.testing.assert_array_equal(read.mask, exported.mask[0, -1])


def test_no_mask_and_wrong_flags(flagged: Path) -> None:
    model = TMTRampModel(flagged)
    assert model.to_nddata(mask_flags=None).mask is None
    with pytest.raises(UnknownFlagError, match="HAUT"):
        model.to_nddata(mask_flags="HAUT")
    nothing: Any
    for nothing in ("", "GOOD", []):
        with pytest.raises(ConfigError, match="is no flag by which to mask"):
            model.to_ccddata(mask_flags=nothing)


def test_one_read(flagged: Path) -> None:
    model = TMTRampModel(flagged)
    read = model.to_ccddata(group=1)
    assert isinstance(read, CCDData)
    assert np.shares_memory(read.data, model.data)
    np.testing.assert_array_equal(read.data, np.arange(48, 96).reshape(6, 8))
    assert read.flags[0, 0] == DEAD
    assert model.to_ccddata().flags[5, 7] == SATURATED
    assert read.flags[5, 7] == 0
    assert read.mask[2, 3]
    assert not read.mask[0, 0]
    assert read.wcs.naxis == 2
    # The pixel of CRPIX, 1-based x = 3, y = 2, is at CRVAL.
    assert read.wcs.pixel_to_world_values(2, 1) == pytest.approx((10.0, 20.0))
    assert "CTYPE1" not in read.header
    assert "BUNIT" not in read.header


def test_a_read_can_be_written_and_read_by_astropy(flagged: Path, folder: Path) -> None:
    read = TMTRampModel(flagged).to_ccddata()
    read.write(folder / "read.fits")
    again = CCDData.read(folder / "read.fits")
    np.testing.assert_array_equal(again.data, read.data)
    np.testing.assert_array_equal(again.mask, read.mask)
    assert again.unit == u.electron
    assert again.header["DETECTOR"] == "IRIS1"
    assert again.wcs.wcs.ctype[0] == "RA---TAN"


def test_numbers_of_reads(flagged: Path) -> None:
    model = TMTRampModel(flagged)
    np.testing.assert_array_equal(model.to_ccddata(group=-3).data, model.data[0, 0])
    for place, message in (({"group": 3}, "no group 3; the ramp has 3"), ({"group": -4}, "-4")):
        with pytest.raises(GeometryError, match=message):
            model.to_ccddata(**place)
    with pytest.raises(GeometryError, match="no integration 1"):
        model.to_ccddata(integration=1)


def test_units(folder: Path) -> None:
    bare = TMTRampModel(make_ramp(folder / "bare.fits"))
    assert bare.to_nddata().unit == u.DN
    assert bare.to_ccddata(unit="adu").unit == u.adu
    odd = TMTRampModel(make_ramp(folder / "odd.fits", sci_header={"BUNIT": "furlongs of light"}))
    with pytest.raises(ConfigError, match="BUNIT is 'furlongs of light'"):
        odd.to_nddata()
    assert odd.to_nddata(unit=u.electron).unit == u.electron
    with pytest.raises(ConfigError, match="unit is 'fur'"):
        odd.to_nddata(unit="fur")


def test_a_ramp_without_samples_flagged_takes_no_memory_for_flags() -> None:
    model = TMTRampModel((2, 50, 6, 8))
    model.pixeldq[0, 0] = DNU
    model.err = np.full((2, 50, 6, 8), 3, np.float32)
    exported = model.to_nddata()
    assert exported.flags.base is model.pixeldq
    assert exported.mask.strides[:2] == (0, 0)
    assert exported.mask[1, 49, 0, 0]
    assert exported.mask.sum() == 100
    assert exported.uncertainty.uncertainty_type == "std"
    assert np.shares_memory(exported.uncertainty.array, model.err)
    # Nothing of the model can be changed through a view that stands for many samples.
    with pytest.raises(ValueError, match="read-only"):
        exported.flags[0, 0, 0, 0] = 1


def test_shapes_are_checked() -> None:
    model = TMTRampModel((1, 2, 6, 8))
    model.pixeldq = np.zeros((6, 7), np.uint32)
    with pytest.raises(GeometryError, match="pixeldq has the shape"):
        model.to_nddata()
    with pytest.raises(ConfigError, match="no counts"):
        TMTRampModel().to_nddata()
    with pytest.raises(ConfigError, match="no counts"):
        TMTRampModel().to_ccddata()


def test_keywords_of_any_kind(folder: Path) -> None:
    path = make_ramp(folder / "a.fits", header={"OBJECT": "M 31", "LONGTEXT": "x" * 200})
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["HIERARCH a long key"] = 5
    header = TMTRampModel(path).to_ccddata().header
    assert header["OBJECT"] == "M 31"
    assert header["LONGTEXT"] == "x" * 200
    assert header["a long key"] == 5


def test_masks(folder: Path) -> None:
    model = TMTMaskModel(make_mask(folder / "mask.fits"))
    for exported in (model.to_nddata(), model.to_ccddata()):
        assert exported.data is model.dq
        assert exported.flags is model.dq
        assert np.argwhere(exported.mask).tolist() == [[2, 3]]
        assert exported.unit == u.dimensionless_unscaled
        assert exported.meta["USEAFTER"] == "2015-10-01T00:00:00"
    assert model.to_ccddata(mask_flags="any").mask.sum() == 2
    with pytest.raises(GeometryError, match="no flags"):
        TMTMaskModel().to_nddata()
