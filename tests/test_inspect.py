"""What `summarize` and ``tmt-dq inspect`` say of patterns made by hand."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import builders
from tmt_dq import apply_dq, summarize
from tmt_dq.errors import (
    GeometryError,
    MaskFormatError,
    RampFormatError,
    UnknownFlagError,
)
from tmt_dq.report.summary import Summary

FLAG = builders.CONVENTION
BAD = FLAG["DEAD"] | FLAG["DO_NOT_USE"]


def pattern() -> npt.NDArray[np.uint32]:
    """Return 32 x 64 pixels with a border of two reference pixels and four defects in it."""
    dq = np.zeros((32, 64), np.uint32)
    dq[:2] = dq[-2:] = FLAG["REFERENCE_PIXEL"]
    dq[:, :2] = dq[:, -2:] = FLAG["REFERENCE_PIXEL"]
    dq[5, 10] = FLAG["HOT"]
    dq[20, 50:53] = BAD
    dq[21, 53] = BAD
    dq[10, 2:62] = FLAG["LOW_QE"]
    return dq


BORDER = 32 * 64 - 28 * 60
DEFECTS = 1 + 4 + 60


def areas(summary: Summary) -> dict[str, tuple[int, int, int, int]]:
    parts = (*summary.quadrants, *summary.channels)
    return {p.name: (p.pixels, p.flagged, p.defects, p.do_not_use) for p in parts}


def test_counts_and_fractions() -> None:
    summary = summarize(pattern())
    assert (summary.pixels, summary.sky) == (32 * 64, 28 * 60)
    assert summary.flagged == BORDER + DEFECTS
    assert summary.good == 32 * 64 - BORDER - DEFECTS
    assert (summary.defects, summary.do_not_use) == (DEFECTS, 4)
    counts = {flag.name: (flag.pixels, flag.do_not_use) for flag in summary.flags}
    assert counts == {
        "DO_NOT_USE": (4, 4),
        "DEAD": (4, 4),
        "HOT": (1, 0),
        "LOW_QE": (60, 0),
        "REFERENCE_PIXEL": (BORDER, 0),
    }
    assert all(flag.fraction == flag.pixels / 2048 for flag in summary.flags)


def test_quadrants_and_channels() -> None:
    found = areas(summarize(pattern(), channels=4))
    quarter = 14 * 30
    border = BORDER // 4
    assert found["lower left"] == (quarter, border + 31, 31, 0)
    assert found["lower right"] == (quarter, border + 30, 30, 0)
    assert found["upper left"] == (quarter, border, 0, 0)
    assert found["upper right"] == (quarter, border + 4, 4, 4)
    # 16 columns each, two of them reference pixels in the first and last.
    assert found["channel 1"] == (28 * 14, 16 * 32 - 28 * 14 + 15, 15, 0)
    assert found["channel 2"] == (28 * 16, 4 * 16 + 16, 16, 0)
    assert found["channel 3"] == (28 * 16, 4 * 16 + 16, 16, 0)
    assert found["channel 4"] == (28 * 14, 16 * 32 - 28 * 14 + 18, 18, 4)


def test_channels_follow_the_fast_axis(folder: Path) -> None:
    header = {"INSTRUME": "OTHER", "FASTAXIS": -2, "SLOWAXIS": 1}
    mask = builders.make_mask(folder / "m.fits", pattern(), header=header)
    channels = summarize(mask, channels=4).channels
    assert [channel.place for channel in channels] == [
        "x 1–64, y 1–8 (64 × 8)",
        "x 1–64, y 9–16 (64 × 8)",
        "x 1–64, y 17–24 (64 × 8)",
        "x 1–64, y 25–32 (64 × 8)",
    ]
    assert [channel.defects for channel in channels] == [1, 60, 4, 0]


def test_the_number_of_channels_is_the_instrument_s_or_unknown(folder: Path) -> None:
    assert summarize(pattern()).channels == ()
    mask = builders.make_mask(folder / "m.fits", pattern(), start=(257, 1))
    # Of the 32 stripes of 128 columns the third holds all columns from 257 to 320.
    [channel] = summarize(mask).channels
    assert (channel.name, channel.defects) == ("channel 3", DEFECTS)


def test_clusters_and_bad_lines() -> None:
    summary = summarize(pattern())
    assert summary.clusters == 3
    found = [(size.label, size.clusters, size.pixels) for size in summary.cluster_sizes]
    assert found == [("1", 1, 1), ("3–4", 1, 4), ("25–99", 1, 60)]
    largest = [(c.pixels, c.x, c.y, c.width, c.height) for c in summary.largest_clusters]
    assert largest == [(60, 3, 11, 60, 1), (4, 51, 21, 4, 2)]
    [row] = summarize(pattern()).bad_rows
    assert (row.position, row.defects, row.fraction) == (11, 60, 1.0)
    assert summarize(pattern()).bad_columns == ()
    # 2 of 28 pixels of a column: the row's, and one more in columns 11 and 51 to 54.
    columns = summarize(pattern(), line_fraction=2 / 28).bad_columns
    assert [column.position for column in columns] == [11, 51, 52, 53, 54]
    summary = summarize(pattern(), defect_flags="HOT, DEAD")
    assert (summary.defects, summary.clusters, summary.bad_rows) == (5, 2, ())
    assert summary.defect_flags == ("DEAD", "HOT")
    assert summary.flagged == BORDER + DEFECTS


def test_a_frame_that_is_all_flagged() -> None:
    summary = summarize(np.full((64, 64), FLAG["NO_LIN_CORR"], np.uint32))
    assert (summary.good, summary.clusters) == (0, 1)
    assert len(summary.bad_rows) == len(summary.bad_columns) == 64
    none = summarize(np.full((8, 8), FLAG["NON_SCIENCE"], np.uint32))
    assert (none.sky, none.defects, none.clusters, none.bad_rows) == (0, 0, 0, ())


def test_subarrays_count_in_detector_pixels(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", pattern(), start=(2001, 3001))
    summary = summarize(mask)
    assert summary.largest_clusters[0].x == 2003
    assert summary.bad_rows[0].position == 3011
    # Columns 2001 to 2048 are left of the middle, rows from 3001 on above it.
    assert [area.name for area in summary.quadrants] == ["upper left", "upper right"]
    assert sum(area.defects for area in summary.quadrants) == DEFECTS


def test_a_ramp_and_its_compressed_copies(folder: Path) -> None:
    raw = builders.make_ramp(folder / "r_uncal.fits", start=(1, 1))
    applied = apply_dq(raw, mask=builders.make_mask(folder / "m.fits"))
    packed = builders.compress_gzip(applied.output, folder / "r.fits.gz")
    tiles = builders.compress_tiles(applied.output, folder / "t.fits", ("SCI", "PIXELDQ"))
    for path in (applied.output, packed, tiles):
        summary = summarize(path)
        assert (summary.kind, summary.detector) == ("ramp", "IRIS1")
        counts = {flag.name: flag.pixels for flag in summary.flags}
        assert counts == {"DO_NOT_USE": 1, "DEAD": 1, "HOT": 1}


def test_a_mask_s_own_bits_are_translated(folder: Path) -> None:
    dq = np.array([[0, 2, 4]], np.uint32)
    mask = builders.make_mask(folder / "m.fits", dq, rows=builders.GOLDEN_DQ_DEF)
    assert {flag.name for flag in summarize(mask).flags} == {"DEAD", "HOT"}
    dq = np.array([[0, 2, 64]], np.uint32)
    mask = builders.make_mask(folder / "n.fits", dq, rows=builders.GOLDEN_DQ_DEF)
    with pytest.raises(UnknownFlagError):
        summarize(mask)
    assert "bit 6 of 1 pixels" in summarize(mask, unknown="drop").notes[0]


def test_arrays_that_are_no_flags() -> None:
    with pytest.raises(GeometryError):
        summarize(np.zeros((2, 3, 4), np.uint32))
    with pytest.raises(MaskFormatError):
        summarize(np.full((2, 2), -1))


def test_files_that_are_neither_mask_nor_ramp(folder: Path) -> None:
    builders.make_ramp(folder / "raw.fits", start=(1, 1))
    builders.make_mask(folder / "map.fits", name="MAP")
    builders.make_mask(folder / "outside.fits", start=(4095, 1))
    (folder / "text.fits").write_text("no FITS")
    for name, error, message, code in (
        ("raw.fits", RampFormatError, "no PIXELDQ", 3),
        ("absent.fits", RampFormatError, "cannot be read", 3),
        ("text.fits", RampFormatError, "not a FITS file", 3),
        ("map.fits", MaskFormatError, "neither", 4),
        ("outside.fits", GeometryError, "4096", 5),
    ):
        with pytest.raises(error, match=message) as caught:
            summarize(folder / name)
        assert caught.value.hint
        assert builders.invoke("inspect", folder / name).code == code


def test_the_command_line_prints_what_python_returns(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", pattern())
    shown = builders.invoke("inspect", mask, "--json", "--channels", 64, code=0)
    assert json.loads(shown.out) == summarize(mask, channels=64).to_dict()
    plain = builders.invoke("inspect", mask, code=0)
    assert "LOW_QE" in plain.out
    assert "Bad rows (at least 50 % defects): 1" in plain.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--channels", "3"), 2),
        (("--channels", "0"), 2),
        (("--line-fraction", "0"), 2),
        (("--line-fraction", "2"), 2),
        (("--line-fraction", "nan"), 2),
        (("--flags", "HOTT"), 4),
        (("--regions", "absent/out.reg"), 10),
        (("--plot", "m.fits"), 10),
    ],
)
def test_exit_codes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(folder)
    builders.make_mask(folder / "m.fits", pattern())
    before = builders.folder_state(folder)
    assert "Hint: " in builders.invoke("inspect", "m.fits", *arguments, code=code).err
    assert builders.folder_state(folder) == before
