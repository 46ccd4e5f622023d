"""jwst 3.0.0's DQ initialization and ours on the same exposures: equal where jwst is right.

Where it is not, each test first shows what jwst does, so that a corrected jwst is noticed, and then
that ours refuses the input or gives the specified result. docs/topics/peers.md explains the cases.
"""

import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from benchmarks.peers import JWST
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import CONVENTION, Row, Uint32, arrays, make_mask, make_ramp, write_hdus
from peer_jwst import Answer, ask, make_mask_model, placed, run_step
from tmt_dq.apply.apply import apply_dq
from tmt_dq.apply.output import Applied
from tmt_dq.errors import GeometryError, MaskFormatError, UnknownFlagError
from tmt_dq.masks.mask import read_mask

pytest.importorskip("jwst", reason="jwst is not installed; `make peers-jwst` runs these tests")
pytestmark = pytest.mark.filterwarnings("default")  # jwst's are no errors

NAMES = [name for name in CONVENTION if name != "GOOD"]
USER_TYPES = {"u1": 8, "i2": 15, "u2": 16, "i4": 31, "u4": 32, "i8": 32}
DO_NOT_USE, HOT, DEAD = CONVENTION["DO_NOT_USE"], CONVENTION["HOT"], CONVENTION["DEAD"]

PLACE_CARDS = ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")

# The cards that jwst demands of the files that both are given.
JWST_RAMP = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRCAM",
    "DETECTOR": "NRCA1",
    "EXP_TYPE": "NRC_IMAGE",
    "SUBARRAY": "SUB64P",
}
JWST_MASK = {"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1"}


@pytest.fixture(autouse=True)
def _alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Give jwst an empty CRDS cache and no network."""
    tried = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("tests have no network")

    variables = JWST.environment(tmp_path_factory.getbasetemp())
    # CRDS understands that there is none only when it asks for the second time.
    for name, value in {**variables, "CRDS_CONFIG_URI": "none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    yield
    assert not tried


@dataclass
class Case:
    """An exposure, its mask and its user's flags; starts are 1-based (x, y)."""

    shape: tuple[int, int, int, int]
    mask: npt.NDArray[Any]
    start: tuple[int, int] = (1, 1)
    mask_start: tuple[int, int] = (1, 1)
    rows: Sequence[Row] | None = None
    user: npt.NDArray[Any] | None = None
    pixeldq: Uint32 | None = None
    groupdq: npt.NDArray[np.uint8] | None = None
    # What is different in what the peer is told, to show its mistakes.
    peer: dict[str, Any] = field(default_factory=dict)

    @property
    def covered(self) -> bool:
        """Whether the mask covers the data."""
        return all(
            first <= start and start + size <= first + length
            for first, length, start, size in zip(
                self.mask_start, self.mask.shape[::-1], self.start, self.shape[:1:-1], strict=True
            )
        )

    def their_mask(self) -> Any:
        """Return the mask as jwst's model."""
        place = (*self.mask_start, self.mask.shape[1], self.mask.shape[0])
        return make_mask_model(self.mask, self.peer.get("mask_place", place), self.rows)

    def ask(self, mask: Any = None, *, user: bool = True, quick: bool = False) -> Answer:
        """Have the peer do it."""
        return ask(
            self.their_mask if mask is None else lambda: mask,
            self.user if user else None,
            shape=self.shape,
            place=self.peer.get("place", (*self.start, self.shape[3], self.shape[2])),
            pixeldq=self.pixeldq,
            groupdq=self.groupdq,
            quick=quick,
        )

    def files(self, folder: Path, *, jwst: bool = False) -> dict[str, Path | None]:
        """Write it as files; the pixels are the same for both."""
        folder.mkdir()
        places = {
            name: dict(zip(PLACE_CARDS, self.peer.get(name, ()), strict=False))
            for name in ("place", "mask_place")
        }
        user = None
        if self.user is not None:
            user = make_user(folder / "user.fits", self.user)
        return {
            "ramp": make_ramp(
                folder / "ramp_uncal.fits",
                self.shape,
                start=self.start,
                pixeldq=self.pixeldq,
                groupdq=self.groupdq,
                header=(JWST_RAMP if jwst else {}) | places["place"],
            ),
            "mask": make_mask(
                folder / "mask.fits",
                self.mask,
                start=self.mask_start,
                rows=self.rows,
                header=(JWST_MASK if jwst else {}) | places["mask_place"],
            ),
            "user": user,
        }

    def apply(self, folder: Path, **options: Any) -> tuple[Applied, dict[str, npt.NDArray[Any]]]:
        """Do it ourselves, from file to file; a user's flags stay as they are, as jwst's do."""
        files = self.files(folder)
        options = {"user_do_not_use": "keep", "sync": False, **options}
        done = apply_dq(
            files["ramp"] or "",
            folder / "out.fits",
            **{"mask": files["mask"], "user_dq": files["user"], **options},
        )
        return done, arrays(folder / "out.fits")

    def step(self, folder: Path, **options: Any) -> tuple[str, dict[str, npt.NDArray[Any]]]:
        """Have the peer do it from file to file; return S_DQINIT and the images."""
        files: Any = self.files(folder, jwst=True) | options
        output = run_step(**files, folder=folder / "out")
        return str(fits.getval(output, "S_DQINIT")), arrays(output)


def make_user(path: Path, flags: npt.NDArray[Any]) -> Path:
    return write_hdus(path, fits.HDUList([fits.PrimaryHDU(flags)]))


def flags(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> npt.NDArray[np.uint64]:
    """Return random values, most of them zero, each bit as likely as the next."""
    values = np.zeros(shape, np.uint64)
    for _ in range(2):
        values |= np.uint64(1) << rng.integers(0, bits, shape, np.uint64)
    return np.where(rng.random(shape) < 0.4, values, np.uint64(0))


@st.composite
def cases(draw: st.DrawFn, *, covered: bool = True) -> Case:
    """Draw an exposure; its mask covers it, or lacks some columns or rows of it."""
    ny, nx = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), ny, nx)
    corner = st.sampled_from([1, 2, 467, 2048, 4080]) | st.integers(1, 4080)
    x, y = draw(corner), draw(corner)
    left, below = draw(st.integers(0, min(3, x - 1))), draw(st.integers(0, min(3, y - 1)))
    right, above = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = None
    if draw(st.booleans()):
        bits = draw(st.lists(st.integers(0, 31), unique=True, min_size=1, max_size=8))
        names = draw(st.permutations(NAMES))
        rows = [(bit, 1 << bit, name) for bit, name in zip(bits, names, strict=False)]
    mask = flags(rng, (below + ny + above, left + nx + right), 32).astype(np.uint32)
    if rows is not None:
        mask &= np.uint32(sum(1 << bit for bit, _, _ in rows))
    mask_start = (x - left, y - below)
    if not covered:
        side = draw(st.sampled_from(["left", "right", "below", "above"]))
        lack = draw(st.integers(1, 5))
        dx = {"left": left + lack, "right": -right - lack}.get(side, 0)
        dy = {"below": below + lack, "above": -above - lack}.get(side, 0)
        mask_start = (max(1, mask_start[0] + dx), max(1, mask_start[1] + dy))
    user = None
    if draw(st.booleans()):
        kind = draw(st.sampled_from(list(USER_TYPES)))
        user = flags(rng, (ny, nx), USER_TYPES[kind]).astype(kind)
    return Case(
        shape,
        mask,
        (x, y),
        mask_start,
        rows,
        user,
        flags(rng, (ny, nx), 32).astype(np.uint32) if draw(st.booleans()) else None,
        rng.integers(0, 256, shape, np.uint8) if draw(st.booleans()) else None,
    )


def expected(case: Case) -> tuple[Uint32, npt.NDArray[np.uint8]]:
    """Return the peer's PIXELDQ and GROUPDQ, the latter without the user's DO_NOT_USE."""
    answer = case.ask(quick=True)
    samples = answer["groupdq"]
    if case.user is not None and (case.user.astype(np.uint32) & DO_NOT_USE).any():
        # jwst sets it in the groups too; ours sets there what the mask says.
        samples = case.ask(user=False, quick=True)["groupdq"]
    return answer["pixeldq"], samples


@settings(max_examples=300)
@given(case=cases(), propagate=st.booleans())
def test_random_exposures(
    tmp_path_factory: pytest.TempPathFactory, case: Case, propagate: bool
) -> None:
    pixeldq, groupdq = expected(case)
    folder = tmp_path_factory.mktemp("case") / "files"
    _, found = case.apply(folder, propagate_do_not_use=propagate)
    assert found["PIXELDQ"].dtype == pixeldq.dtype == np.uint32
    assert found["GROUPDQ"].dtype == groupdq.dtype == np.uint8
    assert np.array_equal(found["PIXELDQ"], pixeldq)
    if not propagate:
        groupdq = np.zeros(case.shape, np.uint8) if case.groupdq is None else case.groupdq
    assert np.array_equal(found["GROUPDQ"], groupdq)
    shutil.rmtree(folder)


@settings(max_examples=30)
@given(case=cases(covered=False))
def test_random_masks_that_do_not_cover_the_data(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    folder = tmp_path_factory.mktemp("case") / "files"
    assert (not case.ask(quick=True).error) == case.covered
    if not case.covered:
        with pytest.raises(GeometryError, match="the mask covers"):
            case.apply(folder)
    else:  # the corner of the detector left no room to move the mask
        assert np.array_equal(case.apply(folder)[1]["PIXELDQ"], case.ask()["pixeldq"])


@settings(max_examples=8)
@given(case=cases())
def test_random_exposures_through_the_step(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    folder = tmp_path_factory.mktemp("files")
    status, theirs = case.step(folder / "jwst")
    done, found = case.apply(folder / "tmt", propagate_do_not_use=True)
    assert status == done.status == "COMPLETE"
    assert np.array_equal(found["PIXELDQ"], theirs["PIXELDQ"])
    groupdq = theirs["GROUPDQ"]
    if case.user is not None:
        groupdq = case.ask(user=False)["groupdq"]
    assert np.array_equal(found["GROUPDQ"], groupdq)
    assert np.array_equal(found["SCI"], theirs["SCI"])


# Where jwst is wrong


def square(size: int = 8) -> Uint32:
    """Return a mask in which no two pixels are alike."""
    return np.arange(size * size, dtype=np.uint32).reshape(size, size)


@pytest.mark.parametrize("start", [(1, 1), (3, 2)], ids=["the whole mask", "a cut-out of the mask"])
def test_user_flags_stay_out_of_the_reference(folder: Path, start: tuple[int, int]) -> None:
    size = 8 if start == (1, 1) else 4
    case = Case((1, 2, size, size), square(), start, user=np.full((size, size), HOT, np.int32))
    alone = case.ask(user=False)["pixeldq"]
    kept = case.their_mask()
    theirs = case.ask(kept)
    assert not np.array_equal(kept.dq, case.mask)
    # The next exposure, which has no user's flags, gets them from the mask that was kept.
    assert np.array_equal(case.ask(kept, user=False)["pixeldq"], alone | HOT)

    _, found = case.apply(folder / "files")
    assert np.array_equal(found["PIXELDQ"], theirs["pixeldq"])
    path = folder / "files" / "mask.fits"
    assert np.array_equal(read_mask(path).dq, case.mask)
    apply_dq(folder / "files" / "ramp_uncal.fits", folder / "again.fits", mask=path)
    assert np.array_equal(arrays(folder / "again.fits")["PIXELDQ"], alone)


def test_mask_that_does_not_say_where_it_lies(folder: Path) -> None:
    nowhere = {"mask_place": (None,) * 4}
    case = Case((1, 2, 4, 5), square(), (3, 2), peer=nowhere)
    assert case.ask().error == "AttributeError: No attribute 'data'"
    _, found = case.apply(folder / "files")
    assert np.array_equal(found["PIXELDQ"], square()[1:5, 2:7])


@pytest.mark.parametrize(
    ("size", "outcome"),
    [
        ((6, 4), "ValueError: operands could not be broadcast"),
        ((5, 3), "ValueError: operands could not be broadcast"),
        ((1, 4), "the first column everywhere"),
        ((5, 1), "the first row everywhere"),
        ((1, 1), "the first pixel everywhere"),
    ],
)
def test_wrong_subsize_of_the_science_data(
    folder: Path, size: tuple[int, int], outcome: str
) -> None:
    case = Case((1, 2, 4, 5), square(), (3, 2), peer={"place": (3, 2, *size)})
    theirs = case.ask()
    assert "Using actual array size" in theirs.log
    if outcome.startswith("ValueError"):
        assert theirs.error.startswith(outcome)
    else:
        wrong = np.broadcast_to(square()[1 : 1 + size[1], 2 : 2 + size[0]], (4, 5))
        assert np.array_equal(theirs["pixeldq"], wrong)
        assert theirs.status == "COMPLETE"
    with pytest.raises(GeometryError, match=r"SUBSIZE\d is \d, but the data are 5 × 4"):
        case.apply(folder / "files")


def test_wrong_subsize_of_the_mask(folder: Path) -> None:
    case = Case((1, 2, 4, 5), square(), (8, 8), peer={"mask_place": (1, 1, 99, 99)})
    theirs = case.ask()
    assert "Using actual array size" in theirs.log
    # One pixel of the mask is inside the window; the others get its flags.
    assert (theirs["pixeldq"] == square()[7, 7]).all()
    with pytest.raises(GeometryError, match=r"SUBSIZE1 99, SUBSIZE2 99; .* the size of DQ, 8 × 8"):
        case.apply(folder / "files")


@pytest.mark.parametrize(
    ("kind", "value", "theirs"),
    [("i4", -1, 2**32 - 1), ("i8", 2**33, 0), ("i8", 2**33 + 5, 5), ("f8", 1.5, 1)],
)
@pytest.mark.parametrize("place", ["user", "mask"])
def test_values_that_are_no_flags(
    folder: Path, kind: str, value: float, theirs: int, place: str
) -> None:
    wrong = np.full((4, 5), value, kind)
    good = np.zeros((4, 5), np.uint32)
    case = Case((1, 2, 4, 5), good, user=wrong) if place == "user" else Case((1, 2, 4, 5), wrong)
    answer = case.ask()
    assert (answer["pixeldq"] == theirs).all()
    assert answer.status == "COMPLETE"
    with pytest.raises(MaskFormatError, match="20 values are no flags"):
        case.apply(folder / "files")


def test_whole_numbers_in_a_float_mask_are_flags_for_both(folder: Path) -> None:
    case = Case((1, 2, 8, 8), square().astype(np.float64))
    assert np.array_equal(case.ask()["pixeldq"], square())
    assert np.array_equal(case.apply(folder / "files")[1]["PIXELDQ"], square())


def test_unknown_name_in_dq_def(folder: Path) -> None:
    rows: list[Row] = [(0, 1, "DO_NOT_USE"), (1, 2, "NOISY")]
    mask = np.array([[0, 1], [2, 3]], np.uint32)
    case = Case((1, 2, 2, 2), mask, rows=rows)
    theirs = case.ask()
    assert theirs["pixeldq"].tolist() == [[0, 1], [0, 1]]
    assert "NOISY does not correspond" in theirs.log
    # Opened and saved, the mask has lost the bit.
    saved = folder / "saved.fits"
    case.their_mask().save(saved)
    assert arrays(saved)["DQ"].tolist() == [[0, 1], [0, 1]]

    with pytest.raises(UnknownFlagError, match="'NOISY'"):
        case.apply(folder / "files")
    done, found = case.apply(folder / "dropped", unknown="drop")
    assert found["PIXELDQ"].tolist() == [[0, 1], [0, 1]]
    assert list(done.left_out.values()) == [{1: 2}]


@pytest.mark.parametrize(
    ("name", "value"), [("hot", CONVENTION["HOT"]), ("UNRELIABLE_ERROR", CONVENTION["RESERVED"])]
)
def test_names_in_another_case_or_of_an_older_table(folder: Path, name: str, value: int) -> None:
    case = Case((1, 2, 2, 2), np.array([[0, 4], [0, 0]], np.uint32), rows=[(2, 4, name)])
    assert not case.ask()["pixeldq"].any()
    assert case.apply(folder / "files")[1]["PIXELDQ"].tolist() == [[0, value], [0, 0]]


def test_bits_that_dq_def_does_not_define(folder: Path) -> None:
    mask = np.array([[0, 1], [4, 5]], np.uint32)
    case = Case((1, 2, 2, 2), mask, rows=[(0, 1, "DEAD")])
    theirs = case.ask()
    assert theirs["pixeldq"].tolist() == [[0, DEAD], [0, DEAD]]
    assert theirs.log == ""
    with pytest.raises(UnknownFlagError, match=r"bit 2 \(value 4\) in 2 pixels"):
        case.apply(folder / "files")
    done, found = case.apply(folder / "dropped", unknown="drop")
    assert found["PIXELDQ"].tolist() == [[0, DEAD], [0, DEAD]]
    assert list(done.left_out.values()) == [{2: 2}]


def test_flags_of_the_input_in_another_shape(folder: Path) -> None:
    shape, mask = (1, 2, 4, 5), np.zeros((4, 5), np.uint32)
    case = Case(shape, mask, pixeldq=np.full((3, 5), HOT, np.uint32))
    theirs = case.ask()
    assert "Setting input pixel DQ to default array" in theirs.log
    assert not theirs["pixeldq"].any()
    with pytest.raises(GeometryError, match=r"\(3, 5\).*needs \(4, 5\)"):
        case.apply(folder / "pixeldq")
    case = Case(shape, mask, groupdq=np.full((1, 1, 4, 5), 4, np.uint8))
    theirs = case.ask()
    assert "Setting input group DQ to default array" in theirs.log
    assert not theirs["groupdq"].any()
    with pytest.raises(GeometryError, match=r"\(1, 1, 4, 5\).*needs \(1, 2, 4, 5\)"):
        case.apply(folder / "groupdq")


def test_full_frame_is_what_the_instrument_says(folder: Path) -> None:
    # 2048 x 2048 is a full frame to jwst, whatever the detector; a full frame of 4096 x 4096 in a
    # reference without keywords is none.
    from jwst.lib.reffile_utils import is_subarray, ref_matches_sci
    from stdatamodels.jwst import datamodels

    for size, subarray in ((2047, True), (2048, False), (4096, False)):
        data = np.zeros((size, size), np.float32)
        exposure = placed(datamodels.RampModel(data=data[None, None]), (1, 1, size, size))
        assert bool(is_subarray(exposure)) == subarray
        reference = placed(datamodels.ReadnoiseModel(data=data), (None,) * 4)
        if size == 2048:
            ref_matches_sci(exposure, reference)
        else:
            with pytest.raises(ValueError, match="determine ref file subarray properties"):
                ref_matches_sci(exposure, reference)

    small = make_ramp(folder / "small.fits", (1, 1, 2048, 2048), start=None)
    with pytest.raises(GeometryError, match="2048 × 2048, not the full frame 4096 × 4096"):
        apply_dq(small, mask="N/A")
    dq = np.zeros((4096, 4096), np.uint32)
    dq[4095, 4095] = DEAD
    ramp = make_ramp(folder / "ramp.fits", (1, 1, 2, 2), start=(4095, 4095))
    mask = make_mask(folder / "mask.fits", dq, start=None)
    apply_dq(ramp, folder / "out.fits", mask=mask, sync=False)
    assert arrays(folder / "out.fits")["PIXELDQ"].tolist() == [[0, 0], [0, DEAD]]


def test_mask_that_does_not_cover_the_data_is_told_with_numbers(folder: Path) -> None:
    case = Case((1, 2, 4, 5), square(), (6, 2))
    assert case.ask().error == "ValueError: Bad reference file slice indexes"
    with pytest.raises(GeometryError, match=r"x 1–8, y 1–8 .*x 6–10, y 2–5 "):
        case.apply(folder / "files")


def test_user_flags_where_there_is_no_mask(folder: Path) -> None:
    case = Case((1, 2, 4, 5), square(), user=np.full((4, 5), HOT, np.int32))
    status, theirs = case.step(folder / "jwst", mask="N/A")
    assert status == "SKIPPED"
    assert not theirs["PIXELDQ"].any()
    done, found = case.apply(folder / "tmt", mask="N/A")
    assert done.status == "COMPLETE"
    assert (found["PIXELDQ"] == HOT).all()


def test_user_flags_of_the_whole_detector(folder: Path) -> None:
    user = np.zeros((4096, 4096), np.uint8)
    user[4094, 4093] = 2
    mask = np.zeros((4, 5), np.uint32)
    case = Case((1, 2, 4, 5), mask, (4092, 4093), (4092, 4093), user=user)
    theirs = case.ask()
    assert "user_dq has shape=(4096, 4096) but expecting (4, 5)" in theirs.error
    found = case.apply(folder / "files")[1]["PIXELDQ"]
    assert np.argwhere(found).tolist() == [[2, 2]]


# Where both are right, and differ


def test_do_not_use_of_the_user_in_groups(folder: Path) -> None:
    mask, user = np.zeros((2, 2), np.uint32), np.zeros((2, 2), np.int32)
    mask[0, 0] = user[1, 1] = DO_NOT_USE
    case = Case((2, 3, 2, 2), mask, user=user)
    theirs = case.ask()
    assert (theirs["groupdq"] == [[1, 0], [0, 1]]).all()
    _, found = case.apply(folder / "files", propagate_do_not_use=True)
    assert np.array_equal(found["PIXELDQ"], theirs["pixeldq"])
    assert (found["GROUPDQ"] == [[1, 0], [0, 0]]).all()


def test_do_not_use_in_groups_is_an_option(folder: Path) -> None:
    case = Case((2, 3, 2, 2), np.array([[1, 1024], [1025, 0]], np.uint32))
    theirs = case.ask()
    assert (theirs["groupdq"] == [[1, 0], [1, 0]]).all()
    _, found = case.apply(folder / "asked", propagate_do_not_use=True)
    assert np.array_equal(found["GROUPDQ"], theirs["groupdq"])
    assert np.array_equal(found["PIXELDQ"], theirs["pixeldq"])
    _, found = case.apply(folder / "not", propagate_do_not_use=False)
    assert not found["GROUPDQ"].any()


@pytest.mark.parametrize(
    ("rows", "theirs", "says"),
    [
        ([(0, 1, "HOT"), (0, 1, "DEAD")], [0, HOT | DEAD, 0, HOT | DEAD], "has the same VALUE"),
        ([(0, 1, "HOT"), (1, 2, "HOT")], [0, HOT, HOT, HOT], "has the same name"),
        ([(0, 3, "HOT")], [0, HOT, HOT, HOT], "is not one bit"),
        ([(1, 1, "HOT"), (0, 2, "DEAD")], [0, HOT, DEAD, HOT | DEAD], "disagree"),
    ],
    ids=["two names for a bit", "two bits of a name", "two bits in a value", "BIT"],
)
def test_contradictory_dq_def(folder: Path, rows: list[Row], theirs: list[int], says: str) -> None:
    case = Case((1, 2, 1, 4), np.array([[0, 1, 2, 3]], np.uint32), rows=rows)
    answer = case.ask()
    assert (answer["pixeldq"].tolist(), answer.log) == ([theirs], "")
    with pytest.raises(MaskFormatError, match=says):
        case.apply(folder / "files")


def test_a_row_of_dq_def_for_good(folder: Path) -> None:
    rows: list[Row] = [(0, 1, "HOT"), (1, 2, "DEAD"), (0, 0, "GOOD")]
    case = Case((1, 2, 1, 4), np.array([[0, 1, 2, 3]], np.uint32), rows=rows)
    _, found = case.apply(folder / "files")
    assert np.array_equal(found["PIXELDQ"], case.ask()["pixeldq"])
    assert found["PIXELDQ"].tolist() == [[0, HOT, DEAD, HOT | DEAD]]
