"""Sources and geometries through files: images, cubes, subarrays, guide windows, counts."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import arrays, data_unit, invoke, make_mask, make_ramp
from tmt_dq.apply.apply import apply_dq
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.subarrays import merge_subarrays
from tmt_dq.errors import ConfigError, GeometryError, RampFormatError
from tmt_dq.instruments import load
from tmt_dq.masks.make import import_mask
from tmt_dq.masks.mask import read_mask
from tmt_dq.masks.reading import Reading

# Values of the convention, written out.
DO_NOT_USE, SATURATED, DROPOUT, AD_FLOOR, HOT = 1, 2, 8, 64, 2048
NON_SCIENCE, OTHER_BAD_PIXEL = 512, 1 << 30


def _mask(folder: Path, shape: tuple[int, int] = (6, 8)) -> Path:
    """Return a mask of the first pixels: row number in bits 10 and up, one DO_NOT_USE."""
    dq = (np.arange(shape[0], dtype=np.uint32)[:, None] << 10) * np.ones(shape[1], np.uint32)
    dq[2, 3] |= DO_NOT_USE
    return make_mask(folder / "mask.fits", dq)


def _table(name: str, **columns: Sequence[float]) -> Any:
    arrays_of = {key: np.array(values) for key, values in columns.items()}
    return fits.BinTableHDU.from_columns(
        [
            fits.Column(key, "D" if values.dtype.kind == "f" else "J", array=values)
            for key, values in arrays_of.items()
        ],
        name=name,
    )


class TestShapes:
    """Images, cubes and several integrations."""

    def test_an_image_gets_dq_and_no_groupdq(self, folder: Path) -> None:
        ramp = make_ramp(folder / "image.fits", shape=(6, 8))
        apply_dq(ramp, folder / "out.fits", mask=_mask(folder))
        found = arrays(folder / "out.fits")
        assert "PIXELDQ" not in found
        assert "GROUPDQ" not in found
        np.testing.assert_array_equal(found["DQ"], arrays(folder / "mask.fits")["DQ"])
        assert found["DQ"].dtype == np.uint32
        old = fits.ImageHDU(np.full((6, 8), 4, np.uint32), name="DQ")
        ramp = make_ramp(folder / "image.fits", shape=(6, 8), extra=[old])
        apply_dq(ramp, folder / "more.fits", mask=_mask(folder), recipe=Recipe(ad_floor=0))
        expected = found["DQ"] | 4
        expected[0, 0] |= AD_FLOOR  # the image counts up from 0
        np.testing.assert_array_equal(arrays(folder / "more.fits")["DQ"], expected)

    @pytest.mark.parametrize("name", ["PIXELDQ", "GROUPDQ"])
    def test_an_image_with_a_ramps_flags_is_refused(self, folder: Path, name: str) -> None:
        """Two answers to which pixels are bad would be one too many."""
        old = fits.ImageHDU(np.full((6, 8), 4, np.uint8), name=name)
        ramp = make_ramp(folder / "image.fits", shape=(6, 8), extra=[old])
        with pytest.raises(RampFormatError, match=f"flags are in DQ, but .* {name}"):
            apply_dq(ramp, mask=_mask(folder))

    def test_a_ramp_with_an_images_flags_is_refused(self, folder: Path) -> None:
        """The flags would be lost: JWST's guide-star files have SCI of four axes and DQ."""
        old = fits.ImageHDU(np.full((6, 8), 4, np.uint32), name="DQ")
        ramp = make_ramp(folder / "ramp.fits", extra=[old])
        with pytest.raises(RampFormatError, match=r"in PIXELDQ and GROUPDQ, but .* DQ"):
            apply_dq(ramp, mask=_mask(folder))

    def test_a_cube_gets_a_groupdq_of_its_shape(self, folder: Path) -> None:
        ramp = make_ramp(folder / "cube.fits", shape=(3, 6, 8))
        apply_dq(ramp, folder / "out.fits", mask=_mask(folder), propagate_do_not_use=True)
        found = arrays(folder / "out.fits")
        assert found["GROUPDQ"].shape == (3, 6, 8)
        expected = np.zeros((3, 6, 8), np.uint8)
        expected[:, 2, 3] = DO_NOT_USE
        np.testing.assert_array_equal(found["GROUPDQ"], expected)


class TestSubarrays:
    """Many subarrays in one frame."""

    MAP = np.zeros((12, 10), np.uint16)
    MAP[1:4, 2:7] = 1
    MAP[6:11, 0:3] = 2

    def _frame(self, folder: Path, **options: Any) -> Path:
        return make_ramp(
            folder / "frame.fits",
            shape=(1, 2, 12, 10),
            extra=[fits.ImageHDU(self.MAP, name="SUBARR_MAP")],
            header={"SUBARRID": 0},
            **options,
        )

    def test_frame_and_pieces_merge_to_the_mask(self, folder: Path) -> None:
        mask = _mask(folder, (12, 10))
        expected = arrays(mask)["DQ"]
        apply_dq(self._frame(folder), folder / "out.fits", mask=mask)
        frame = arrays(folder / "out.fits")["PIXELDQ"]
        inside = np.where(self.MAP > 0, NON_SCIENCE | DO_NOT_USE, 0).astype(np.uint32)
        np.testing.assert_array_equal(frame, expected | inside)
        pieces = {}
        for number, (x, y, nx, ny) in {1: (3, 2, 5, 3), 2: (1, 7, 3, 5)}.items():
            ramp = make_ramp(
                folder / f"sub{number}.fits",
                shape=(1, 2, ny, nx),
                start=(x, y),
                header={"SUBARRID": number},
            )
            apply_dq(ramp, folder / f"out{number}.fits", mask=mask)
            pieces[number] = arrays(folder / f"out{number}.fits")["PIXELDQ"]
        np.testing.assert_array_equal(merge_subarrays(frame, self.MAP, pieces), expected)
        small = fits.ImageHDU(self.MAP[:11], name="SUBARR_MAP")
        ramp = make_ramp(folder / "ramp.fits", shape=(1, 2, 12, 10), extra=[small])
        with pytest.raises(GeometryError, match=r"has the shape \(11, 10\), the data \(12, 10\)"):
            apply_dq(ramp, mask=_mask(folder, (12, 10)))

    @pytest.mark.parametrize(
        ("number", "start", "message"),
        [
            (3, (3, 2), r"no subarray 3 at x 3–7, y 2–4 .*; found 1 at x 3–7, y 2–4"),
            (1, (4, 2), r"no subarray 1 at x 4–8, y 2–4 .*; found 1 at x 3–7, y 2–4"),
        ],
    )
    def test_a_subarray_that_contradicts_the_map(
        self, folder: Path, number: int, start: tuple[int, int], message: str
    ) -> None:
        ramp = make_ramp(
            folder / "ramp.fits",
            shape=(1, 2, 3, 5),
            start=start,
            header={"SUBARRID": number},
            extra=[fits.ImageHDU(self.MAP, name="SUBARR_MAP")],
        )
        with pytest.raises(GeometryError, match=message):
            apply_dq(ramp, mask=_mask(folder, (12, 10)))


class TestGuideWindows:
    """Guide windows of a table, of the header and of the caller give the same flags."""

    EXPECTED = np.zeros((6, 8), np.uint32)
    EXPECTED[1:3, :] = OTHER_BAD_PIXEL
    EXPECTED[:, 4:7] = OTHER_BAD_PIXEL
    EXPECTED[1:3, 4:7] |= NON_SCIENCE | DO_NOT_USE

    def _check(self, output: Path, *, moving: bool) -> None:
        found = arrays(output)
        np.testing.assert_array_equal(found["PIXELDQ"], self.EXPECTED)
        groups = np.zeros((1, 3, 6, 8), np.uint8)
        if moving:
            groups[:, 1:3, 1:3, 4:7] = DO_NOT_USE
        np.testing.assert_array_equal(found["GROUPDQ"], groups)
        assert "guide windows" in str(fits.getheader(output)["HISTORY"])

    @pytest.mark.parametrize("moving", [False, True])
    def test_table(self, folder: Path, moving: bool) -> None:
        groups = {"GROUP1": [2], "GROUP2": [3]} if moving else {}
        table = _table("ODGW", X=[5], Y=[2], NX=[3], NY=[2], **groups)
        ramp = make_ramp(folder / "ramp.fits", extra=[table])
        apply_dq(ramp, folder / "out.fits", mask="N/A", recipe={"guide_windows_from_file": True})
        self._check(folder / "out.fits", moving=moving)

    def test_header_and_command_line(self, folder: Path) -> None:
        cards = {"ODGW2X": 5, "ODGW2Y": 2, "ODGW2NX": 3, "ODGW2NY": 2}
        ramp = make_ramp(folder / "ramp.fits", header=cards)
        apply_dq(ramp, folder / "out.fits", mask="N/A", recipe={"guide_windows_from_file": True})
        self._check(folder / "out.fits", moving=False)
        words = ("apply", make_ramp(ramp), "-o", folder / "more.fits", "--mask", "N/A")
        invoke(*words, "--guide-window", "5,2,3,2,2:3", code=0)
        self._check(folder / "more.fits", moving=True)

    HALF = _table("ODGW", X=[5], Y=[2], NX=[3], NY=[2], GROUP1=[2])

    @pytest.mark.parametrize(
        ("ramp", "message"),
        [
            ({}, "no table ODGW and no keywords ODGW1X"),
            ({"extra": [HALF]}, "GROUP1 alone; expected GROUP1 and GROUP2"),
            ({"header": {"ODGW1X": 5, "ODGW1NX": 3}}, "guide window 1 has no ODGW1Y, ODGW1NY"),
        ],
    )
    def test_not_there_or_by_halves(self, folder: Path, ramp: dict[str, Any], message: str) -> None:
        path = make_ramp(folder / "ramp.fits", **ramp)
        with pytest.raises(RampFormatError, match=message):
            apply_dq(path, mask="N/A", recipe={"guide_windows_from_file": True})


COUNTING = Recipe(
    dropout_values=(7,), ad_floor=0, full_scale=140, non_finite=True, propagate_do_not_use=True
)


def _counted(dtype: str) -> dict[str, Any]:
    """Return what COUNTING must give for counts 0, 1, 2 … 143 of shape (1, 3, 6, 8)."""
    counts = np.arange(144).reshape(1, 3, 6, 8)
    groups = np.zeros(counts.shape, np.uint8)
    groups[counts == 7] |= DROPOUT
    groups[counts <= 0] |= AD_FLOOR
    groups[counts >= 140] |= SATURATED
    groups[:, :, 2, 3] |= DO_NOT_USE
    pixels = np.zeros((6, 8), np.uint32)
    if dtype.startswith("float"):
        pixels[4, 4] = DO_NOT_USE | OTHER_BAD_PIXEL
    return {"GROUPDQ": groups, "PIXELDQ": pixels}


class TestCounts:
    """Sources that look at the counts, through every type of them and every way of writing."""

    @pytest.mark.parametrize(
        "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
    )
    def test_every_type(self, folder: Path, dtype: str) -> None:
        sci = np.arange(144).reshape(1, 3, 6, 8).astype(dtype)
        if dtype.startswith("float"):
            sci[0, 1, 4, 4] = np.nan  # 84, which no limit is at
        ramp = make_ramp(folder / "ramp.fits", sci=sci)
        before = data_unit(ramp, "SCI")
        output = folder / "out.fits"
        apply_dq(ramp, output, mask=_mask(folder), recipe=COUNTING)
        expected = _counted(dtype)
        found = arrays(output)
        np.testing.assert_array_equal(found["GROUPDQ"], expected["GROUPDQ"])
        np.testing.assert_array_equal(
            found["PIXELDQ"], expected["PIXELDQ"] | arrays(folder / "mask.fits")["DQ"]
        )
        assert data_unit(output, "SCI") == before
        with fits.open(output, checksum=True) as hdus:  # a wrong sum would be a warning
            assert hdus["GROUPDQ"].header["CHECKSUM"]

    def test_scaled_counts(self, folder: Path) -> None:
        """BSCALE and BZERO are applied before the counts are looked at: 0.5 n + 10."""
        ramp = make_ramp(
            folder / "ramp.fits", sci=np.arange(144, dtype=np.int16).reshape(1, 3, 6, 8)
        )
        with fits.open(ramp, mode="update", do_not_scale_image_data=True) as hdus:
            hdus["SCI"].header["BSCALE"] = 0.5
            hdus["SCI"].header["BZERO"] = 10
        apply_dq(ramp, folder / "out.fits", mask="N/A", recipe=Recipe(dropout_values=(12.5,)))
        found = np.argwhere(arrays(folder / "out.fits")["GROUPDQ"] == DROPOUT)
        assert found.tolist() == [[0, 0, 0, 5]]

    def test_pixeldq_before_sci(self, folder: Path) -> None:
        """What the counts show reaches a PIXELDQ that lies before them in the file."""
        sci = np.zeros((1, 2, 6, 8), np.float32)
        sci[0, 1, 3, 3] = np.inf
        ramp = make_ramp(folder / "ramp.fits", sci=sci)
        with fits.open(ramp) as hdus:
            first = fits.ImageHDU(np.full((6, 8), 4, np.uint32), name="PIXELDQ")
            fits.HDUList([hdus[0], first, hdus["SCI"]]).writeto(folder / "odd.fits")
        apply_dq(folder / "odd.fits", folder / "out.fits", mask="N/A", recipe={"non_finite": True})
        expected = np.full((6, 8), 4, np.uint32)
        expected[3, 3] |= DO_NOT_USE | OTHER_BAD_PIXEL
        np.testing.assert_array_equal(arrays(folder / "out.fits")["PIXELDQ"], expected)

    def test_groups_without_flags_take_no_room(self, folder: Path) -> None:
        """One flagged sample in ten groups of 1 MiB: nine of them are holes, or all ten."""
        sci = np.ones((1, 10, 1024, 1024), np.uint8)
        sci[0, 3, 5, 5] = 0
        ramp = make_ramp(folder / "ramp.fits", sci=sci)
        recipe = Recipe(ad_floor=0)
        before = apply_dq(ramp, folder / "none.fits", mask="N/A", recipe=Recipe(full_scale=255))
        after = apply_dq(ramp, folder / "one.fits", mask="N/A", recipe=recipe)
        assert after.sources[0].samples == {"AD_FLOOR": 1}
        blocks = [os.stat(applied.output).st_blocks * 512 for applied in (before, after)]
        assert 0 < blocks[1] - blocks[0] <= 1.1 * 2**20
        assert blocks[0] < ramp.stat().st_size + 5 * 2**20  # SCI, PIXELDQ and tables
        assert Path(before.output).stat().st_size > ramp.stat().st_size + 14 * 2**20
        assert np.argwhere(arrays(folder / "one.fits")["GROUPDQ"]).tolist() == [[0, 3, 5, 5]]


@pytest.mark.parametrize(
    ("flag", "policy", "expected", "recorded"),
    [
        ("HOT", None, 2048 | 1, None),
        ("HOT", "instrument", 2048 | 1, None),
        ("WARM", "instrument", 4096, None),  # IRIS' policy does not name it
        ("HOT", "keep", 2048, "KEEP"),
        ("HOT", "OPEN,DEAD", 2048, "DEAD,OPEN"),
        ("WARM", "WARM", 4096 | 1, "WARM"),
    ],
)
def test_which_flags_set_do_not_use(
    folder: Path, flag: str, policy: str | None, expected: int, recorded: str | None
) -> None:
    """The same list means the same in a mask made of it and as flags of the user."""
    (folder / "list.txt").write_text(f"# base: 1\nx y flag\n104 202 {flag}\n")
    ramp = make_ramp(folder / "ramp.fits", start=(101, 201))
    arguments = ["apply", ramp, "-o", folder / "out.fits", "--mask", "N/A", "--json"]
    chosen = [] if policy is None else ["--user-do-not-use", policy]
    run = invoke(*arguments, "--user-dq", folder / "list.txt", *chosen, code=0)
    assert arrays(folder / "out.fits")["PIXELDQ"][1, 3] == expected
    remarks = json.loads(run.out)["ramps"][0]["sources"][0]["remarks"]
    assert any("DO_NOT_USE set in 1 pixels" in each for each in remarks) == bool(expected & 1)
    options: dict[str, Any] = {"detector": "IRIS1", "do_not_use": policy or "instrument"}
    made = import_mask(folder / "list.txt", folder / "mask.fits", **options)
    assert made.counts[flag] == 1
    assert read_mask(folder / "mask.fits").dq[201, 103] == expected
    of_instrument = ",".join(load("IRIS").do_not_use)
    assert fits.getheader(folder / "mask.fits")["DNUFLAGS"] == (recorded or of_instrument)


def test_missing_reads(folder: Path) -> None:
    recipe = {"missing_reads": True}
    ramp = make_ramp(folder / "ramp.fits", extra=[_table("READS", READ_NO=[1, 2, 4])])
    applied = apply_dq(ramp, folder / "out.fits", mask="N/A", recipe=recipe)
    expected = np.zeros((1, 3, 6, 8), np.uint8)
    expected[0, 2] = DROPOUT
    np.testing.assert_array_equal(arrays(folder / "out.fits")["GROUPDQ"], expected)
    assert applied.sources[0].remarks == ("1 reads are missing between the groups",)
    for header, message in (
        ({"COMPLETE": False}, "COMPLETE is F.*READ_NO"),
        ({}, "no keyword COMPLETE and no table"),
    ):
        with pytest.raises(RampFormatError, match=message):
            apply_dq(make_ramp(ramp, header=header), mask="N/A", recipe=recipe)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5])
def test_numbers_of_the_readout_that_are_not_whole(folder: Path, value: float) -> None:
    reads = make_ramp(folder / "a.fits", extra=[_table("READS", READ_NO=[1.0, value, 3.0])])
    with pytest.raises(RampFormatError, match=r"READ_NO is .*; expected a whole number"):
        apply_dq(reads, mask="N/A", recipe={"missing_reads": True})
    guide = _table("ODGW", X=[value], Y=[2.0], NX=[3.0], NY=[2.0])
    windows = make_ramp(folder / "b.fits", extra=[guide])
    with pytest.raises(RampFormatError, match=r"X is .*; expected a whole number"):
        apply_dq(windows, mask="N/A", recipe={"guide_windows_from_file": True})


def test_tables_that_contradict_each_other(folder: Path) -> None:
    """Neither the first nor the last one wins; two that agree are fine."""
    first, second = _table("A", READ_NO=[1, 2, 4]), _table("B", READ_NO=[1, 2, 3])
    ramp = make_ramp(folder / "ramp.fits", extra=[first, second])
    with pytest.raises(RampFormatError, match=r"2 tables with READ_NO that contradict.*A.*B"):
        apply_dq(ramp, mask="N/A", recipe={"missing_reads": True})
    same = make_ramp(folder / "same.fits", extra=[second, _table("C", READ_NO=[1, 2, 3])])
    apply_dq(same, mask="N/A", recipe={"missing_reads": True}, dry_run=True)
    guide = [_table("ODGW", X=[x], Y=[2], NX=[3], NY=[2]) for x in (1, 2)]
    ramp = make_ramp(folder / "guide.fits", extra=guide)
    with pytest.raises(RampFormatError, match="guide windows that contradict"):
        apply_dq(ramp, mask="N/A", recipe={"guide_windows_from_file": True})


def test_a_broken_cache_is_not_a_missing_mask(folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", header={"DATE-OBS": "1999-01-01"})
    with pytest.raises(ConfigError):
        apply_dq(ramp, if_no_mask="continue", crds_path=folder / "nowhere")


def test_history_says_which_sources_ran_in_what_order(folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits")
    applied = apply_dq(
        ramp,
        folder / "out.fits",
        mask=_mask(folder),
        recipe=Recipe(full_scale=100, propagate_do_not_use=True),
    )
    kinds = [source.kind for source in applied.sources]
    assert kinds == ["mask", "DO_NOT_USE in groups", "A/D limits"]
    history = str(fits.getheader(folder / "out.fits")["HISTORY"]).replace("\n", "")
    # 40 pixels have a row number above 0; 44 counts of 0 … 143 are 100 or more.
    for expected in (
        "mask.fits: 40 pixels flagged",
        "DO_NOT_USE in groups mask: 0 pixels flagged, samples 3 DO_NOT_USE",
        "A/D limits (full_scale 100): 0 pixels flagged, samples 44 SATURATED",
    ):
        assert expected in history


@pytest.mark.parametrize("number", [1.0, "1", True, -1])
def test_a_number_of_a_subarray_that_is_none(folder: Path, number: object) -> None:
    subarr_map = np.zeros((6, 8), np.uint16)
    subarr_map[1:3, 2:5] = 1
    ramp = make_ramp(
        folder / "ramp.fits",
        header={"SUBARRID": number},
        extra=[fits.ImageHDU(subarr_map, name="SUBARR_MAP")],
    )
    with pytest.raises(GeometryError, match=f"SUBARRID is {number!r}"):
        apply_dq(ramp, mask="N/A")


def test_undefined_counts_are_no_counts(folder: Path) -> None:
    sci = np.full((1, 3, 6, 8), 7, np.int16)
    sci[0, 1, 2, 3] = -999
    ramp = make_ramp(folder / "ramp.fits", sci=sci, sci_header={"BLANK": -999})
    recipe = {"ad_floor": 0, "dropout_values": (float("nan"),), "non_finite": True}
    apply_dq(ramp, folder / "out.fits", mask="N/A", recipe=recipe)
    written = arrays(folder / "out.fits")
    groups = np.where(sci == -999, DROPOUT, 0)
    np.testing.assert_array_equal(written["GROUPDQ"], groups)
    bad = np.zeros((6, 8), np.uint32)
    bad[2, 3] = DO_NOT_USE | OTHER_BAD_PIXEL
    np.testing.assert_array_equal(written["PIXELDQ"], bad)


def test_a_user_map_as_large_as_the_data_lies_where_they_lie(folder: Path) -> None:
    bad = np.zeros((6, 8), np.uint8)
    bad[2, 3] = 1
    fits.HDUList([fits.PrimaryHDU(bad)]).writeto(folder / "bad.fits")
    ramp = make_ramp(folder / "ramp.fits", start=(101, 201))
    reading = Reading(bad=1, flag="HOT")
    out = folder / "out.fits"
    apply_dq(ramp, out, mask="N/A", user_dq=folder / "bad.fits", user_reading=reading)
    np.testing.assert_array_equal(arrays(out)["PIXELDQ"], bad * np.uint32(HOT | DO_NOT_USE))
    ramp = make_ramp(folder / "ramp.fits", start=(301, 401))  # the same map, for data elsewhere
    apply_dq(
        ramp, out, mask="N/A", user_dq=folder / "bad.fits", user_reading=reading, overwrite=True
    )
    np.testing.assert_array_equal(arrays(out)["PIXELDQ"], bad * np.uint32(HOT | DO_NOT_USE))
