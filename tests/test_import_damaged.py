"""Damaged files of bad pixels: an error of the right class, or flags; never a traceback."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from builders import GOLDEN_DQ_DEF, mask_hdus
from tmt_dq.errors import TmtDqError
from tmt_dq.masks.formats import Target, read_flags
from tmt_dq.masks.reading import Reading

SHAPE = (6, 8)


def content(hdus: Any) -> bytes:
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return buffer.getvalue()


def bpixtab() -> Any:
    names = ("PIX1", "PIX2", "LENGTH", "AXIS", "VALUE")
    columns = [fits.Column(name, "I", array=[1, 2]) for name in names]
    return fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)])


FILES: dict[str, tuple[bytes, Reading]] = {
    "list.txt": (b"# base: 0\nx y flag\n1:3 2 DEAD\n4 5 HOT\n:1 0 RC\n", Reading()),
    "list.csv": (b'x,y,flag\n1,2,"HOT"\n3:,4,DEAD\n', Reading(base=0)),
    "regions.reg": (
        b"image\ncircle(3,4,2) # tag={HOT}\nbox(5,5,2,3,0)\n-ellipse(4,4,1,2,30)\npoint(1,1)\n",
        Reading(flag="HOT"),
    ),
    "map.fits": (
        content(fits.HDUList([fits.PrimaryHDU(np.eye(6, 8, dtype=np.int16))])),
        Reading(bad=1, flag="HOT"),
    ),
    "mask.fits": (content(mask_hdus(np.eye(6, 8, dtype=np.uint32), rows=GOLDEN_DQ_DEF)), Reading()),
    "table.fits": (content(bpixtab()), Reading(flag="HOT")),
}
PRINTED = st.sampled_from(sorted(b" 0123456789-.:,()[]#'\"\n=ABTxyF/"))


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes, Reading]:
    name = draw(st.sampled_from(sorted(FILES)))
    original, reading = FILES[name]
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["change", "delete", "repeat", "cut"]))
        if kind == "change" and data:
            data[place] = draw(st.one_of(PRINTED, st.integers(0, 255)))
        elif kind == "delete":
            del data[place : place + draw(st.integers(1, 30))]
        elif kind == "repeat":
            data[place:place] = data[: draw(st.integers(1, 30))]
        else:
            del data[place + 1 :]
    return name, bytes(data), reading


@given(damaged())
def test_damage_is_told(
    tmp_path_factory: pytest.TempPathFactory, file: tuple[str, bytes, Reading]
) -> None:
    name, data, reading = file
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(data)
    with warnings.catch_warnings():
        # What astropy remarks about headers that it can still read is not our concern here.
        warnings.simplefilter("ignore")
        try:
            dq = read_flags(path, Target(SHAPE), reading).dq
        except TmtDqError as error:
            told = error
        else:
            assert dq.shape == SHAPE
            assert dq.dtype == np.uint32
            return
    assert told.where is not None
