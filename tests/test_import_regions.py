"""DS9 regions, read into flags of the detector."""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CONVENTION
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, TmtDqError
from tmt_dq.masks.formats import Target, format_of, read_flags
from tmt_dq.masks.formats.regions import DS9 as DS9_FORMAT
from tmt_dq.masks.formats.text import TEXT
from tmt_dq.masks.reading import Reading

SHAPE = (40, 50)
DS9 = "# Region file format: DS9 version 4.1\nglobal color=green\nimage\n"
CRTF = "#CRTFv0 CASA Region Text Format version 0\n"


def flags(path: Path, text: str, **said: Any) -> npt.NDArray[np.uint32]:
    path.write_text(text)
    return read_flags(path, Target(SHAPE), Reading(**said)).dq


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "bad.reg"


def disc(y: float, x: float, radius: float) -> npt.NDArray[np.bool_]:
    """Pixels with their centre inside a circle; 0-based."""
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius**2)


@pytest.mark.parametrize(
    ("lines", "at", "want"),
    [
        ("circle(10,20,3.2)", None, disc(19, 9, 3.2)),
        ("circle(3,3,1.5)", (11, 21), disc(22, 12, 1.5)),
        ("-circle(10,20,1.5)\ncircle(10,20,4)", None, disc(19, 9, 4) & ~disc(19, 9, 1.5)),
        ("circle(1,1,3.2)", None, disc(0, 0, 3.2)),
        (
            "circle(9,9,9) # include=0\nimage; circle(10,20,4)",
            None,
            disc(19, 9, 4) & ~disc(8, 8, 9),
        ),
    ],
)
def test_circles(file: Path, lines: str, at: tuple[int, int] | None, want: Any) -> None:
    dq = flags(file, f"{DS9}{lines}\n", flag="HOT", at=at)
    assert np.array_equal(dq, want * np.uint32(CONVENTION["HOT"]))


def test_crtf_is_refused(folder: Path) -> None:
    for name in ("bad.crtf", "bad.txt"):
        with pytest.raises(MaskFormatError, match="DS9 regions in image coordinates"):
            flags(folder / name, CRTF + "circle[[10pix, 20pix], 3.2pix]\n", flag="HOT")


def test_labels_name_flags(file: Path) -> None:
    text = (
        "circle(10,20,3) # tag={HOT} tag={tuesday}\n"
        "box(30,30,3,3,0) # text={DEAD,LOW_QE}\n"
        "circle(10,20,1.5) # tag={WARM}\n"
    )
    dq = flags(file, DS9 + text)
    assert dq[19, 9] == CONVENTION["HOT"] + CONVENTION["WARM"]
    assert dq[29, 29] == CONVENTION["DEAD"] + CONVENTION["LOW_QE"]
    with pytest.raises(ConfigError, match=r"line 4 \(circle\), whose labels are HOT, tuesday, has"):
        flags(file, DS9 + text, flag="HOT,WARM")
    with pytest.raises(ConfigError, match="whose labels are tuesday"):
        flags(file, DS9 + "circle(10,20,3) # tag={tuesday}\n")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (DS9 + "circle(-20,2,5)\n", GeometryError, "covers no pixel"),
        (DS9 + "point(0,20)\n", GeometryError, "covers no pixel"),
        (DS9 + "circle(20.5,2.5,0.3)\n", GeometryError, "covers no pixel"),
        (DS9 + "box(20,20,0,5,0)\n", MaskFormatError, r"line 4 \(box\)"),
        (DS9 + "box(20,20,1e999,1,0)\n", MaskFormatError, r"line 4 \(box\) with .*1e999"),
        (DS9 + "polygon(1,1,5,5)\n", MaskFormatError, r"line 4 \(polygon\)"),
        (DS9 + "# epanda(9,9,0,90,2,3,4,5,6,1)\n", MaskFormatError, r"line 4 \(epanda\)"),
        (DS9 + "line(1,1,5,5)\n", MaskFormatError, r"line 4 \(line\)"),
        (DS9 + "vector(1,1,5,5)\n", MaskFormatError, "cannot be understood"),
        (DS9 + "circle(1,a,5)\n", MaskFormatError, "cannot be understood"),
        (DS9.replace("image", "physical") + "circle(1,1,5)\n", MaskFormatError, "physical"),
        (DS9.replace("image", "fk5") + 'circle(1,1,5")\n', MaskFormatError, "fk5 coordinates"),
        (DS9.replace("image", "") + "circle(1,1,5)\n", MaskFormatError, "cannot be understood"),
        (DS9, MaskFormatError, "no regions"),
        (DS9 + "-circle(10,20,1.5)\n", MaskFormatError, "only excluded"),
    ],
)
def test_what_cannot_be_understood_is_never_skipped(
    file: Path, text: str, error: type[TmtDqError], message: str
) -> None:
    with pytest.raises(error, match=message):
        flags(file, text, flag="HOT")


@pytest.mark.parametrize("said", [{"bad": 1}, {"columns": ("x", "y")}, {"base": 0}], ids=str)
def test_options_that_mean_nothing_for_regions(file: Path, said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        flags(file, DS9 + "circle(10,20,3)\n", flag="HOT", **said)


def test_formats_are_told_by_their_first_line_or_name(folder: Path) -> None:
    for name, text, kind in (
        ("a.txt", DS9, DS9_FORMAT),
        ("a.reg", "image\ncircle(1,1,2)\n", DS9_FORMAT),
        ("c.txt", "x y\n", TEXT),
    ):
        (folder / name).write_text(text)
        assert format_of(folder / name) is kind


quarters = st.integers(-20, 240).map(lambda number: number / 4)
sizes = st.integers(1, 90).map(lambda number: number / 4)
angles = st.one_of(st.sampled_from([0, 45, 90, 180, -90]), st.integers(-400, 400))


@st.composite
def ds9_regions(draw: st.DrawFn) -> str:
    """Return a region of any shape as a line of DS9."""
    x, y, a, b, angle = (draw(each) for each in (quarters, quarters, sizes, sizes, angles))
    corners = draw(st.lists(st.tuples(quarters, quarters), min_size=3, max_size=7))
    return draw(
        st.sampled_from(
            [
                f"point({x},{y})",
                f"circle({x},{y},{a})",
                f"ellipse({x},{y},{a},{b},{angle})",
                f"box({x},{y},{a},{b},{angle})",
                f"annulus({x},{y},{a},{a + b})",
                f"annulus({x},{y},{a},{a + b},{a + 2 * b})",
                f"ellipse({x},{y},{a},{b},{a + 3},{b + 3},{angle})",
                f"box({x},{y},{a},{b},{a + 3},{b + 3},{angle})",
                # No corner is the centre of a pixel, where any answer is right.
                "polygon(" + ",".join(f"{u + 0.1},{v + 0.1}" for u, v in corners) + ")",
            ]
        )
    )


def bitmaps(line: str, nudge: float = 0) -> npt.NDArray[Any]:
    """Return what astropy-regions draws, of regions that are moved a little."""
    from regions import PixCoord, PointPixelRegion, Regions

    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    drawn = []
    for region in Regions.parse(f"image\n{line}", format="ds9"):
        if isinstance(region, PointPixelRegion):
            y, x = (int(np.floor(v + 0.5)) for v in (region.center.y, region.center.x))
            drawn.append((rows == y) & (columns == x))
        else:
            drawn.append(region.contains(PixCoord(columns + nudge, rows + nudge / 3)))
    return np.array(drawn)


@given(ds9_regions())
def test_shapes_are_drawn_as_astropy_regions_draws_them(
    tmp_path_factory: pytest.TempPathFactory, line: str
) -> None:
    want = bitmaps(line)
    # Centres on an outline belong to either side, as rounding has it.
    same = (bitmaps(line, 1e-7) == want) & (bitmaps(line, -1e-7) == want)
    certain = np.asarray(same.all(axis=0))
    path = tmp_path_factory.mktemp("shape") / "shape.reg"
    found = None
    with contextlib.suppress(GeometryError):
        found = flags(path, f"{DS9}{line}\n", flag="HOT") != 0
    if found is None:  # one of them covers no pixel
        assert not all((each & certain).any() for each in list(want))
    else:
        assert not ((found != want.any(axis=0)) & certain).any()


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("box(5,5,3,3,0)", 9),
        ("box(5,5,3,3)", 9),
        ("ellipse(10,10,5,5)", 69),  # pixels with x² + y² < 25
        ("circle(10,10,5)", 69),
        ("annulus(10,10,3,5)", 69 - 25),
    ],
)
def test_pixels_on_the_outline_are_outside(file: Path, line: str, count: int) -> None:
    assert np.count_nonzero(flags(file, f"{DS9}{line}\n", flag="HOT")) == count


@pytest.mark.parametrize(
    "line", ["# text(9,9) text={group A}", "text(9,9) # text={A}", "# compass(9,9,20) compass=x"]
)
def test_annotations_of_ds9_are_no_pixels(file: Path, line: str) -> None:
    text = f"{DS9}box(20,30,5,3,0)\n{line}\n"
    assert np.count_nonzero(flags(file, text, flag="HOT")) == 15
    with pytest.raises(MaskFormatError, match="no regions"):
        flags(file, f"{DS9}{line}\n", flag="HOT")


@pytest.mark.parametrize("line", ["circle(10,20,3", "circle(10,20", "box(9,9,3,3) # tag={HO"])
def test_a_file_that_was_cut_off_is_refused(file: Path, line: str) -> None:
    with pytest.raises(MaskFormatError, match="line 4 is not complete"):
        flags(file, f"{DS9}{line}", flag="HOT")


@pytest.mark.parametrize(
    "text",
    [
        "annulus(20,20,1,9)\n" * 5000,
        "".join(f"ellipse(20,20,19,18,{n})\n" for n in range(5000)),
        "".join(f"box({1 + n % 50},{1 + n % 40},1,1) # tag={{HOT}}\n" for n in range(20_000)),
    ],
    ids=["annuli", "ellipses", "boxes"],
)
def test_many_shapes_take_no_time(file: Path, text: str) -> None:
    start = time.perf_counter()
    assert flags(file, DS9 + text, flag="HOT").any()
    assert time.perf_counter() - start < 5  # 0.3 s here; 10 and more through bitmaps
