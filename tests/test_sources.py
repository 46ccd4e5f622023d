"""The contract of every flag source, and what each one flags."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.geometry import Border, Window
from tmt_dq.core.initialize import Initialization, Reader, initialize
from tmt_dq.core.recipe import GUIDE_PARTS, GuideWindow, Recipe
from tmt_dq.core.sources import recipe_sources
from tmt_dq.core.sources.reference_pixels import lacks_border
from tmt_dq.core.sources.source import Exposure, FlagSource, Readout
from tmt_dq.core.sources.subarrays import merge_subarrays, subarray_windows
from tmt_dq.errors import ConfigError, GeometryError

# Values of the convention, written out: the tests must not ask the code for them.
DO_NOT_USE, SATURATED, DROPOUT, AD_FLOOR = 1, 2, 8, 64
NON_SCIENCE, OTHER_BAD_PIXEL, REFERENCE_PIXEL = 512, 1 << 30, 1 << 31

SHAPE = (2, 3, 16, 20)
FRAME = Window.full(64, 64)
WINDOW = Window(40, 4, 16, 20)
BORDER = Border(8, 8, 8, 8)
MASK = np.zeros(SHAPE[2:], np.uint32)
MASK[3, 4] = 1 + 1024
MAP = np.zeros(SHAPE[2:], np.uint32)
MAP[2:5, 3:9] = 1
MAP[8:10, 10:20] = 2

Uint32 = npt.NDArray[np.uint32]


def _counts(dtype: str = "u2") -> npt.NDArray[np.generic]:
    data = np.random.default_rng(3).integers(1, 60000, SHAPE).astype(dtype)
    data[0, 1, 5, 6] = 0
    data[1, 2, 7, 8] = 65535
    if data.dtype.kind == "f":
        data[0, 0, 1, 1] = np.nan
        data[1, 1, 2, 2] = np.inf
    return data


def _sources(
    mask: Uint32 | None = None, *, readout: Readout | None = None, **fields: Any
) -> list[FlagSource]:
    exposure = Exposure("ramp.fits", SHAPE, WINDOW, FRAME, BORDER, mask, readout or Readout())
    return recipe_sources(Recipe(**fields), exposure)


def _source(mask: Uint32 | None = None, **fields: Any) -> FlagSource:
    (source,) = _sources(mask, **fields)
    return source


def _reader(data: npt.NDArray[Any], pixeldq: Uint32 | None = None) -> Reader:
    nints, ngroups, ny, nx = data.shape
    return Reader(
        (nints, ngroups, ny, nx),
        lambda integration, group: data[integration, group],
        lambda _integration, _group: None,
        lambda rows: None if pixeldq is None else pixeldq[rows].copy(),
    )


SOURCES: dict[str, Callable[[], FlagSource]] = {
    "mask": lambda: FlagSource("mask", "crds://m.fits", MASK),
    "do not use": lambda: _source(MASK, propagate_do_not_use=True),
    "reference pixels": lambda: _source(reference_pixels=True),
    "reference pixels, mask": lambda: _source(
        MASK | np.uint32(REFERENCE_PIXEL), reference_pixels=True
    ),
    "guide windows": lambda: _source(
        guide_windows=[GuideWindow(Window(44, 8, 3, 4), (1, 2)), GuideWindow(Window(50, 8, 3, 4))],
        guide_expand=1,
    ),
    "subarrays": lambda: _source(readout=Readout(MAP)),
    "dropouts": lambda: _source(dropout_values=[0, float("nan")]),
    "A/D limits": lambda: _source(ad_floor=0, full_scale=65535),
    "missing reads": lambda: _source(missing_reads=True, readout=Readout(read_numbers=(1, 3, 4))),
    "non-finite": lambda: _source(non_finite=True),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("dtype", ["u2", "f4"])
class TestContract:
    """What must hold for every source; a new one is added to SOURCES."""

    def test_types_shapes_bits_and_report(self, name: str, dtype: str) -> None:
        source = SOURCES[name]()
        pixels, samples, (report,) = initialize(_counts(dtype), [source])
        assert pixels.dtype == np.uint32
        assert pixels.shape == SHAPE[2:]
        assert samples.dtype == np.uint8
        assert samples.shape == SHAPE
        assert int(np.bitwise_or.reduce(samples, axis=None)) & ~source.group_bits == 0
        assert report.flagged == np.count_nonzero(pixels)
        for counted, flags in ((report.counts, pixels), (report.samples, samples)):
            assert sum(counted.values()) == sum(
                int(np.count_nonzero(flags & (1 << bit))) for bit in range(8 * flags.itemsize)
            )
        assert report.kind in report.describe()

    def test_existing_flags_are_added_to_and_nothing_is_modified(
        self, name: str, dtype: str
    ) -> None:
        data, mask, places = _counts(dtype), MASK.copy(), MAP.copy()
        alone = initialize(data, [SOURCES[name]()])
        pixeldq, groupdq = np.full(SHAPE[2:], 1 << 20, np.uint32), np.full(SHAPE, 128, np.uint8)
        added = initialize(data, [SOURCES[name]()], pixeldq=pixeldq, groupdq=groupdq)
        np.testing.assert_array_equal(added[0], alone[0] | (1 << 20))
        np.testing.assert_array_equal(added[1], alone[1] | 128)
        np.testing.assert_array_equal(data, _counts(dtype))
        np.testing.assert_array_equal(mask, MASK)
        np.testing.assert_array_equal(places, MAP)
        assert (pixeldq == 1 << 20).all()
        assert (groupdq == 128).all()


@pytest.mark.parametrize("image", [False, True], ids=["ramp", "image"])
def test_no_report_is_longer_than_the_longest(image: bool) -> None:
    """The header is made as large before the counts are known as it may have to be after."""
    worst = np.full(SHAPE[2:], 0xFFFF_FFFF, np.uint32)
    makers = [make() for make in SOURCES.values()]
    work = Initialization([*makers, FlagSource("user", "u.fits", worst)], image=image)
    longest = work.longest_reports((1, 1, *SHAPE[2:]) if image else SHAPE)
    data = _counts("f4")
    all(True for _ in work.rows(_reader(data[:1, :1] if image else data)))
    assert [report.kind for report in longest] == [report.kind for report in work.reports()]
    for most, got in zip(longest, work.reports(), strict=True):
        assert len(got.describe()) <= len(most.describe())


def test_the_order_of_sources_does_not_matter() -> None:
    data = _counts("f4")
    forward = initialize(data, [make() for make in SOURCES.values()])
    backward = initialize(data, [make() for make in reversed(SOURCES.values())])
    np.testing.assert_array_equal(forward[0], backward[0])
    np.testing.assert_array_equal(forward[1], backward[1])


def test_reference_pixels_are_the_border_of_the_detector() -> None:
    # Columns 4 to 23 and rows 40 to 55 of 64: of the border of 8, columns 4 to 7 are inside.
    source = _source(reference_pixels=True)
    assert source.pixels is not None
    expected = np.zeros(SHAPE[2:], np.uint32)
    expected[:, :4] = REFERENCE_PIXEL
    np.testing.assert_array_equal(source.pixels, expected)


def test_the_mask_wins_over_the_border_and_the_difference_is_told() -> None:
    mask = np.zeros(SHAPE[2:], np.uint32)
    mask[:, :3] = REFERENCE_PIXEL
    mask[0, 10] = REFERENCE_PIXEL
    source = _source(mask, reference_pixels=True)
    assert source.pixels is not None
    assert not source.pixels.any()
    # 16 pixels of the fourth column are in the border alone, one is in the mask alone.
    assert source.remarks == ("reference pixels of the mask differ from the border in 17 pixels",)


@pytest.mark.parametrize("named", [True, False], ids=["as the border", "none"])
def test_the_border_is_flagged_where_the_mask_has_none(named: bool) -> None:
    mask = MASK.copy()
    if named:
        mask[:, :4] |= REFERENCE_PIXEL
    source = _source(mask, reference_pixels=True)
    assert source.remarks == ()
    # The mask's own source flags them, or the border does: together they are the same.
    pixels, _, _ = initialize(_counts(), [FlagSource("mask", "m.fits", mask), source])
    expected = MASK.copy()
    expected[:, :4] |= REFERENCE_PIXEL
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("mask", "y", "x", "lacking"),
    [
        (None, 40, 4, 0),
        (MASK, 40, 4, 16 * 4),  # columns 4 to 7 of the detector are in its border of 8
        (MASK, 8, 8, 0),
        (MASK, 0, 0, 16 * 20 - 8 * 12),
        (MASK, 44, 40, 4 * 20 + 12 * 4),
        (MASK | np.uint32(REFERENCE_PIXEL), 0, 0, 0),
    ],
)
def test_a_mask_without_reference_pixels(mask: Uint32 | None, y: int, x: int, lacking: int) -> None:
    exposure = Exposure("ramp.fits", SHAPE, Window(y, x, 16, 20), FRAME, BORDER, mask)
    told = f"it lacks the border of reference pixels, {lacking} in this exposure"
    remarks = lacks_border(Recipe(), exposure)
    assert [remark.split(":")[0] for remark in remarks] == ([told] if lacking else [])
    assert lacks_border(Recipe(reference_pixels=True), exposure) == ()


def test_a_moving_guide_window() -> None:
    """A 2 x 3 window at x 11, y 46 (1-based) during the second group, in a window at x 5, y 41."""
    guide = GuideWindow(Window.from_fits(xstart=11, ystart=46, xsize=3, ysize=2), (1, 2))
    pixels, samples, _ = initialize(_counts(), [_source(guide_windows=[guide])])
    expected = np.zeros(SHAPE[2:], np.uint32)
    expected[5:7, :] |= OTHER_BAD_PIXEL
    expected[:, 6:9] |= OTHER_BAD_PIXEL
    expected[5:7, 6:9] |= NON_SCIENCE | DO_NOT_USE
    np.testing.assert_array_equal(pixels, expected)
    groups = np.zeros(SHAPE, np.uint8)
    groups[:, 1, 5:7, 6:9] = DO_NOT_USE
    np.testing.assert_array_equal(samples, groups)


@pytest.mark.parametrize(("part", "count"), list(zip(GUIDE_PARTS, (6, 40, 48), strict=True)))
def test_parts_of_guide_windows(part: str, count: int) -> None:
    source = _source(guide_windows=[GuideWindow(Window(45, 10, 2, 3))], guide_parts=[part])
    pixels, samples, _ = initialize(_counts(), [source])
    assert np.count_nonzero(pixels) == count
    assert not samples.any()


@given(
    y=st.integers(0, 63),
    x=st.integers(0, 63),
    ny=st.integers(1, 30),
    nx=st.integers(1, 30),
    expand=st.integers(0, 4),
)
def test_guide_windows_anywhere(y: int, x: int, ny: int, nx: int, expand: int) -> None:
    """Against pixel-by-pixel arithmetic, for windows that lie partly or wholly elsewhere."""
    ny, nx = min(ny, 64 - y), min(nx, 64 - x)
    expected = np.zeros(WINDOW.shape, np.uint32)
    for row in range(WINDOW.ny):
        in_rows = y <= row + WINDOW.y < y + ny
        near_rows = y - expand <= row + WINDOW.y < y + ny + expand
        for column in range(WINDOW.nx):
            in_columns = x <= column + WINDOW.x < x + nx
            near_columns = x - expand <= column + WINDOW.x < x + nx + expand
            expected[row, column] = OTHER_BAD_PIXEL if in_rows or in_columns else 0
            if near_rows and near_columns:
                expected[row, column] |= NON_SCIENCE | DO_NOT_USE
    options: dict[str, Any] = {
        "guide_windows": [GuideWindow(Window(y, x, ny, nx))],
        "guide_expand": expand,
    }
    if not expected.any():
        with pytest.raises(GeometryError, match=r"lie outside the exposure, which covers x 5–24"):
            _source(**options)
        return
    np.testing.assert_array_equal(_source(**options).pixels, expected)


def test_guide_windows_that_would_flag_nothing_are_all_told_at_once() -> None:
    fits = GuideWindow(Window.from_fits(xstart=61, ystart=1, xsize=4, ysize=64), (0, 3))
    leaves = GuideWindow(Window.from_fits(xstart=62, ystart=1, xsize=4, ysize=2))
    late = GuideWindow(Window.from_fits(xstart=1, ystart=1, xsize=2, ysize=2), (1, 4))
    assert _source(guide_windows=[fits]).origin == "caller"
    with pytest.raises(GeometryError) as caught:
        _source(guide_windows=[fits, leaves, late])
    message = str(caught.value)
    assert message.startswith("ramp.fits: guide windows do not fit")
    assert "62,1,4,2 leaves the detector" in message
    assert "1,1,2,2,2:4 is there after the last group, 3" in message
    assert "61,1,4,64" not in message


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"ad_floor": 5}, [AD_FLOOR, AD_FLOOR, 0, 0]),
        ({"full_scale": 9}, [0, 0, 0, SATURATED]),
        ({"ad_floor": -1}, [0, 0, 0, 0]),
        ({"full_scale": 10}, [0, 0, 0, 0]),
        ({"ad_floor": 0, "full_scale": 9}, [AD_FLOOR, 0, 0, SATURATED]),
        ({"dropout_values": [6, 9]}, [0, 0, DROPOUT, DROPOUT]),
    ],
)
def test_samples_by_their_values(limits: dict[str, Any], expected: list[int]) -> None:
    counts = np.array([0, 5, 6, 9], np.int32).reshape(1, 1, 1, 4)
    pixels, samples, _ = initialize(counts, [_source(**limits)])
    assert samples.ravel().tolist() == expected
    assert not pixels.any()


@pytest.mark.parametrize(
    ("limits", "name"),
    [({"full_scale": 1e9}, "full_scale is 1e\\+09"), ({"ad_floor": -1}, "ad_floor is -1")],
)
def test_limits_that_no_count_reaches(limits: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}, which no count of type uint16 reaches"):
        initialize(_counts(), [_source(**limits)])
    initialize(_counts("f4"), [_source(**limits)])  # reals may be of any size


@pytest.mark.parametrize("values", [[0, 70000], [0.5], [-1], [float("inf")]])
def test_dropout_values_that_no_count_has(values: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"dropout_values has .*, which no count of type uint16"):
        initialize(_counts(), [_source(dropout_values=values)])
    initialize(_counts("f4"), [_source(dropout_values=values)])


def test_non_finite_pixels() -> None:
    _, samples, _ = initialize(_counts("f4"), [_source(dropout_values=[float("nan")])])
    assert np.argwhere(samples == DROPOUT).tolist() == [[0, 0, 1, 1]]
    pixels, samples, _ = initialize(_counts("f8"), [_source(non_finite=True)])
    expected = np.zeros(SHAPE[2:], np.uint32)
    expected[1, 1] = expected[2, 2] = DO_NOT_USE | OTHER_BAD_PIXEL
    np.testing.assert_array_equal(pixels, expected)
    assert not samples.any()


@pytest.mark.parametrize("image", [False, True], ids=["ramp", "image"])
def test_rows_look_through_the_groups_that_nobody_asked_for(image: bool) -> None:
    """As a dry run does: an image has the flags of its samples in its pixels."""
    counts = np.array([0, 5, 65535], np.uint16).reshape(1, 1, 1, 3)
    work = Initialization(_sources(ad_floor=0, dropout_values=[5]), image=image)
    ((_, pixels),) = work.rows(_reader(counts))
    assert pixels.tolist() == [[AD_FLOOR, DROPOUT, 0] if image else [0] * 3]
    given = [report.samples for report in work.reports()]
    assert given == ([{}, {}] if image else [{"DROPOUT": 1}, {"AD_FLOOR": 1}])
    assert work.counts == ({"GOOD": 1, "DROPOUT": 1, "AD_FLOOR": 1} if image else {"GOOD": 3})


@pytest.mark.parametrize(
    ("numbers", "flagged", "absent"),
    [
        ([1, 2, 3], [], 0),
        ([4, 5, 6], [], 0),
        ([1, 3, 4], [(0, 1), (1, 1)], 1),
        ([1, 2, 5], [(0, 2), (1, 2)], 2),
        ([1, 0, 3], [(0, 1), (1, 1)], 0),
        ([0, 2, 3], [(0, 0), (1, 0)], 0),
        ([1, 0, 5], [(0, 1), (0, 2), (1, 1), (1, 2)], 2),
        ([1, 2, 3, 1, 2, 4], [(1, 2)], 1),
    ],
)
def test_missing_reads(numbers: list[int], flagged: list[tuple[int, int]], absent: int) -> None:
    source = _source(missing_reads=True, readout=Readout(read_numbers=tuple(numbers)))
    _, samples, _ = initialize(_counts(), [source])
    expected = np.zeros(SHAPE, np.uint8)
    for place in flagged:
        expected[place] = DROPOUT
    np.testing.assert_array_equal(samples, expected)
    assert source.remarks == ((f"{absent} reads are missing between the groups",) if absent else ())


def test_subarrays_are_found_and_flagged() -> None:
    assert subarray_windows(MAP) == {1: Window(2, 3, 3, 6), 2: Window(8, 10, 2, 10)}
    pixels, _, _ = initialize(_counts(), _sources(readout=Readout(MAP)))
    np.testing.assert_array_equal(pixels, np.where(MAP > 0, NON_SCIENCE | DO_NOT_USE, 0))


def _map(**boxes: tuple[slice, slice]) -> npt.NDArray[np.uint16]:
    result = np.zeros((10, 10), np.uint16)
    for name, box in boxes.items():
        result[box] = int(name[1])
    return result


@pytest.mark.parametrize(
    ("subarr_map", "message"),
    [
        (_map(s1=np.s_[0:2, 0:2], s3=np.s_[5:7, 5:7]), "numbers are 1, 3; expected 1 to 2"),
        (_map(s2=np.s_[0:2, 0:2]), "numbers are 2; expected 1 to 1"),
        (_map(s1=np.s_[::5, ::5]), "subarray 1 has 4 pixels .* 36: it is not one rectangle"),
        (_map(s1=np.s_[0:3, 0:3], s2=np.s_[2:5, 2:5]), "subarray 1 has 8 pixels"),
    ],
    ids=["a number is missing", "does not begin at 1", "several boxes", "not a rectangle"],
)
def test_wrong_subarray_maps(subarr_map: npt.NDArray[np.uint16], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        subarray_windows(subarr_map)


@given(st.data())
def test_merging_subarrays_gives_the_frame_back(data: st.DataObject) -> None:
    """Flags of the frame, cut into non-overlapping boxes and merged again, are the frame's."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    truth = rng.integers(0, 2**32, (24, 24), dtype=np.uint32)
    subarr_map = np.zeros((24, 24), np.uint32)
    pieces = {}
    for number in range(1, data.draw(st.integers(0, 4)) + 1):
        # One box in each quarter of the frame: they cannot overlap.
        top, left = (number - 1) // 2 * 12, (number - 1) % 2 * 12
        y = top + data.draw(st.integers(0, 8))
        x = left + data.draw(st.integers(0, 8))
        box = np.s_[y : y + data.draw(st.integers(1, 4)), x : x + data.draw(st.integers(1, 4))]
        subarr_map[box] = number
        pieces[number] = truth[box]
    frame = truth | np.where(subarr_map > 0, NON_SCIENCE | DO_NOT_USE, 0).astype(np.uint32)
    np.testing.assert_array_equal(merge_subarrays(frame, subarr_map, pieces), truth)


def test_merging_refuses_what_does_not_fit() -> None:
    frame = np.zeros(SHAPE[2:], np.uint32)
    right = {1: np.zeros((3, 6), np.uint32), 2: np.zeros((2, 10), np.uint32)}
    for pieces in ({1: right[1]}, {**right, 2: right[1]}):
        with pytest.raises(GeometryError, match="without flags of their shape: 2"):
            merge_subarrays(frame, MAP, pieces)
    with pytest.raises(GeometryError, match=r"SUBARR_MAP has the shape .* of their shape: none"):
        merge_subarrays(frame[1:], MAP, right)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ad_floor": 5, "full_scale": 5}, "not below"),
        ({"ad_floor": float("nan")}, "ad_floor is NaN"),
        ({"full_scale": float("nan")}, "full_scale is NaN"),
        ({"read_numbers": (1, 2)}, "2 read numbers are given; expected 3"),
        ({"read_numbers": (1, 3, 2)}, "do not increase"),
    ],
)
def test_bad_parameters(fields: dict[str, Any], message: str) -> None:
    if "read_numbers" in fields:
        fields = {"missing_reads": True, "readout": Readout(**fields)}
    with pytest.raises(ConfigError, match=message):
        _sources(**fields)


GUIDE = GuideWindow(Window(45, 10, 2, 3))


def test_all_sources_come_in_the_order_of_reports() -> None:
    readout = Readout(MAP, (GUIDE,), "header", (1, 2, 3), incomplete=True)
    wanted: dict[str, Any] = {
        "propagate_do_not_use": True,
        "reference_pixels": True,
        "guide_windows": [GUIDE],
        "missing_reads": True,
        "dropout_values": (0,),
        "ad_floor": 0,
        "non_finite": True,
    }
    found = _sources(MASK, readout=readout, **wanted)
    assert [source.kind for source in found] == [
        "subarrays",
        "reference pixels",
        "guide windows",
        "guide windows",
        "DO_NOT_USE in groups",
        "missing reads",
        "dropouts",
        "A/D limits",
        "non-finite pixels",
    ]
    assert [source.origin for source in found[2:4]] == ["caller", "header"]
    # The file calls itself incomplete, but its read numbers have no gap.
    assert found[5].remarks == (
        "COMPLETE is F, but no read is missing between the groups that are there",
    )


@pytest.mark.parametrize(
    ("fields", "mask"),
    [({}, MASK), ({"propagate_do_not_use": True}, None), ({"missing_reads": True}, None)],
)
def test_no_source_without_what_it_needs(fields: dict[str, Any], mask: Uint32 | None) -> None:
    assert _sources(mask, **fields) == []
