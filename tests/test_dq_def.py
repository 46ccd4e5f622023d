"""DQ_DEF: translation by name, every contradiction found, no flag lost."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import CONVENTION, GOLDEN_DQ_DEF
from tmt_dq.core.dq_def import DefinedBit, convention_rows, translate, translation
from tmt_dq.errors import MaskFormatError, UnknownFlagError

NAMES = [name for name in CONVENTION if name != "GOOD"]


def defined(rows: Sequence[tuple[float, float, str]]) -> list[DefinedBit]:
    return [DefinedBit(*row) for row in rows]


@pytest.mark.contract
@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (2, 1024),
        (4, 2048),
        (8, 16777216),
        (16, 16384),
        (1, 1),
        (3, 1025),
        (5, 2049),
        (9, 16777217),
        (17, 16385),
        (32, 2147483648),
        (0, 0),
        (63, 1 | 1024 | 2048 | 16777216 | 16384 | 2147483648),
    ],
)
def test_golden_translations(stored: int, meant: int) -> None:
    meaning = translation(defined(GOLDEN_DQ_DEF))
    dq, left_out = translate(np.array([[stored]], np.uint32), meaning)
    assert dq.tolist() == [[meant]]
    assert dq.dtype == np.uint32
    assert left_out == {}


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[int, int, str]]:
    bits = draw(st.lists(st.integers(0, 31), unique=True, min_size=1, max_size=32))
    names = draw(st.permutations(NAMES))
    return [(bit, 1 << bit, name) for bit, name in zip(bits, names, strict=False)]


@given(tables(), hnp.arrays(np.uint32, (3, 5), elements=st.integers(0, 2**32 - 1)))
def test_translation_against_python_integers(
    rows: list[tuple[int, int, str]], dq: np.ndarray
) -> None:
    declared = sum(value for _, value, _ in rows)
    dq = dq & np.uint32(declared)
    before = dq.copy()
    translated, left_out = translate(dq, translation(defined(rows)))
    expected = [
        sum(CONVENTION[name] for _, value, name in rows if pixel & value)
        for pixel in dq.reshape(-1).tolist()
    ]
    assert translated.reshape(-1).tolist() == expected
    assert left_out == {}
    assert np.array_equal(dq, before)


def test_what_needs_no_translation_and_old_names() -> None:
    meaning = translation(
        DefinedBit(int(row["BIT"]), int(row["VALUE"]), str(row["NAME"]))
        for row in convention_rows()
    )
    dq = np.array([[0, 2**32 - 1]], np.uint32)
    assert translate(dq, meaning)[0] is dq
    meaning = translation(defined([(0, 1, " unreliable_error "), (1, 2, "hot")]))
    assert translate(np.array([1, 2], np.uint32), meaning)[0].tolist() == [256, 2048]


@pytest.mark.parametrize("bit", [0, 5, -1])
@pytest.mark.parametrize("name", ["GOOD", "good "])
def test_the_row_of_good_is_no_flag(bit: int, name: str) -> None:
    """STScI's generators of masks write BIT 0, VALUE 0, GOOD."""
    meaning = translation(defined([(bit, 0, name), (0, 1, "DO_NOT_USE"), (1, 2, "HOT")]))
    dq, left_out = translate(np.array([0, 1, 2, 3], np.uint32), meaning)
    assert dq.tolist() == [0, 1, 2048, 2049]
    assert left_out == {}


def test_bit_31_of_a_signed_column() -> None:
    meaning = translation(defined([(31, -(2**31), "REFERENCE_PIXEL"), (1, 2, "HOT")]))
    dq = np.array([2**31, 2], np.uint32)
    assert translate(dq, meaning)[0].tolist() == [2**31, 2048]


CONTRADICTIONS = [
    ([(0, 3, "HOT")], "VALUE 3 is not one bit"),
    ([(0, 0, "HOT")], "VALUE 0 is not one bit"),
    ([(0, -1, "HOT")], "VALUE -1 is not one bit"),
    ([(30, -(2**30), "HOT")], "VALUE -1073741824 is not one bit"),
    ([(30, -(2**31), "HOT")], "BIT 30 and VALUE 2147483648 disagree"),
    ([(31, -(2**31), "HOT"), (31, 2**31, "DEAD")], "row 2 .* row 1 has the same VALUE"),
    ([(32, 2**32, "HOT")], "VALUE 4294967296 is not one bit"),
    ([(0, 1.5, "HOT")], "VALUE 1.5 is not one bit"),
    ([(0, math.nan, "HOT")], "VALUE nan is not one bit"),
    ([(0, math.inf, "HOT")], "VALUE inf is not one bit"),
    ([(2, 2, "HOT")], "BIT 2 and VALUE 2 disagree; expected VALUE = 2.BIT"),
    ([(0.5, 1, "HOT")], "BIT 0.5 and VALUE 1 disagree"),
    ([(1, 2, "HOT"), (1, 2, "DEAD")], r"row 2 \(DEAD\): row 1 has the same VALUE"),
    ([(1, 2, "HOT"), (2, 4, "hot")], r"row 2 \(hot\): .* the same name"),
    ([(1, 2, "RESERVED"), (2, 4, "UNRELIABLE_ERROR")], "the same name"),
]


@pytest.mark.parametrize(("rows", "message"), CONTRADICTIONS)
def test_contradictions(rows: list[tuple[float, float, str]], message: str) -> None:
    with pytest.raises(MaskFormatError, match=message) as caught:
        translation(defined(rows), where="mask.fits")
    assert not isinstance(caught.value, UnknownFlagError)
    assert str(caught.value).startswith("mask.fits: ")
    # Dropping is for names, not for contradictions.
    with pytest.raises(MaskFormatError, match=message):
        translation(defined(rows), unknown="drop")


def test_all_contradictions_are_listed_at_once() -> None:
    with pytest.raises(MaskFormatError) as caught:
        translation(defined([(0, 3, "HOT"), (2, 2, "DEAD"), (5, 2, "WARM")]))
    for part in ("row 1", "row 2", "row 3"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["NO_SUCH_FLAG", "", "GOOD", "good"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownFlagError, match=rf"row 1: '{name}' \(value 1\)"):
        translation(defined([(0, 1, name)]), where="mask.fits")


def test_unknown_names_are_dropped_on_request_and_counted() -> None:
    meaning = translation(defined([(0, 1, "MINE"), (1, 2, "HOT")]), unknown="drop")
    dq, left_out = translate(np.array([0, 1, 2, 3], np.uint32), meaning, unknown="drop")
    assert dq.tolist() == [0, 0, 2048, 2048]
    assert left_out == {0: 2}
    meaning = translation(defined([(0, 1, "MINE"), (1, 2, "HOT")]), unknown="drop")
    dq, left_out = translate(np.array([0, 2], np.uint32), meaning)
    assert dq.tolist() == [0, 2048]
    assert left_out == {}


def test_undeclared_bits() -> None:
    meaning = translation(defined([(1, 2, "HOT")]))
    dq = np.array([0, 2, 5, 2**31], np.uint32)
    with pytest.raises(UnknownFlagError) as caught:
        translate(dq, meaning, where="mask.fits")
    for part in (
        "mask.fits",
        "bit 0 (value 1) in 1",
        "bit 2 (value 4)",
        "bit 31",
        "--unknown drop",
    ):
        assert part in str(caught.value)
    translated, left_out = translate(dq, meaning, unknown="drop")
    assert translated.tolist() == [0, 2048, 0, 0]
    assert left_out == {0: 1, 2: 1, 31: 1}
