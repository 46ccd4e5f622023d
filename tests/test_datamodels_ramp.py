"""The ramp model: counts as they are in the file, flags of the right type and shape."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from tmt_dq import DQInitStep
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import GeometryError, RampFormatError


def plain_ramp(path: Any, data: Any, *units: Any, **keywords: Any) -> Path:
    """Write a ramp file as an instrument does."""
    primary = fits.PrimaryHDU()
    primary.header.update(keywords)
    fits.HDUList([primary, fits.ImageHDU(data, name="SCI"), *units]).writeto(path)
    return Path(path)


@pytest.mark.contract
def test_the_readout_librarys_ramp_opens(shared: Path) -> None:
    path = shared / "iris_readout_sample_ramp.fits"
    with TMTRampModel(path) as ramp:
        assert ramp.shape == (1, 4, 10, 10)
        assert np.array_equal(ramp.data, fits.getdata(path, "SCI"))
        assert ramp.pixeldq.shape == (10, 10)
        assert ramp.groupdq.shape == ramp.err.shape == (1, 4, 10, 10)
        assert (ramp.meta.name, ramp.meta.detector) == ("IRIS", "IRIS1")
        assert ramp.meta.observation.date == "2015-10-11"
        assert ramp.get_crds_parameters()["meta.observation.time"] == "00:00:00"
        assert "SUBARRAY" not in ramp.fits_keywords()


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "f4", "f8"])
def test_counts_of_any_type_are_float32_to_the_user(tmp_path: Any, dtype: Any) -> None:
    values = np.arange(24).reshape(1, 2, 3, 4) * 1000
    top = 65535 if dtype == "u2" else 30000
    values[-1, -1, -1, -1] = top
    path = plain_ramp(tmp_path / "ramp.fits", values.astype(dtype))
    with TMTRampModel(path) as ramp:
        assert ramp.data.dtype.kind == "f"
        assert ramp.data.dtype.itemsize == 4
        assert np.array_equal(ramp.data, values)
        assert ramp.data[-1, -1, -1, -1] == top


def test_flags_are_there_and_zero_where_the_file_has_none(tmp_path: Any) -> None:
    path = plain_ramp(tmp_path / "ramp.fits", np.zeros((2, 3, 4, 5), np.uint16))
    for ramp in (TMTRampModel(path), TMTRampModel((2, 3, 4, 5)), TMTRampModel(path).copy()):
        assert (ramp.pixeldq.shape, ramp.pixeldq.dtype) == ((4, 5), np.uint32)
        assert (ramp.groupdq.shape, ramp.groupdq.dtype) == ((2, 3, 4, 5), np.uint8)
        assert not ramp.pixeldq.any()
        assert not ramp.groupdq.any()
        assert ramp.err is None
        assert ramp.subarr_map is None


def test_what_is_saved_is_what_is_read(tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    ramp = TMTRampModel(data=rng.normal(size=(1, 2, 3, 4)).astype(np.float32))
    ramp.pixeldq = rng.integers(0, 2**32, (3, 4), np.uint32)
    ramp.groupdq = rng.integers(0, 256, (1, 2, 3, 4), np.uint8)
    ramp.err = rng.normal(size=(1, 2, 3, 4)).astype(np.float32)
    ramp.subarr_map = rng.integers(0, 11, (3, 4), np.uint16)
    ramp.meta.subarray.id = 3
    for name in ("ramp.fits", "ramp.asdf"):
        with TMTRampModel(ramp.write(tmp_path / name)) as read:
            for array in ("data", "pixeldq", "groupdq", "err", "subarr_map"):
                assert np.array_equal(getattr(read, array), getattr(ramp, array))
            assert read.meta.subarray.id == 3
    with fits.open(tmp_path / "ramp.fits") as file:
        types = {hdu.name: hdu.data.dtype.name for hdu in file[1:6]}
    assert types == {
        "SCI": "float32",
        "PIXELDQ": "uint32",
        "GROUPDQ": "uint8",
        "ERR": "float32",
        "SUBARR_MAP": "uint16",
    }


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("PIXELDQ", "u4", (4, 3)),
        ("PIXELDQ", "u4", (1, 1)),
        ("PIXELDQ", "u4", (1, 3, 4)),
        ("GROUPDQ", "u1", (3, 4)),
        ("GROUPDQ", "u1", (1, 1, 3, 4)),
        ("ERR", "f4", (1, 2, 1, 1)),
        ("SUBARR_MAP", "u2", (3, 3)),
    ],
)
def test_arrays_of_another_shape_are_refused_with_both_shapes(
    tmp_path: Any, name: Any, dtype: Any, shape: Any
) -> None:
    extra = fits.ImageHDU(np.zeros(shape, dtype), name=name)
    path = plain_ramp(tmp_path / "ramp.fits", np.zeros((1, 2, 3, 4), np.uint16), extra)
    with pytest.raises((GeometryError, RampFormatError), match=str(path)) as caught:
        TMTRampModel(path)
    if len(shape) == (2 if name in {"PIXELDQ", "SUBARR_MAP"} else 4):
        assert isinstance(caught.value, GeometryError)
        assert str(shape) in caught.value.what
        assert "(1, 2, 3, 4)" in caught.value.what


def test_arrays_that_disagree(tmp_path: Any) -> None:
    extra = fits.ImageHDU(np.zeros((30, 40), np.uint16), name="SUBARR_MAP")
    path = plain_ramp(tmp_path / "ramp.fits", np.zeros((1, 2, 3, 4)), extra, SUBARRID=2)
    with TMTRampModel(path) as ramp:
        assert ramp.subarr_map.shape == (30, 40)
    ramp = TMTRampModel((1, 2, 3, 4))
    ramp.data = np.zeros((1, 2, 5, 5), np.float32)
    with pytest.raises(GeometryError, match="pixeldq"):
        ramp.save(tmp_path / "new.fits")
    assert list(tmp_path.iterdir()) == [path]
    ramp.pixeldq, ramp.groupdq = np.zeros((5, 5)), np.zeros((1, 2, 5, 5))
    ramp.save(tmp_path / "new.fits")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PIXELDQ", np.full((3, 4), -1, np.int32)),
        ("PIXELDQ", np.full((3, 4), 0.5)),
        ("PIXELDQ", np.full((3, 4), 2**33, np.int64)),
        ("GROUPDQ", np.full((1, 2, 3, 4), 256, np.int16)),
        ("GROUPDQ", np.full((1, 2, 3, 4), -1, np.int16)),
    ],
)
def test_values_that_are_no_flags_are_refused(tmp_path: Any, name: Any, values: Any) -> None:
    path = plain_ramp(
        tmp_path / "ramp.fits", np.zeros((1, 2, 3, 4)), fits.ImageHDU(values, name=name)
    )
    with pytest.raises(RampFormatError, match=r"no flags|flags of groups"):
        TMTRampModel(path)
    ramp = TMTRampModel((1, 2, 3, 4))
    with pytest.raises(RampFormatError, match=r"no flags|flags of groups"):
        setattr(ramp, name.lower(), values)
    assert not ramp.pixeldq.any()
    assert not ramp.groupdq.any()


def test_flags_of_wider_types_that_fit_are_taken(tmp_path: Any) -> None:
    groupdq = np.full((1, 2, 3, 4), 255, np.int16)
    pixeldq = np.full((3, 4), 2**31, np.int64)
    path = plain_ramp(
        tmp_path / "ramp.fits",
        np.zeros((1, 2, 3, 4)),
        fits.ImageHDU(groupdq, name="GROUPDQ"),
        fits.ImageHDU(pixeldq, name="PIXELDQ"),
    )
    with TMTRampModel(path) as ramp:
        assert ramp.groupdq.dtype == np.uint8
        assert ramp.pixeldq.dtype == np.uint32
        assert np.array_equal(ramp.groupdq, groupdq)
        assert np.array_equal(ramp.pixeldq, pixeldq)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 2, 3, 4)])
def test_counts_must_have_four_dimensions(tmp_path: Any, shape: Any) -> None:
    path = plain_ramp(tmp_path / "ramp.fits", np.zeros(shape, np.uint16))
    with pytest.raises(RampFormatError, match="wrong number of dimensions"):
        TMTRampModel(path)


def test_a_file_without_counts_is_no_ramp(tmp_path: Any) -> None:
    path = tmp_path / "ramp.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(name="DQ")]).writeto(path)
    with pytest.raises(RampFormatError, match="no extension SCI; found PRIMARY, DQ"):
        TMTRampModel(path)


def test_headers_that_contradict_each_other_are_refused_as_in_a_file(tmp_path: Any) -> None:
    path = plain_ramp(
        tmp_path / "ramp.fits",
        np.zeros((1, 2, 3, 4), np.uint16),
        **{"DETECTOR": "IRIS1", "INSTRUME": "IRIS", "DATE-OBS": "2030-01-01", "BUNIT": "DN"},
    )
    fits.setval(path, "DETECTOR", value="IRIS2", extname="SCI")
    fits.setval(path, "INSTRUME", value="iris ", extname="SCI")
    fits.setval(path, "BUNIT", value="electron", extname="SCI")
    with TMTRampModel(path) as ramp:
        keywords = ramp.image_keywords()
        assert keywords["INSTRUME"] == "IRIS"
        assert keywords.get("FASTAXIS") is None
        with pytest.raises(RampFormatError, match="DETECTOR has two values: 'IRIS1' in primary"):
            DQInitStep.call(ramp, override_mask="N/A")
        with pytest.raises(RampFormatError, match="BUNIT has two values"):
            ramp.to_nddata()
        assert ramp.to_nddata(unit="DN").meta["DETECTOR"] == "IRIS2"
