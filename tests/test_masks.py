"""Mask files and user DQ images as they are read: values, place, owner, and the memory of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import make_mask, make_ramp
from tmt_dq.core.geometry import Window
from tmt_dq.errors import MaskFormatError
from tmt_dq.exposures.ramp import Ramp, read_ramp
from tmt_dq.fits.file import open_input
from tmt_dq.masks.mask import check_belongs, cut_out, read_mask


def ramp_of(folder: Path, shape: tuple[int, ...] = (1, 2, 6, 8), **options: Any) -> Ramp:
    with open_input(make_ramp(folder / "ramp.fits", shape, **options)) as file:
        return read_ramp(file).ramp


@pytest.mark.parametrize("value", [None, fits.card.Undefined()], ids=["absent", "empty"])
def test_a_mask_that_says_little(folder: Path, value: object) -> None:
    keys = ("INSTRUME", "DETECTOR", "REFTYPE", "TELESCOP", "SUBSTRT1", "SUBSTRT2", "FASTAXIS")
    dq = np.ones((6, 8), np.uint8)
    mask = read_mask(make_mask(folder / "mask.fits", dq, header=dict.fromkeys(keys, value)))
    assert mask.window == Window(0, 0, 6, 8)
    assert (mask.instrument, mask.detector, mask.orientation) == (None, None, (None, None))
    assert not mask.placed


def test_place_in_the_header_of_the_image(folder: Path) -> None:
    path = make_mask(folder / "mask.fits", np.ones((6, 8), np.uint32), start=None)
    with fits.open(path, mode="update") as hdus:
        hdus["DQ"].header["SUBSTRT1"], hdus["DQ"].header["SUBSTRT2"] = 3, 5
    assert read_mask(path).window == Window(4, 2, 6, 8)


def scaled(path: Path, stored: Any, **cards: float) -> Path:
    """Write a mask whose stored values have a scale."""
    make_mask(path, stored)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        for key, value in cards.items():
            hdus["DQ"].header[key] = value
    return path


def test_scaled_undefined_and_undeclared_values(folder: Path) -> None:
    path = scaled(folder / "m.fits", np.array([[0, 1, 2]], np.int16), BSCALE=4.0, BZERO=2.0)
    assert read_mask(path).dq.tolist() == [[2, 6, 10]]
    path = scaled(folder / "n.fits", np.array([[0, 1, 2]], np.int16), BSCALE=0.5)
    with pytest.raises(MaskFormatError, match=r"0\.5"):
        read_mask(path)
    path = scaled(folder / "m.fits", np.array([[0, 99, 2]], np.int16), BLANK=99)
    with pytest.raises(MaskFormatError, match="undefined pixels"):
        read_mask(path)
    path = scaled(folder / "n.fits", np.array([[0, 1, 2]], np.int16), BLANK=99)
    assert read_mask(path).dq.tolist() == [[0, 1, 2]]
    zero = np.zeros((2, 2), np.uint32)
    assert not read_mask(make_mask(folder / "m.fits", zero, rows=[])).dq.any()
    with pytest.raises(MaskFormatError, match="bit 0"):
        read_mask(make_mask(folder / "n.fits", zero + np.uint32(1), rows=[]))


def test_a_mask_is_read_once_in_each_state(folder: Path) -> None:
    path = make_mask(folder / "mask.fits")
    mask = read_mask(path)
    assert read_mask(path) is mask
    with pytest.raises(ValueError, match="read-only"):
        mask.dq[0, 0] = 1
    cut = cut_out(mask, Window(2, 3, 2, 2))
    assert np.shares_memory(cut, mask.dq)
    assert cut.tolist() == [[2049, 0], [0, 0]]
    assert not cut.flags.writeable
    path = make_mask(folder / "mask.fits", np.ones((6, 8), np.uint32))
    first = read_mask(path)
    other = make_mask(folder / "other.fits", np.full((6, 8), 2, np.uint32))
    os.utime(other, ns=(1, first.path.stat().st_mtime_ns + 1))
    other.replace(path)
    assert (read_mask(path).dq == 2).all()
    path = make_mask(folder / "m.fits", np.full((1, 1), 3, np.uint32), rows=[(0, 1, "HOT")])
    assert read_mask(path, unknown="drop").dq.tolist() == [[2048]]
    with pytest.raises(MaskFormatError):
        read_mask(path)


def test_masks_of_others(folder: Path) -> None:
    ramp = ramp_of(folder)
    for name, header in [("a", {"DETECTOR": "IRIS2"}), ("b", {"INSTRUME": "NIRSPEC"})]:
        mask = read_mask(make_mask(folder / f"{name}.fits", header=header))
        with pytest.raises(MaskFormatError, match=next(iter(header.values()))):
            check_belongs(mask, ramp, where="ramp.fits")
    for detector in ("IMG1", "iris1", "any", "N/A", "*", None):
        path = make_mask(folder / "any.fits", header={"DETECTOR": detector, "INSTRUME": "Iris"})
        check_belongs(read_mask(path), ramp, where="r")
