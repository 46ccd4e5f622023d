"""DS9 and CRTF regions, read into flags of the detector."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CONVENTION
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, TmtDqError
from tmt_dq.masks.flag_files import file_kind, read_flags
from tmt_dq.masks.reading import Reading

SHAPE = (40, 50)
DS9 = "# Region file format: DS9 version 4.1\nglobal color=green\nimage\n"
CRTF = "#CRTFv0 CASA Region Text Format version 0\n"


def flags(path: Path, text: str, **said: Any) -> npt.NDArray[np.uint32]:
    path.write_text(text)
    return read_flags(path, shape=SHAPE, reading=Reading(**said)).dq


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "bad.reg"


def disc(y: float, x: float, radius: float) -> npt.NDArray[np.bool_]:
    """Pixels with their centre inside a circle; 0-based."""
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius**2)


def test_ds9_counts_from_one(file: Path) -> None:
    dq = flags(file, DS9 + "circle(10,20,3.2)\n", flag="HOT")
    assert np.array_equal(dq, disc(19, 9, 3.2) * np.uint32(CONVENTION["HOT"]))


def test_crtf_counts_from_zero(folder: Path) -> None:
    text = CRTF + "circle[[10pix, 20pix], 3.2pix]\n"
    dq = flags(folder / "bad.crtf", text, flag="HOT")
    assert np.array_equal(dq != 0, disc(20, 10, 3.2))
    with pytest.raises(ConfigError, match="counts from 0"):
        flags(folder / "bad.crtf", text, flag="HOT", base=1)


def test_a_box_of_one_pixel_is_one_pixel(file: Path) -> None:
    dq = flags(file, DS9 + "box(5,7,1,1,0)\n", flag="DEAD")
    assert np.argwhere(dq).tolist() == [[6, 4]]


def test_a_column_and_a_row(file: Path) -> None:
    dq = flags(file, DS9 + "box(5,20.5,1,40,0)\nbox(25.5,7,50,1,0)\n", flag="DEAD")
    want = np.zeros(SHAPE, bool)
    want[:, 4] = want[6, :] = True
    assert np.array_equal(dq != 0, want)


def test_points_flag_the_pixel_they_lie_in(file: Path) -> None:
    dq = flags(file, DS9 + "point(1,1) # point=x\npoint(50.4,39.6)\n", flag="DEAD")
    assert np.argwhere(dq).tolist() == [[0, 0], [39, 49]]


def test_labels_name_flags(file: Path) -> None:
    text = (
        "circle(10,20,3) # tag={HOT} tag={tuesday}\n"
        "box(30,30,3,3,0) # text={DEAD,LOW_QE}\n"
        "circle(10,20,1.5) # tag={WARM}\n"
    )
    dq = flags(file, DS9 + text)
    assert dq[19, 9] == CONVENTION["HOT"] + CONVENTION["WARM"]
    assert dq[29, 29] == CONVENTION["DEAD"] + CONVENTION["LOW_QE"]
    with pytest.raises(ConfigError, match=r"region 1 \(circle\) is labelled"):
        flags(file, DS9 + text, flag="HOT,WARM")


def test_crtf_labels_name_flags(folder: Path) -> None:
    dq = flags(folder / "bad.crtf", CRTF + 'circle[[10pix, 20pix], 3pix], label="HOT"\n')
    assert dq[20, 10] == CONVENTION["HOT"]


def test_a_flag_that_nobody_says_is_asked_for(file: Path) -> None:
    with pytest.raises(ConfigError, match="its labels are tuesday"):
        flags(file, DS9 + "circle(10,20,3) # tag={tuesday}\n")


def test_excluded_regions_are_taken_away_wherever_they_are(file: Path) -> None:
    dq = flags(file, DS9 + "-circle(10,20,1.5)\ncircle(10,20,4)\n", flag="HOT")
    assert np.array_equal(dq != 0, disc(19, 9, 4) & ~disc(19, 9, 1.5))
    with pytest.raises(MaskFormatError, match="only excluded"):
        flags(file, DS9 + "-circle(10,20,1.5)\n", flag="HOT")


def test_a_region_may_stick_out(file: Path) -> None:
    dq = flags(file, DS9 + "circle(1,1,3.2)\nbox(50,40,4.6,2.6,0)\n", flag="HOT")
    want = disc(0, 0, 3.2)
    want[38:, 47:] = True
    assert np.array_equal(dq != 0, want)


def test_regions_may_be_placed_on_the_detector(file: Path) -> None:
    dq = flags(file, DS9 + "box(1,1,1,1,0)\ncircle(3,3,1.5)\n", flag="HOT", at=(11, 21))
    want = disc(22, 12, 1.5)
    want[20, 10] = True
    assert np.array_equal(dq != 0, want)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (DS9 + "circle(-20,2,5)\n", GeometryError, "covers no pixel"),
        (DS9 + "box(-20,2,5,5,0)\n", GeometryError, "covers no pixel"),
        (DS9 + "point(0,20)\n", GeometryError, "covers no pixel"),
        (DS9 + "circle(20.5,2.5,0.3)\n", GeometryError, "covers no pixel"),
        (DS9 + "box(20,20,0,5,0)\n", MaskFormatError, "strictly positive"),
        (DS9 + "circle(20,20,5000000)\n", GeometryError, "far larger"),
        (DS9 + "box(20,20,5000000,1,0)\n", GeometryError, "far larger"),
        (DS9 + "line(1,1,5,5)\n", MaskFormatError, "has no area"),
        (DS9 + "vector(1,1,5,5)\n", MaskFormatError, "cannot be understood"),
        (DS9 + "circel(1,1,5)\n", MaskFormatError, "cannot be understood"),
        (DS9 + "circle(1,a,5)\n", MaskFormatError, "cannot be understood"),
        (DS9.replace("image", "physical") + "circle(1,1,5)\n", MaskFormatError, "physical"),
        (DS9.replace("image", "fk5") + 'circle(1,1,5")\n', MaskFormatError, "sky coordinates"),
        (DS9.replace("image", "") + "circle(1,1,5)\n", MaskFormatError, "cannot be understood"),
        (DS9, MaskFormatError, "no regions"),
    ],
)
def test_what_cannot_be_understood_is_never_skipped(
    file: Path, text: str, error: type[TmtDqError], message: str
) -> None:
    with pytest.raises(error, match=message):
        flags(file, text, flag="HOT")


@pytest.mark.parametrize(
    "said",
    [{"bad": 1}, {"columns": ("x", "y")}, {"extension": 1}, {"base": 0}],
    ids=lambda said: next(iter(said)),
)
def test_options_that_mean_nothing_for_regions(file: Path, said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        flags(file, DS9 + "circle(10,20,3)\n", flag="HOT", **said)


def test_formats_are_told_by_their_first_line_or_name(folder: Path) -> None:
    for name, text, kind in (
        ("a.txt", DS9, "ds9"),
        ("a.reg", "image\ncircle(1,1,2)\n", "ds9"),
        ("b.txt", CRTF, "crtf"),
        ("c.txt", "x y\n", "list"),
    ):
        (folder / name).write_text(text)
        assert file_kind(folder / name) == kind


quarters = st.integers(-20, 240).map(lambda number: number / 4)


@given(quarters, quarters, st.integers(1, 90), st.integers(1, 90))
def test_upright_boxes_are_what_astropy_regions_says(
    tmp_path_factory: pytest.TempPathFactory, x: float, y: float, width: int, height: int
) -> None:
    from astropy import units
    from regions import PixCoord, RectanglePixelRegion

    region = RectanglePixelRegion(PixCoord(x, y), width / 4, height / 4, 0 * units.deg)
    image = region.to_mask("center").to_image(SHAPE)
    want = np.zeros(SHAPE, bool) if image is None else image != 0
    path = tmp_path_factory.mktemp("box") / "box.reg"
    text = f"{DS9}box({x + 1},{y + 1},{width / 4},{height / 4},0)\n"
    if not want.any():
        with pytest.raises(GeometryError):
            flags(path, text, flag="HOT")
        return
    assert np.array_equal(flags(path, text, flag="HOT") != 0, want)


def test_a_polygon_needs_three_corners(file: Path) -> None:
    with pytest.raises(MaskFormatError):
        flags(file, DS9 + "polygon(1,1,5,5)\n", flag="HOT")
