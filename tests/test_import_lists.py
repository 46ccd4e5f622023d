"""Lists of pixels and boxes, read into flags of the detector."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from builders import CONVENTION
from tmt_dq.core.boxes import Boxes, paint
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, UnknownFlagError
from tmt_dq.instruments import load
from tmt_dq.masks.formats import Target, format_of, read_flags
from tmt_dq.masks.reading import Reading

SHAPE = (6, 8)


def written(folder: Path, text: str, name: str = "list.txt") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def flags(path: Path, shape: tuple[int, int] = SHAPE, **said: Any) -> npt.NDArray[np.uint32]:
    return read_flags(path, Target(shape), Reading(**said)).dq


def expected(*entries: tuple[Any, Any, str]) -> npt.NDArray[np.uint32]:
    """Flags of (index of y, index of x, flag), all 0-based."""
    dq = np.zeros(SHAPE, np.uint32)
    for y, x, flag in entries:
        dq[y, x] |= np.uint32(CONVENTION[flag])
    return dq


@pytest.mark.parametrize(
    ("text", "base", "entries"),
    [
        ("x y flag\n2 3 DEAD\n5 1 hot\n", 0, [(3, 2, "DEAD"), (1, 5, "HOT")]),
        ("x y flag\n2 3 DEAD\n5 1 hot\n", 1, [(2, 1, "DEAD"), (0, 4, "HOT")]),
        ("x y flag\n1:3 2 DEAD\n", 0, [(2, slice(1, 4), "DEAD")]),
        ("x y flag\n2 3: DEAD\n", 0, [(slice(3, 6), 2, "DEAD")]),
        ("x y flag\n:2 0 DEAD\n", 0, [(0, slice(0, 3), "DEAD")]),
        ("x y flag\n0:0 0:1 DEAD\n", 0, [(slice(0, 2), 0, "DEAD")]),
        ("x y flag\n: : DEAD\n", 0, [(slice(0, 6), slice(0, 8), "DEAD")]),
        ("x,y,flag\n7:,6,RC\n:1,:1,RC\n", 1, [(5, slice(6, 8), "RC"), (0, 0, "RC")]),
        ("col row dq\n3.0 2.0 UNRELIABLE_ERROR\n", 0, [(2, 3, "RESERVED")]),
        ("# base: 1\nx y flag\n1 1 HOT\n", None, [(0, 0, "HOT")]),
        (
            "\ufeff# a list\r\n\r\nX, Y, Flag\r\n 3 , 2 , Dead  # cracked\r\n# 1,1,HOT\r\n",
            0,
            [(2, 3, "DEAD")],
        ),
        ("x\ty\tflag\n1  1 DEAD\n1 1 HOT|RC\n", 0, [(1, 1, f) for f in ("DEAD", "HOT", "RC")]),
        ("x y value\n0 0 2048\n1 0 0\n", 0, [(0, 0, "HOT")]),
    ],
)
def test_lists(folder: Path, text: str, base: int | None, entries: list[Any]) -> None:
    """Case, tabs, comments, a byte order mark, ranges, old names, numbers, a base in the file."""
    path = written(folder, text)
    values = "convention" if "value" in text else None
    assert np.array_equal(flags(path, base=base, values=values), expected(*entries))


def test_what_a_file_does_not_say_or_contradicts(folder: Path) -> None:
    path = written(folder, "# base: 1\nx y flag\n1 1 HOT\n")
    assert np.array_equal(flags(path, base=1), expected((0, 0, "HOT")))
    with pytest.raises(ConfigError, match="counts from 1, but base is 0"):
        flags(path, base=0)
    path = written(folder, "3 2 DEAD\n")
    with pytest.raises(ConfigError, match="columns=…"):
        flags(path, base=0)
    for names, (y, x) in ((("x", "y", "flag"), (2, 3)), (("y", "x", "flag"), (3, 2))):
        assert np.array_equal(flags(path, base=0, columns=names), expected((y, x, "DEAD")))
    with pytest.raises(ConfigError, match="names its columns itself"):
        flags(written(folder, "x y\n1 1\n"), base=0, flag="HOT", columns=("x", "y"))


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "txt"])
def test_boxes_in_every_kind_of_table(folder: Path, ending: str) -> None:
    table = Table({"x0": [1, 7], "y0": [2, 0], "width": [3, 1], "height": [2, 6]})
    path = folder / f"boxes.{ending}"
    table.write(path, format={"txt": "ascii.basic", "csv": "ascii.csv"}.get(ending))
    want = expected((slice(2, 4), slice(1, 4), "DEAD"), (slice(0, 6), 7, "DEAD"))
    assert np.array_equal(flags(path, base=0, flag="DEAD"), want)
    with pytest.raises(ConfigError, match="first pixel is 0 or 1") as caught:
        flags(path, flag="DEAD")
    assert ("add a line '# base: 0'" in str(caught.value)) is (ending != "fits")
    with pytest.raises(ConfigError, match="list of 2 entries does not state which flag"):
        flags(path, base=0)


def test_ecsv_pixel_lists_with_ranges_names_and_a_base(folder: Path) -> None:
    table = Table({"x": ["2", "4:5"], "y": [1, 3], "flag": ["HOT", "DEAD"]}, meta={"base": 1})
    path = folder / "list.ecsv"
    table.write(path)
    assert np.array_equal(flags(path), expected((0, 1, "HOT"), (2, slice(3, 5), "DEAD")))


def bpixtab(path: Path, rows: list[tuple[int, int, int, int, int]]) -> Path:
    columns = zip(*rows, strict=True)
    names = ("PIX1", "PIX2", "LENGTH", "AXIS", "VALUE")
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, "I" if name in {"LENGTH", "AXIS", "VALUE"} else "J", array=column)
            for name, column in zip(names, columns, strict=True)
        ]
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def test_hst_bad_pixel_tables(folder: Path) -> None:
    path = bpixtab(folder / "bpx.fits", [(3, 2, 4, 1, 16), (1, 1, 6, 2, 4), (8, 6, 1, 1, 20)])
    want = expected(
        (1, slice(2, 6), "HOT"), (slice(0, 6), 0, "DEAD"), (5, 7, "HOT"), (5, 7, "DEAD")
    )
    assert np.array_equal(flags(path, values={16: "HOT", 4: "DEAD"}), want)
    dropped = read_flags(path, Target(SHAPE), Reading(values={16: "HOT"}, unknown="drop"))
    assert np.array_equal(dropped.dq, want & np.uint32(CONVENTION["HOT"]))
    assert dropped.remarks == ("bit 2 of 2 entries left out",)
    assert np.array_equal(flags(path, flag="RC") != 0, want != 0)
    with pytest.raises(ConfigError, match="4, 16, 20 in the column value"):
        flags(path)
    with pytest.raises(UnknownFlagError, match=r"\(value 4\) in 2 pixels"):
        flags(path, values={16: "HOT"})
    with pytest.raises(ConfigError, match="counts from 1, but base is 0"):
        flags(path, values={16: "HOT", 4: "DEAD"}, base=0)


def region_table(path: Path, **columns: Any) -> Path:
    """Write a FITS region table; keywords are names, values (format, values)."""
    made = [fits.Column(name, form, array=values) for name, (form, values) in columns.items()]
    table = fits.BinTableHDU.from_columns(made, name="REGION")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def test_fits_region_tables(folder: Path) -> None:
    path = region_table(
        folder / "region.fits",
        SHAPE=("16A", ["BOX", "POINT", "!CIRCLE", "ROTBOX", "BOX"]),
        X=("D", [4.0, 8.0, 4.0, 2.0, 6.0]),
        Y=("D", [3.0, 6.0, 3.0, 5.0, 5.0]),
        R=("2D", [[5.0, 3.0], [0.0, 0.0], [0.5, 0.0], [1.0, 3.0], [1.0, 3.0]]),
        ROTANG=("D", [0.0, 0.0, 0.0, 90.0, 90.0]),
    )
    want = expected((slice(1, 4), slice(1, 6), "HOT"), (5, 7, "HOT"), (4, slice(0, 3), "HOT"))
    want[4, 4:7] = CONVENTION["HOT"]
    want[2, 3] = 0
    assert np.array_equal(flags(path, base=1, flag="HOT"), want)
    with pytest.raises(ConfigError, match="first pixel is 0 or 1"):
        flags(path, flag="HOT")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_positions_that_are_no_numbers(folder: Path, value: float) -> None:
    boxes = region_table(
        folder / "region.fits",
        SHAPE=("8A", ["CIRCLE"]),
        X=("D", [value]),
        Y=("D", [2.0]),
        R=("D", [1.0]),
    )
    pixels = region_table(folder / "pixels.fits", X=("D", [value]), Y=("D", [2.0]))
    for path in (boxes, pixels):
        with pytest.raises((MaskFormatError, GeometryError), match="row 1"):
            flags(path, base=1, flag="HOT")


def test_circles_include_their_outline_as_in_fits_region_tables(folder: Path) -> None:
    # x² + y² ≤ 25 has 81 whole solutions.
    shaped = written(folder, "shape,x,y,r\ncircle,20,30,5\n", "shape.csv")
    plain = written(folder, "x,y,radius,flag\n20,30,5,HOT\n", "radius.csv")
    assert np.count_nonzero(flags(shaped, (64, 64), base=1, flag="HOT")) == 81
    assert np.count_nonzero(flags(plain, (64, 64), base=1)) == 81


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x y width height\n1 2 3 4\n", "width height"),
        ("x y col\n1 2 3\n", "col"),
        ("x y length\n1 2 3\n", "length"),
        ("x0 y0 width height id\n1 2 1 1 7\n", "id"),
    ],
)
def test_columns_that_are_not_understood_are_errors(folder: Path, text: str, names: str) -> None:
    path = written(folder, text)
    with pytest.raises(MaskFormatError, match=f"not understood: {names}; understood") as told:
        flags(path, base=0, flag="HOT")
    assert told.value.options == ("ignore_columns",)
    ignored = tuple(names.upper().split())
    assert np.count_nonzero(flags(path, base=0, flag="HOT", ignore_columns=ignored)) == 1


def test_columns_of_the_same_flags_and_columns_to_ignore(folder: Path) -> None:
    path = written(folder, "x y flag value\n1 2 HOT 2048\n")
    assert np.array_equal(flags(path, base=0), expected((2, 1, "HOT")))
    path = written(folder, "x y flag value\n1 2 HOT 16\n")
    with pytest.raises(MaskFormatError, match="columns flag and value, which are not the same"):
        flags(path, base=0)
    want = expected((2, 1, "HOT"))
    assert np.array_equal(flags(path, base=0, ignore_columns=("value",)), want)
    path = written(folder, "x y value dq\n1 2 16 8\n")
    with pytest.raises(MaskFormatError, match="columns value and dq"):
        flags(path, base=0, values={16: "HOT", 8: "DEAD"})
    path = written(folder, "x y id\n1 2 3\n")
    with pytest.raises(ConfigError, match="no column od"):
        flags(path, base=0, flag="HOT", ignore_columns=("id", "od"))
    with pytest.raises(MaskFormatError, match="has the columns y; expected x y"):
        flags(path, base=0, flag="HOT", ignore_columns=("id", "x"))


def test_rows_of_other_detectors_are_left_out(folder: Path) -> None:
    iris = load("IRIS")
    target = Target.of(iris, iris.detector("IRIS1"))
    path = written(folder, "Detector x y\nIRIS1 10 20\nimg2 30 40\nIMG1 5 6\n")
    mask = read_flags(path, target, Reading(base=0, flag="HOT"))
    assert np.argwhere(mask.dq).tolist() == [[6, 5], [20, 10]]
    assert mask.remarks == ("1 rows of other detectors left out",)
    with pytest.raises(MaskFormatError, match="rows of detector IRIS2; expected IMG1, IRIS1"):
        read_flags(written(folder, "chip x y\nIRIS2 1 1\n"), target, Reading(base=0, flag="HOT"))
    with pytest.raises(MaskFormatError, match="rows of detector 1, 2; expected IMG1, IRIS1"):
        read_flags(
            written(folder, "ccdchip x y\n1 1 1\n2 1 1\n"), target, Reading(base=0, flag="HOT")
        )


def test_lists_placed_on_the_detector_or_outside_the_exposure(folder: Path) -> None:
    target = Target(SHAPE, data=Window(2, 3, 3, 4))
    path = written(folder, "x y flag\n4 3 HOT\n0 0 HOT\n7 5 HOT\n")
    mask = read_flags(path, target, Reading(base=0))
    (remark,) = mask.remarks
    assert remark.startswith("2 of 3 flagged pixels lie outside the exposure")
    assert "x 4–7, y 3–5 (4 × 3)" in remark
    path = written(folder, "x y flag\n0 0 HOT\n")
    with pytest.raises(GeometryError, match="1 of 1 flagged pixels lie outside the exposure"):
        read_flags(path, target, Reading(base=0))
    path = written(folder, "x y flag\n0:1 1 DEAD\n")
    assert np.array_equal(flags(path, base=0, at=(4, 3)), expected((3, slice(3, 5), "DEAD")))
    with pytest.raises(MaskFormatError, match=r"'0:'; expected .* with both ends"):
        flags(written(folder, "x y flag\n0: 1 DEAD\n"), base=0, at=(4, 3))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x y flag\n8 0 DEAD\n", GeometryError, "x from 0 to 7"),
        ("x y flag\n-1 0 DEAD\n", GeometryError, "line 2: x = -1"),
        ("x y flag\n0:9 0 DEAD\n", GeometryError, "10 × 1 pixels"),
        ("x y flag\n9223372036854775807 0 DEAD\n", MaskFormatError, "'9223372036854775807'"),
        ("x y flag\n5:3 0 DEAD\n", MaskFormatError, "a ≤ b"),
        ("x y flag\n1.5 0 DEAD\n", MaskFormatError, "x is '1.5'"),
        ("x y flag\n1_0 0 DEAD\n", MaskFormatError, "x is '1_0'"),
        ("x y flag\nnan 0 DEAD\n", MaskFormatError, "x is 'nan'"),
        ("x y flag\n1 0\n", MaskFormatError, "line 2 has 2 columns; expected 3"),
        ("x y flag\n1 : 3 0 DEAD\n", MaskFormatError, "without spaces"),
        ("x y flag\n1 0 DAED\n", UnknownFlagError, "line 2: 'DAED'"),
        ("x y flag\n1 0 GOOD\n", UnknownFlagError, "no flags of PIXELDQ: line 2: 'GOOD'"),
        ("x y value\n1 0 -1\n", MaskFormatError, "value is '-1'"),
        ("x y x\n1 0 1\n", MaskFormatError, "same name"),
        ("x z flag\n1 0 DEAD\n", MaskFormatError, "has the columns x z flag"),
        ("x0 y0 width height flag\n1 1 0 2 DEAD\n", GeometryError, "0 × 2 pixels"),
        ("x0 y0 width height flag\n1 1 1:2 2 DEAD\n", MaskFormatError, "width is '1:2'"),
        ('x,y,flag\n1,0,"DEAD\n2,0,DEAD\n', MaskFormatError, "quotation mark"),
        ('x,y,flag\n1,0,"DEAD\n2,0,DEAD"\n3,0,DEAD\n', MaskFormatError, "quotation mark"),
        ('x,y,flag\n1,0,"DEAD"D\n2,0,DEAD\n', UnknownFlagError, "DEADD"),
        ("", MaskFormatError, "has no pixels"),
        ("# only this\n", MaskFormatError, "has no pixels"),
        ("1 0 DEAD\n", ConfigError, "does not name its columns"),
        ("# %ECSV 1.0\n# nonsense\n", MaskFormatError, "has no pixels"),
    ],
)
def test_wrong_lists_are_errors_that_say_where(
    folder: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        flags(written(folder, text), base=0)


def test_flags_that_are_unknown_or_said_twice(folder: Path) -> None:
    text = "x y flag\n" + "".join(f"{x} 0 N{x}\n" for x in range(7)) + "1 1 DEED\n"
    with pytest.raises(UnknownFlagError, match="and 3 more"):
        flags(written(folder, text), base=0)
    with pytest.raises(UnknownFlagError, match="Did you mean DEAD"):
        flags(written(folder, "x y flag\n1 1 DEED\n"), base=0)
    path = written(folder, "x y flag\n1 0 DEAD\n")
    assert np.array_equal(flags(path, base=0, flag="dead"), expected((0, 1, "DEAD")))
    with pytest.raises(ConfigError, match="flags of its own"):
        flags(path, base=0, flag="HOT")
    for said in ({"bad": 1}, {"good": 0}, {"values": "convention"}, {"extension": "DQ"}):
        with pytest.raises(ConfigError, match="cannot be used"):
            flags(path, base=0, **said)


def test_files_that_are_no_lists(folder: Path) -> None:
    binary = folder / "list.txt"
    binary.write_bytes(b"x y\n\0\1\2")
    with pytest.raises(MaskFormatError, match="expected one of: a FITS file; a DS9"):
        flags(binary, base=0)
    binary.write_bytes(b"x y flag\n1 0 D\xe9AD\n")
    with pytest.raises(MaskFormatError, match="no UTF-8"):
        flags(binary, base=0)
    with pytest.raises(MaskFormatError, match="No such file"):
        format_of(folder / "absent.txt")
    with pytest.raises(MaskFormatError, match="is a folder"):
        format_of(folder)
    cut = folder / "cut.fits"
    cut.write_bytes(b"SIMPLE  =                    T")
    with pytest.raises(MaskFormatError, match="truncated"):
        flags(cut, base=0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"flag": "GOOD"}, "is no flag"),
        ({"flag": " "}, "is no flag"),
        ({"base": 2}, "expected 0 or 1"),
        ({"bad": "some"}, "nonzero"),
        ({"at": (0, 1)}, "count from 1"),
        ({"bad": "nonzero", "good": 9}, "contradict"),
        ({"bad": 0, "good": 0}, "contradict"),
        ({"values": "convention", "flag": "HOT"}, "contradict"),
        ({"values": "jwst"}, "expected 'convention'"),
        ({"values": {3: "HOT"}}, "3=HOT is not one bit"),
        ({"values": {2**32: "HOT"}}, "not one bit"),
        ({"values": {4: "GOOD"}}, "4=GOOD is not .* a flag"),
        ({"flag": "HTO"}, "HTO"),
        ({"values": {4: "HTO"}}, "HTO"),
    ],
)
def test_impossible_options(said: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, UnknownFlagError), match=message):
        Reading(**said)


@given(
    st.lists(
        st.tuples(
            *(st.integers(*limits) for limits in ((0, 39), (0, 39), (1, 40), (1, 40))),
            st.integers(1, 2**32 - 1),
        ),
        min_size=1,
        max_size=50,  # more values than bits
    )
)
def test_boxes_of_any_size_are_painted(sizes: list[tuple[int, int, int, int, int]]) -> None:
    sizes = [(y, x, min(ny, 40 - y), min(nx, 40 - x), value) for y, x, ny, nx, value in sizes]
    want = np.zeros((40, 40), np.uint32)
    for y, x, ny, nx, value in sizes:
        want[y : y + ny, x : x + nx] |= np.uint32(value)
    ys, xs, nys, nxs, values = np.array(sizes, np.int64).T
    assert np.array_equal(paint(Boxes(ys, xs, nys, nxs), values.astype(np.uint32), (40, 40)), want)
    with pytest.raises(ValueError, match="leave the array"):
        paint(Boxes(ys + 40, xs, nys, nxs), values.astype(np.uint32), (40, 40))


def test_many_open_ranges_take_no_time(folder: Path) -> None:
    path = written(folder, "x y flag\n" + "1: 1: HOT\n" * 20_000)
    start = time.perf_counter()
    assert np.count_nonzero(flags(path, (4096, 4096), base=1)) == 4096 * 4096
    assert time.perf_counter() - start < 5  # 0.5 s here; 40 s box by box


def test_the_list_of_jwst_reffiles(shared: Path) -> None:
    path = shared / "masks" / "nircam_nrca1_manual_flags.txt"
    dq = flags(path, (2048, 2048), base=0)
    rows = [line.split() for line in path.read_text().splitlines() if line[:1].isdigit()]
    want = np.zeros((2048, 2048), np.uint32)
    for x, y, name in rows:
        want[int(y), int(x)] |= np.uint32(CONVENTION[name])
    assert len(rows) == 2545
    assert np.array_equal(dq, want)
    with pytest.raises(ConfigError, match="base"):
        flags(path, (2048, 2048))
    with pytest.raises(GeometryError):
        flags(path, (1024, 1024), base=0)
