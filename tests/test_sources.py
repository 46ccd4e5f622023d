"""The contract of every flag source, and what each one flags."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.exposure import Exposure, Readout
from tmt_dq.core.geometry import Window
from tmt_dq.core.initialize import ArrayReader, Initialization, initialize
from tmt_dq.core.recipe import GUIDE_PARTS, GuideWindow, Recipe
from tmt_dq.core.sources import recipe_sources
from tmt_dq.core.sources.ad_limits import ad_limits
from tmt_dq.core.sources.dropouts import dropouts
from tmt_dq.core.sources.group_propagation import do_not_use_in_groups
from tmt_dq.core.sources.guide_windows import check_guide_windows, guide_windows
from tmt_dq.core.sources.missing_reads import missing_reads
from tmt_dq.core.sources.non_finite import non_finite
from tmt_dq.core.sources.reference_pixels import reference_pixels
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.core.sources.subarrays import inside_subarrays, merge_subarrays, subarray_windows
from tmt_dq.errors import ConfigError, GeometryError

# Values of the convention, written out: the tests must not ask the code for them.
DO_NOT_USE, SATURATED, DROPOUT, AD_FLOOR = 1, 2, 8, 64
NON_SCIENCE, OTHER_BAD_PIXEL, REFERENCE_PIXEL = 512, 1 << 30, 1 << 31

SHAPE = (2, 3, 16, 20)
FRAME = Window.full(64, 64)
WINDOW = Window(40, 4, 16, 20)
MASK = np.zeros(SHAPE[2:], np.uint32)
MASK[3, 4] = 1 + 1024


def _counts(dtype: str = "u2") -> npt.NDArray[np.generic]:
    data = np.random.default_rng(3).integers(1, 60000, SHAPE).astype(dtype)
    data[0, 1, 5, 6] = 0
    data[1, 2, 7, 8] = 65535
    if data.dtype.kind == "f":
        data[0, 0, 1, 1] = np.nan
        data[1, 1, 2, 2] = np.inf
    return data


MAP = np.zeros(SHAPE[2:], np.uint16)
MAP[2:5, 3:9] = 1
MAP[8:10, 10:20] = 2

SOURCES: dict[str, Callable[[], FlagSource]] = {
    "mask": lambda: FlagSource("mask", "crds://m.fits", MASK),
    "do not use": lambda: do_not_use_in_groups(MASK),
    "reference pixels": lambda: reference_pixels(WINDOW, FRAME, 8, None),
    "reference pixels, mask": lambda: reference_pixels(
        WINDOW, FRAME, 8, MASK | np.uint32(REFERENCE_PIXEL)
    ),
    "guide windows": lambda: guide_windows(
        [GuideWindow(Window(44, 8, 3, 4), (1, 2)), GuideWindow(Window(50, 8, 3, 4))],
        WINDOW,
        origin="caller",
        expand=1,
    ),
    "subarrays": lambda: inside_subarrays(MAP),
    "dropouts": lambda: dropouts([0, float("nan")]),
    "A/D limits": lambda: ad_limits(floor=0, full_scale=65535),
    "missing reads": lambda: missing_reads([1, 3, 4], SHAPE),
    "non-finite": non_finite,
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("dtype", ["u2", "f4"])
class TestContract:
    """What must hold for every source; a new one is added to SOURCES."""

    def test_types_shapes_and_declared_bits(self, name: str, dtype: str) -> None:
        source, data = SOURCES[name](), _counts(dtype)
        pixels, samples, _ = initialize(data, [source])
        assert pixels.dtype == np.uint32
        assert samples.dtype == np.uint8
        assert pixels.shape == SHAPE[2:]
        assert samples.shape == SHAPE
        assert int(np.bitwise_or.reduce(pixels, axis=None)) & ~source.pixel_bits == 0
        assert int(np.bitwise_or.reduce(samples, axis=None)) & ~source.group_bits == 0

    def test_arguments_are_not_modified(self, name: str, dtype: str) -> None:
        data, mask, places = _counts(dtype), MASK.copy(), MAP.copy()
        pixeldq = np.full(SHAPE[2:], 4, np.uint32)
        groupdq = np.full(SHAPE, 4, np.uint8)
        before = data.copy()
        initialize(data, [SOURCES[name]()], pixeldq=pixeldq, groupdq=groupdq)
        np.testing.assert_array_equal(data, before)
        np.testing.assert_array_equal(mask, MASK)
        np.testing.assert_array_equal(places, MAP)
        assert (pixeldq == 4).all()
        assert (groupdq == 4).all()

    def test_same_result_again(self, name: str, dtype: str) -> None:
        first = initialize(_counts(dtype), [SOURCES[name]()])
        second = initialize(_counts(dtype), [SOURCES[name]()])
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
        # Not the reports themselves: a NaN among the parameters is unlike itself.
        assert [report.describe() for report in first[2]] == [
            report.describe() for report in second[2]
        ]

    def test_existing_flags_are_added_to(self, name: str, dtype: str) -> None:
        data = _counts(dtype)
        alone = initialize(data, [SOURCES[name]()])
        pixeldq = np.full(SHAPE[2:], 1 << 20, np.uint32)
        groupdq = np.full(SHAPE, 128, np.uint8)
        added = initialize(data, [SOURCES[name]()], pixeldq=pixeldq, groupdq=groupdq)
        np.testing.assert_array_equal(added[0], alone[0] | (1 << 20))
        np.testing.assert_array_equal(added[1], alone[1] | 128)

    def test_the_report_counts_what_was_given(self, name: str, dtype: str) -> None:
        pixels, samples, (report,) = initialize(_counts(dtype), [SOURCES[name]()])
        assert report.flagged == np.count_nonzero(pixels)
        assert sum(report.samples.values()) == sum(
            int(np.count_nonzero(samples & np.uint8(1 << bit))) for bit in range(8)
        )
        assert report.kind in report.describe()


@pytest.mark.parametrize("image", [False, True], ids=["ramp", "image"])
def test_no_report_is_longer_than_the_longest(image: bool) -> None:
    """The header is made as large before the counts are known as it may have to be after."""
    worst = np.full(SHAPE[2:], 0xFFFF_FFFF, np.uint32)
    makers = [make() for make in SOURCES.values()]
    work = Initialization([*makers, FlagSource("user", "u.fits", worst)], image=image)
    longest = work.longest_reports((1, 1, *SHAPE[2:]) if image else SHAPE)
    data = _counts("f4")
    all(True for _ in work.rows(ArrayReader(data[:1, :1] if image else data)))
    assert [report.kind for report in longest] == [report.kind for report in work.reports()]
    for most, got in zip(longest, work.reports(), strict=True):
        assert len(got.describe()) <= len(most.describe())


def test_the_order_of_sources_does_not_matter() -> None:
    data = _counts("f4")
    sources = [make() for make in SOURCES.values()]
    forward = initialize(data, sources)
    backward = initialize(data, [make() for make in reversed(SOURCES.values())])
    np.testing.assert_array_equal(forward[0], backward[0])
    np.testing.assert_array_equal(forward[1], backward[1])


def test_reference_pixels_are_the_border_of_the_detector() -> None:
    # Columns 4 to 23 and rows 40 to 55 of 64: of the border of 8, columns 4 to 7 are inside.
    pixels, _, _ = initialize(_counts(), [reference_pixels(WINDOW, FRAME, 8, None)])
    expected = np.zeros(SHAPE[2:], np.uint32)
    expected[:, :4] = REFERENCE_PIXEL
    np.testing.assert_array_equal(pixels, expected)


def test_the_mask_wins_over_the_border_and_the_difference_is_told() -> None:
    mask = np.zeros(SHAPE[2:], np.uint32)
    mask[:, :3] = REFERENCE_PIXEL
    mask[0, 10] = REFERENCE_PIXEL
    source = reference_pixels(WINDOW, FRAME, 8, mask)
    pixels, _, _ = initialize(_counts(), [source])
    assert not pixels.any()
    assert "1 are not in the border, 16 of the border are not in the mask" in source.remarks[0]


@pytest.mark.parametrize("named", [True, False], ids=["as the border", "none"])
def test_a_mask_that_agrees_with_the_border_needs_no_remark(named: bool) -> None:
    mask = MASK.copy()
    if named:
        mask[:, :4] |= REFERENCE_PIXEL
    source = reference_pixels(WINDOW, FRAME, 8, mask)
    assert source.remarks == ()
    # The mask's own source flags them, or the border does: together they are the same.
    pixels, _, _ = initialize(_counts(), [FlagSource("mask", "m.fits", mask), source])
    expected = MASK.copy()
    expected[:, :4] |= REFERENCE_PIXEL
    np.testing.assert_array_equal(pixels, expected)


def test_a_moving_guide_window() -> None:
    """A 2 x 3 window at x 11, y 46 (1-based) during the second group, in a window at x 5, y 41."""
    guide = GuideWindow(Window.from_fits(xstart=11, ystart=46, xsize=3, ysize=2), (1, 2))
    pixels, samples, _ = initialize(_counts(), [guide_windows([guide], WINDOW, origin="caller")])
    expected = np.zeros(SHAPE[2:], np.uint32)
    expected[5:7, :] |= OTHER_BAD_PIXEL
    expected[:, 6:9] |= OTHER_BAD_PIXEL
    expected[5:7, 6:9] |= NON_SCIENCE | DO_NOT_USE
    np.testing.assert_array_equal(pixels, expected)
    groups = np.zeros(SHAPE, np.uint8)
    groups[:, 1, 5:7, 6:9] = DO_NOT_USE
    np.testing.assert_array_equal(samples, groups)


@pytest.mark.parametrize("part", GUIDE_PARTS)
def test_parts_of_guide_windows(part: str) -> None:
    guide = GuideWindow(Window(45, 10, 2, 3))
    pixels, samples, _ = initialize(
        _counts(), [guide_windows([guide], WINDOW, origin="caller", parts=[part])]
    )
    counts = {"box": 6, "rows": 2 * 20, "columns": 16 * 3}
    assert np.count_nonzero(pixels) == counts[part]
    assert not samples.any()


@given(
    y=st.integers(-5, 70),
    x=st.integers(-5, 70),
    ny=st.integers(1, 30),
    nx=st.integers(1, 30),
    expand=st.integers(0, 4),
)
def test_guide_windows_anywhere(y: int, x: int, ny: int, nx: int, expand: int) -> None:
    """Against pixel-by-pixel arithmetic, for windows that lie partly or wholly elsewhere."""
    source = guide_windows(
        [GuideWindow(Window(y, x, ny, nx))], WINDOW, origin="caller", expand=expand
    )
    assert source.pixels is not None
    for row in range(WINDOW.ny):
        in_rows = y <= row + WINDOW.y < y + ny
        near_rows = y - expand <= row + WINDOW.y < y + ny + expand
        for column in range(WINDOW.nx):
            in_columns = x <= column + WINDOW.x < x + nx
            near_columns = x - expand <= column + WINDOW.x < x + nx + expand
            expected = OTHER_BAD_PIXEL if in_rows or in_columns else 0
            if near_rows and near_columns:
                expected |= NON_SCIENCE | DO_NOT_USE
            assert source.pixels[row, column] == expected


def test_guide_windows_that_would_flag_nothing_are_all_told_at_once() -> None:
    fits = GuideWindow(Window.from_fits(xstart=61, ystart=1, xsize=4, ysize=64), (0, 3))
    leaves = GuideWindow(Window.from_fits(xstart=62, ystart=1, xsize=4, ysize=2))
    late = GuideWindow(Window.from_fits(xstart=1, ystart=1, xsize=2, ysize=2), (1, 4))
    check_guide_windows([fits], FRAME, 3, where="ramp.fits")
    with pytest.raises(GeometryError) as caught:
        check_guide_windows([fits, leaves, late], FRAME, 3, where="ramp.fits")
    message = str(caught.value)
    assert message.startswith("ramp.fits: ")
    assert "62,1,4,2 leaves the detector" in message
    assert "1,1,2,2,2:4 is there after the last group, 3" in message
    assert "61,1,4,64" not in message


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"floor": 5}, [AD_FLOOR, AD_FLOOR, 0, 0]),
        ({"full_scale": 9}, [0, 0, 0, SATURATED]),
        ({"floor": -1}, [0, 0, 0, 0]),
        ({"full_scale": 10}, [0, 0, 0, 0]),
    ],
)
def test_one_limit_alone(limits: dict[str, float], expected: list[int]) -> None:
    counts = np.array([0, 5, 6, 9], np.int32).reshape(1, 1, 1, 4)
    _, samples, _ = initialize(counts, [ad_limits(**limits)])
    assert samples.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("limits", "name"),
    [({"full_scale": 1e9}, "full_scale is 1e\\+09"), ({"floor": -1}, "ad_floor is -1")],
)
def test_limits_that_no_count_reaches(limits: dict[str, float], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}, which no count of type uint16 reaches"):
        initialize(_counts(), [ad_limits(**limits)])
    initialize(_counts("f4"), [ad_limits(**limits)])  # reals may be of any size


def test_dropouts_and_limits() -> None:
    _, samples, _ = initialize(_counts(), [dropouts([0]), ad_limits(floor=0, full_scale=65535)])
    expected = np.zeros(SHAPE, np.uint8)
    expected[0, 1, 5, 6] = DROPOUT | AD_FLOOR
    expected[1, 2, 7, 8] = SATURATED
    np.testing.assert_array_equal(samples, expected)


def test_a_nan_can_stand_for_lost_data() -> None:
    _, samples, _ = initialize(_counts("f4"), [dropouts([float("nan")])])
    assert np.argwhere(samples == DROPOUT).tolist() == [[0, 0, 1, 1]]


def test_non_finite_pixels() -> None:
    pixels, samples, _ = initialize(_counts("f8"), [non_finite()])
    expected = np.zeros(SHAPE[2:], np.uint32)
    expected[1, 1] = expected[2, 2] = DO_NOT_USE | OTHER_BAD_PIXEL
    np.testing.assert_array_equal(pixels, expected)
    assert not samples.any()


def test_flags_that_were_counted_before_are_copied() -> None:
    """As those of a mask, unless the exposure has flags of its own or another source has some."""
    counts = {"GOOD": MASK.size - 1, "DO_NOT_USE": 1, "DEAD": 1}
    mask = FlagSource("mask", "m.fits", MASK, counts=counts)
    reader = ArrayReader(np.zeros(SHAPE, np.uint16))
    work = Initialization([mask])
    ((_, pixels),) = work.rows(reader)
    np.testing.assert_array_equal(pixels, MASK)
    pixels[:] = 4  # the caller may do so, and the mask stays as it is
    assert MASK[0, 0] == 0
    assert work.counts == counts
    others = Initialization([mask, FlagSource("user", "u.fits", MASK * 2)])
    ((_, pixels),) = others.rows(reader)
    np.testing.assert_array_equal(pixels, MASK | MASK * 2)


@pytest.mark.parametrize("image", [False, True], ids=["ramp", "image"])
def test_rows_look_through_the_groups_that_nobody_asked_for(image: bool) -> None:
    """As a dry run does: what is found in the samples is counted all the same."""
    counts = np.array([0, 5, 7], np.uint16).reshape(1, 1, 1, 3)
    work = Initialization([missing_reads([0], (1, 1, 1, 3)), dropouts([5])], image=image)
    ((_, pixels),) = work.rows(ArrayReader(counts))
    assert pixels.tolist() == [[DROPOUT] * 3 if image else [0] * 3]
    given = [report.samples for report in work.reports()]
    assert given == ([{}, {}] if image else [{"DROPOUT": 3}, {"DROPOUT": 1}])


def test_large_frames_are_made_in_pieces_of_rows() -> None:
    """More than 4 MiB of flags: 1,500 rows of 1,000 pixels."""
    shape = (1, 1, 1500, 1000)
    old, mask = np.zeros(shape[2:], np.uint32), np.zeros(shape[2:], np.uint32)
    old[1499, 0], mask[1498:, 0], mask[3, 7] = 4, 1, 1024
    work = Initialization([FlagSource("mask", "m.fits", mask)])
    pieces = list(work.rows(ArrayReader(np.zeros(shape, np.uint16), old)))
    assert len(pieces) > 1
    np.testing.assert_array_equal(np.concatenate([flags for _, flags in pieces]), old | mask)
    assert old[1499, 0] == 4
    assert work.counts == {"GOOD": 1499997, "DO_NOT_USE": 2, "JUMP_DET": 1, "DEAD": 1}


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
    source = missing_reads(numbers, SHAPE)
    _, samples, _ = initialize(_counts(), [source])
    expected = np.zeros(SHAPE, np.uint8)
    for place in flagged:
        expected[place] = DROPOUT
    np.testing.assert_array_equal(samples, expected)
    assert source.remarks == ((f"{absent} reads are missing between the groups",) if absent else ())


def test_an_image_gets_its_samples_flags_as_pixel_flags() -> None:
    image = np.array([[0, 5], [65535, 7]], np.uint16)
    work = Initialization([ad_limits(floor=0, full_scale=65535)], image=True)
    reader = ArrayReader(image.reshape(1, 1, 2, 2))
    assert list(work.planes(reader)) == [None]
    ((_, pixels),) = work.rows(reader)
    assert pixels.tolist() == [[AD_FLOOR, 0], [SATURATED, 0]]
    assert work.counts == {"GOOD": 2, "SATURATED": 1, "AD_FLOOR": 1}


def test_subarrays_are_found_and_flagged() -> None:
    assert subarray_windows(MAP) == {1: Window(2, 3, 3, 6), 2: Window(8, 10, 2, 10)}
    pixels, _, _ = initialize(_counts(), [inside_subarrays(MAP)])
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
    subarr_map = np.zeros((24, 24), np.uint16)
    pieces = {}
    for number in range(1, data.draw(st.integers(0, 4)) + 1):
        # One box in each quarter of the frame: they cannot overlap.
        top, left = (number - 1) // 2 * 12, (number - 1) % 2 * 12
        y = top + data.draw(st.integers(0, 8))
        x = left + data.draw(st.integers(0, 8))
        box = np.s_[y : y + data.draw(st.integers(1, 4)), x : x + data.draw(st.integers(1, 4))]
        subarr_map[box] = number
        pieces[number] = truth[box]
    inside = inside_subarrays(subarr_map).pixels
    assert inside is not None
    frame = truth | inside
    np.testing.assert_array_equal(merge_subarrays(frame, subarr_map, pieces), truth)


def test_merging_refuses_what_does_not_fit() -> None:
    frame = np.zeros(SHAPE[2:], np.uint32)
    right = {1: np.zeros((3, 6), np.uint32), 2: np.zeros((2, 10), np.uint32)}
    with pytest.raises(GeometryError, match=r"subarrays \[1, 2\], but flags are given for \[1\]"):
        merge_subarrays(frame, MAP, {1: right[1]})
    with pytest.raises(GeometryError, match=r"subarray 2 has the shape \(2, 10\)"):
        merge_subarrays(frame, MAP, {**right, 2: right[1]})
    with pytest.raises(GeometryError, match="SUBARR_MAP has the shape"):
        merge_subarrays(frame[1:], MAP, right)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ad_limits(floor=5, full_scale=5), "not below"),
        (lambda: ad_limits(floor=float("nan")), "the floor is NaN"),
        (lambda: ad_limits(full_scale=float("nan")), "the full scale is NaN"),
        (lambda: missing_reads([1, 2], SHAPE), "2 read numbers are given; expected 3"),
        (lambda: missing_reads([1, 3, 2], SHAPE), "do not increase"),
        (lambda: GuideWindow(Window(0, 0, 0, 4)), "empty"),
        (lambda: GuideWindow(Window(0, 0, 2, 4), (3, 3)), "expected 1 ≤ first ≤ last"),
    ],
)
def test_bad_parameters(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


GUIDE = GuideWindow(Window(45, 10, 2, 3))


@pytest.mark.parametrize(
    ("recipe", "exposure", "kinds"),
    [
        (Recipe(), {}, []),
        (Recipe(), {"mask": MASK}, []),
        (Recipe(), {"readout": Readout(subarr_map=MAP.astype(np.uint32))}, ["subarrays"]),
        (Recipe(reference_pixels=True), {}, ["reference pixels"]),
        (Recipe(guide_windows=(GUIDE,)), {}, ["guide windows"]),
        (
            Recipe(guide_windows=(GUIDE,)),
            {"readout": Readout(guide_windows=(GUIDE,), guide_origin="header")},
            ["guide windows", "guide windows header"],
        ),
        (Recipe(propagate_do_not_use=True), {}, []),
        (Recipe(propagate_do_not_use=True), {"mask": MASK}, ["DO_NOT_USE in groups"]),
        (Recipe(missing_reads=True), {}, []),
        (
            Recipe(missing_reads=True),
            {"readout": Readout(read_numbers=(1, 2, 4))},
            ["missing reads"],
        ),
        (Recipe(dropout_values=(0,)), {}, ["dropouts"]),
        (Recipe(full_scale=65535), {}, ["A/D limits"]),
        (Recipe(non_finite=True), {}, ["non-finite pixels"]),
    ],
)
def test_sources_of_a_recipe(recipe: Recipe, exposure: dict[str, Any], kinds: list[str]) -> None:
    sources = recipe_sources(recipe, Exposure("ramp.fits", SHAPE, WINDOW, FRAME, 4, **exposure))
    assert [source.kind for source in sources] == [kind.removesuffix(" header") for kind in kinds]
    assert [source.origin for source in sources if "guide" in source.kind] == [
        "header" if kind.endswith("header") else "caller" for kind in kinds if "guide" in kind
    ]


def test_all_sources_come_in_the_order_of_reports() -> None:
    readout = Readout(MAP.astype(np.uint32), (GUIDE,), "header", (1, 2, 3), incomplete=True)
    recipe = Recipe(
        propagate_do_not_use=True,
        reference_pixels=True,
        missing_reads=True,
        dropout_values=(0,),
        ad_floor=0,
        non_finite=True,
    )
    exposure = Exposure("ramp.fits", SHAPE, WINDOW, FRAME, 4, MASK, readout)
    found = recipe_sources(recipe, exposure)
    assert [source.kind for source in found] == [
        "subarrays",
        "reference pixels",
        "guide windows",
        "DO_NOT_USE in groups",
        "missing reads",
        "dropouts",
        "A/D limits",
        "non-finite pixels",
    ]
    # The file calls itself incomplete, but its read numbers have no gap.
    assert found[4].remarks == (
        "COMPLETE is F, but no read is missing between the groups that are there",
    )


def test_guide_windows_outside_name_the_exposure() -> None:
    outside = GuideWindow(Window(60, 10, 8, 8))
    with pytest.raises(GeometryError, match=r"^ramp.fits: guide windows do not fit"):
        recipe_sources(
            Recipe(guide_windows=(outside,)), Exposure("ramp.fits", SHAPE, WINDOW, FRAME)
        )
