"""Random exposures, masks and tables against the specification in ten lines of NumPy.

`builders.specified_pixeldq` is that reading; it is used against `apply_dq`, with files that astropy
writes and reads.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import (
    CONVENTION,
    Row,
    Uint32,
    arrays,
    compress_gzip,
    compress_tiles,
    data_unit,
    make_mask,
    make_ramp,
    specified_pixeldq,
    unit_bytes,
)
from tmt_dq.apply.apply import apply_dq

NAMES = [name for name in CONVENTION if name != "GOOD"]
SCI_TYPES = ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]
DQ_TYPES = {"u1": 2**8, "i2": 2**15, "u2": 2**16, "i4": 2**31, "u4": 2**32, "i8": 2**32}


@dataclass
class Exposure:
    """A drawn case; starts are 1-based (x, y)."""

    shape: tuple[int, int, int, int]
    start: tuple[int, int]
    sci_type: str
    mask: Uint32
    mask_start: tuple[int, int]
    rows: list[Row] | None
    pixeldq: npt.NDArray[Any] | None
    groupdq: npt.NDArray[Any] | None
    propagate: bool
    seed: int

    def expected(self) -> Uint32:
        return specified_pixeldq(
            self.mask, self.mask_start, self.start, self.shape[2:], self.pixeldq, self.rows
        )


def flags(rng: np.random.Generator, shape: tuple[int, ...], below: int) -> Uint32:
    """Return random values, most of them zero, each bit as likely as the next."""
    bits = below.bit_length() - 1
    values = np.zeros(shape, np.uint64)
    for _ in range(2):
        values |= np.uint64(1) << rng.integers(0, bits, shape, np.uint64)
    return np.where(rng.random(shape) < 0.4, values, 0).astype(np.uint32)


@st.composite
def exposures(draw: st.DrawFn) -> Exposure:
    ny, nx = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), ny, nx)
    corner = st.sampled_from([1, 2, 467, 2000, 4090]) | st.integers(1, 4096)
    x = min(draw(corner), 4097 - nx)
    y = min(draw(corner), 4097 - ny)
    # Room around the data that the mask covers too, as far as the detector reaches.
    left, below = draw(st.integers(0, min(3, x - 1))), draw(st.integers(0, min(3, y - 1)))
    right = draw(st.integers(0, min(3, 4097 - nx - x)))
    above = draw(st.integers(0, min(3, 4097 - ny - y)))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    rows = None
    if draw(st.booleans()):
        bits = draw(st.lists(st.integers(0, 31), unique=True, min_size=1, max_size=8))
        names = draw(st.permutations(NAMES))
        rows = [(bit, 1 << bit, name) for bit, name in zip(bits, names, strict=False)]
    mask = flags(rng, (below + ny + above, left + nx + right), 2**32)
    if rows is not None:
        mask &= np.uint32(sum(1 << bit for bit, _, _ in rows))
    pixeldq = None
    if draw(st.booleans()):
        kind = draw(st.sampled_from(list(DQ_TYPES)))
        pixeldq = flags(rng, (ny, nx), DQ_TYPES[kind]).astype(kind)
    groupdq = rng.integers(0, 256, shape, np.uint8) if draw(st.booleans()) else None
    return Exposure(
        shape=shape,
        start=(x, y),
        sci_type=draw(st.sampled_from(SCI_TYPES)),
        mask=mask,
        mask_start=(x - left, y - below),
        rows=rows,
        pixeldq=pixeldq,
        groupdq=groupdq,
        propagate=draw(st.booleans()),
        seed=seed,
    )


@settings(max_examples=60)
@given(case=exposures(), form=st.sampled_from(["plain", "gzip", "tiles"]))
def test_files_against_the_specification(case: Exposure, form: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        check_files(case, form, Path(name))


def check_files(case: Exposure, form: str, folder: Path) -> None:
    rng = np.random.default_rng(case.seed)
    size = int(np.prod(case.shape)) * np.dtype(case.sci_type).itemsize
    sci = np.frombuffer(rng.bytes(size), case.sci_type).reshape(case.shape)
    if case.sci_type.startswith("f"):
        sci = np.where(np.isfinite(sci), sci, 0).astype(case.sci_type)
    plain = make_ramp(
        folder / "ramp.fits", sci=sci, start=case.start, pixeldq=case.pixeldq, groupdq=case.groupdq
    )
    ramp = plain
    if form == "gzip":
        ramp = compress_gzip(plain, folder / "packed.fits.gz")
    elif form == "tiles":
        ramp = compress_tiles(plain, folder / "packed.fits.fz")
    mask = make_mask(folder / "mask.fits", case.mask, start=case.mask_start, rows=case.rows)
    output = folder / "out.fits"
    applied = apply_dq(ramp, output, mask=mask, propagate_do_not_use=case.propagate, sync=False)
    found = arrays(folder / "out.fits")
    expected = case.expected()
    assert found["PIXELDQ"].dtype == np.uint32
    assert np.array_equal(found["PIXELDQ"], expected)
    groupdq = np.zeros(case.shape, np.uint8) if case.groupdq is None else case.groupdq
    if case.propagate:
        cut = specified_pixeldq(
            case.mask, case.mask_start, case.start, case.shape[2:], None, case.rows
        )
        groupdq = groupdq | (cut & 1).astype(np.uint8)
    assert found["GROUPDQ"].dtype == np.uint8
    assert np.array_equal(found["GROUPDQ"], groupdq)
    # The science data: the same bytes, header included where it was not rebuilt from tiles.
    assert data_unit(folder / "out.fits", "SCI") == data_unit(plain, "SCI")
    if form != "tiles":
        assert unit_bytes(folder / "out.fits", "SCI") == unit_bytes(plain, "SCI")
    assert applied.counts == {
        name: number
        for name, value in CONVENTION.items()
        if (number := int(((expected & value) != 0).sum() if value else (expected == 0).sum()))
        or not value
    }


def test_the_reading_of_the_specification_itself() -> None:
    # Its ten lines are checked by hand, once: a translated bit, an existing flag, an offset.
    mask = np.array([[0, 0, 0], [0, 2, 3]], np.uint32)
    rows = [(0, 1, "DO_NOT_USE"), (1, 2, "DEAD")]
    existing = np.array([[4, 0]], np.uint32)
    found = specified_pixeldq(mask, (10, 20), (11, 21), (1, 2), existing, rows)
    assert found.tolist() == [[1028, 1025]]
