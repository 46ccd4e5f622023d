"""FITS images of any type and polarity, read into flags of the detector."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

from builders import CONVENTION, GOLDEN_DQ_DEF, make_mask, write_hdus
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, UnknownFlagError
from tmt_dq.masks.formats import Target, read_flags
from tmt_dq.masks.reading import Reading

SHAPE = (6, 8)
MAP = np.zeros(SHAPE, np.int16)
MAP[1, 2] = MAP[5, 7] = 1


def flags(path: Path, shape: tuple[int, int] = SHAPE, **said: Any) -> npt.NDArray[np.uint32]:
    return read_flags(path, Target(shape), Reading(**said)).dq


def image(path: Path, data: npt.NDArray[Any], **header: object) -> Path:
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(header)
    return write_hdus(path, fits.HDUList([hdu]))


EXTREMES = {"i1": -128, "i2": -32768, "i4": -(2**31), "i8": -(2**62)}
EXTREMES |= {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "u8": 2**63, "f4": -1, "f8": 2**40}


@pytest.mark.parametrize(("dtype", "extreme"), EXTREMES.items())
def test_maps_of_any_type(folder: Path, dtype: str, extreme: int) -> None:
    data = MAP.astype(dtype)
    path = image(folder / "map.fits", data)
    want = np.where(MAP, np.uint32(CONVENTION["HOT"]), np.uint32(0))
    assert np.array_equal(flags(path, bad=1, flag="HOT"), want)
    assert np.array_equal(flags(path, bad="nonzero", flag="HOT"), want)
    assert np.array_equal(flags(path, good=0, flag="HOT"), want)
    assert np.array_equal(flags(path, bad=0, flag="HOT") == 0, want != 0)
    assert np.array_equal(flags(path, values={1: "HOT"}), want)
    data[0, 0] = extreme
    dq = flags(image(folder / "extreme.fits", data), bad=extreme, flag="DEAD")
    assert np.argwhere(dq).tolist() == [[0, 0]]


def test_maps_with_zero_for_bad_and_what_is_asked(folder: Path) -> None:
    path = image(folder / "map.fits", np.where(MAP, 0, 9).astype(np.uint8))
    want = np.where(MAP, np.uint32(CONVENTION["DEAD"]), np.uint32(0))
    polarities: list[dict[str, Any]] = [{"bad": 0}, {"good": 9}, {"bad": 0, "good": 9}]
    for said in polarities:
        assert np.array_equal(flags(path, flag="DEAD", **said), want)
    with pytest.raises(MaskFormatError, match=r"besides bad=0 and good=8: 0 \(2 pixels\), 9 \(46"):
        flags(path, flag="DEAD", bad=0, good=8)
    path = image(folder / "map.fits", MAP)
    with pytest.raises(ConfigError, match=r"0 \(46 pixels\), 1 \(2 pixels\)\n.*bad=…"):
        flags(path)
    with pytest.raises(ConfigError, match="which of its values are bad"):
        flags(path, flag="HOT")
    with pytest.raises(ConfigError, match="which flag"):
        flags(path, bad=1)
    many = image(folder / "many.fits", np.arange(48, dtype=np.int32).reshape(SHAPE))
    with pytest.raises(ConfigError, match="and 40 more values"):
        flags(many)


def test_a_mask_with_its_convention_needs_no_words(folder: Path) -> None:
    stored = np.array([[2, 4, 8, 16], [1, 3, 5, 9]], np.uint32)
    want = [[1024, 2048, 16777216, 16384], [1, 1025, 2049, 16777217]]
    path = make_mask(folder / "mask.fits", stored, rows=GOLDEN_DQ_DEF)
    assert flags(path, (2, 4)).tolist() == want
    own = make_mask(folder / "own.fits", np.array([[1025, 0]], np.int16), start=None)
    assert flags(own, (1, 2)).tolist() == [[1025, 0]]
    with pytest.raises(ConfigError, match="holds flags already"):
        flags(own, (1, 2), flag="HOT")
    with pytest.raises(ConfigError, match="base cannot be used"):
        flags(own, (1, 2), base=0)
    with pytest.raises(ConfigError, match="DQ_DEF gives the meaning"):
        flags(path, (2, 4), values={2: "HOT"})
    # Read as a plain map on request.
    assert flags(own, (1, 2), bad="nonzero", flag="HOT").tolist() == [[2048, 0]]


def test_an_image_called_dq_does_not_say_whose_flags(folder: Path) -> None:
    # HST calls its images DQ too, with other bits.
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(MAP * 16, name="DQ")])
    path = write_hdus(folder / "flt.fits", hdus)
    with pytest.raises(ConfigError, match="which of its values"):
        flags(path)
    want = np.where(MAP, np.uint32(CONVENTION["HOT"]), np.uint32(0))
    assert np.array_equal(flags(path, values={16: "HOT"}), want)
    assert np.array_equal(flags(path, values="convention"), MAP.astype(np.uint32) * 16)


def test_bits_without_a_meaning_are_errors(folder: Path) -> None:
    path = image(folder / "map.fits", MAP * 20)
    with pytest.raises(UnknownFlagError, match=r"\(value 4\) in 2 pixels"):
        flags(path, values={16: "HOT"})
    dropped = read_flags(path, Target(SHAPE), Reading(values={16: "HOT"}, unknown="drop"))
    assert np.array_equal(dropped.dq, MAP.astype(np.uint32) * CONVENTION["HOT"])
    assert dropped.left_out == {2: 2}
    assert flags(path, values={16: "HOT", 4: "DEAD,DO_NOT_USE"})[1, 2] == 2048 + 1024 + 1
    with pytest.raises(MaskFormatError, match="no flags"):
        flags(image(folder / "negative.fits", -MAP), values="convention")
    with pytest.raises(MaskFormatError, match="no flags"):
        flags(image(folder / "large.fits", MAP.astype("i8") << 32), values="convention")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5, None])
def test_undefined_pixels_and_numbers_that_are_not_whole(folder: Path, value: float | None) -> None:
    data: npt.NDArray[Any] = MAP.astype(np.float32)
    header: dict[str, Any] = {}
    if value is None:
        data, header, value = MAP.copy(), {"BLANK": -99}, -99
    data[3, 3] = value
    with pytest.raises(MaskFormatError, match="1 pixels that are undefined or no whole"):
        flags(image(folder / "map.fits", data, **header), bad=1, flag="HOT")


def test_scaled_images(folder: Path) -> None:
    hdu = fits.PrimaryHDU(MAP * 2)
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 3
    buffer = folder / "map.fits"
    with fits.HDUList([hdu]) as hdus:
        hdus.writeto(buffer)
    assert b"BSCALE" in buffer.read_bytes()
    assert np.argwhere(flags(buffer, bad=4, flag="HOT")).tolist() == [[1, 2], [5, 7]]


def test_smaller_images_are_placed(folder: Path) -> None:
    path = image(folder / "map.fits", MAP)
    with pytest.raises(GeometryError, match=r"is 8 × 6 .* expected the detector's 20 × 10") as told:
        flags(path, (10, 20), bad=1, flag="HOT")
    assert told.value.options == ("at",)
    dq = flags(path, (10, 20), bad=1, flag="HOT", at=(13, 5))
    assert np.argwhere(dq).tolist() == [[5, 14], [9, 19]]
    with pytest.raises(GeometryError, match="not on the detector"):
        flags(path, (10, 20), bad=1, flag="HOT", at=(14, 5))
    placed = image(folder / "placed.fits", MAP, SUBSTRT1=13, SUBSTRT2=5)
    assert np.array_equal(flags(placed, (10, 20), bad=1, flag="HOT"), dq)
    mask = make_mask(folder / "mask.fits", start=(13, 5))
    assert np.argwhere(flags(mask, (10, 20))).tolist() == [[4, 12], [6, 15]]
    for path, said in ((placed, {"bad": 1, "flag": "HOT"}), (mask, {})):
        with pytest.raises(ConfigError, match="by its header"):
            flags(path, (10, 20), at=(1, 1), **said)
    with pytest.raises(GeometryError, match="has SUBSTRT1 0, SUBSTRT2 5; expected"):
        flags(image(folder / "odd.fits", MAP, SUBSTRT1=0, SUBSTRT2=5), bad=1, flag="HOT")
    with pytest.raises(GeometryError, match="not on the detector"):
        flags(image(folder / "big.fits", np.ones((12, 9), "u1")), at=(1, 1), bad=1, flag="HOT")


def test_several_images_are_chosen_from(folder: Path) -> None:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(MAP, name="A"), fits.ImageHDU(MAP.T, name="B")]
    path = write_hdus(folder / "two.fits", fits.HDUList(hdus))
    with pytest.raises(ConfigError, match="extension=…"):
        flags(path, bad=1, flag="HOT")
    want = flags(image(folder / "one.fits", MAP), bad=1, flag="HOT")
    assert np.array_equal(flags(path, bad=1, flag="HOT", extension="a"), want)
    assert np.array_equal(flags(path, bad=1, flag="HOT", extension=1), want)
    with pytest.raises(ConfigError, match="has no 2-D images or lists C"):
        flags(path, bad=1, flag="HOT", extension="C")
    with pytest.raises(MaskFormatError, match="has no 2-D image"):
        flags(image(folder / "cube.fits", np.zeros((2, 6, 8), "u1")), bad=1, flag="HOT")


@pytest.mark.parametrize(
    ("name", "said", "bad", "good"),
    [
        ("osiris_badpixelmask20170902_sigma15.fits.gz", {"bad": 0, "good": 9}, 9967, 4184337),
        ("nrc_badpix_231206_NRCALONG.fits.gz", {"bad": "nonzero"}, 170082, 4024222),
    ],
)
def test_maps_of_other_observatories(
    shared: Path, name: str, said: dict[str, Any], bad: int, good: int
) -> None:
    path = shared / "masks" / name
    with fits.open(path) as hdus:
        data = np.array(hdus[0].data)
    dq = flags(path, (2048, 2048), flag="OTHER_BAD_PIXEL", **said)
    bad_value = said.get("bad", 0)
    assert np.array_equal(dq != 0, data != 0 if bad_value == "nonzero" else data == bad_value)
    assert np.count_nonzero(dq == CONVENTION["OTHER_BAD_PIXEL"]) == bad
    assert np.count_nonzero(dq == 0) == good
    with pytest.raises(ConfigError):
        flags(path, (2048, 2048))
    with pytest.raises(ConfigError):
        flags(path, (2048, 2048), flag="HOT")
