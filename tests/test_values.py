"""Flag values from arrays of any type: the same numbers, or an error that says which are none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tmt_dq.core.values import as_flags, whole_number
from tmt_dq.errors import MaskFormatError

LARGEST = 2**32 - 1


TYPES = "? u1 i1 u2 >u2 i2 u4 >u4 i4 >i4 u8 i8 f2 f4 >f4 f8 >f8"


@pytest.mark.parametrize("dtype", TYPES.split())
def test_every_numeric_type_keeps_its_values(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    flags = as_flags(array)
    assert flags.dtype == np.uint32
    assert flags.dtype.isnative
    assert flags.tolist() == [[0, 1], [1, 0]]


def test_flags_come_back_as_they_are_and_contiguous() -> None:
    array = np.array([[1, 2]], np.uint32)
    assert as_flags(array) is array
    array = np.arange(12, dtype=np.uint32).reshape(3, 4)[:, ::2]
    flags = as_flags(array)
    assert flags.flags.c_contiguous
    assert flags.tolist() == [[0, 2], [4, 6], [8, 10]]


BAD: list[tuple[Any, str]] = [
    (np.array([-1], np.int8), "-1"),
    (np.array([-(2**40)], np.int64), str(-(2**40))),
    (np.array([2**32], np.int64), str(2**32)),
    (np.array([2**64 - 1], np.uint64), str(2**64 - 1)),
    (np.array([0.5], np.float16), "0.5"),
    (np.array([-1.0]), "-1.0"),
    (np.array([2.0**32]), "4294967296"),
    (np.array([2.0**60], np.float32), "1.15"),
    (np.array([np.nan], np.float32), "nan"),
    (np.array([np.inf], np.float16), "inf"),
    (np.array([-np.inf]), "-inf"),
]


@pytest.mark.parametrize(("array", "found"), BAD, ids=[f"{a.dtype}-{t}" for a, t in BAD])
def test_values_that_are_no_flags(array: Any, found: str) -> None:
    with pytest.raises(MaskFormatError) as caught:
        as_flags(array, where="my mask")
    message = str(caught.value)
    assert message.startswith("my mask: 1 values are no flags")
    assert found in message
    assert "whole numbers from 0 to 4294967295" in message


@pytest.mark.parametrize(("dtype", "value"), [("f4", 2**24), ("f4", 2**31), (">f4", 2**31)])
def test_floats_that_may_have_lost_bits(dtype: str, value: int) -> None:
    # 2^24 + 1 is 2^24 in float32: GOOD or DO_NOT_USE, nobody can tell.
    with pytest.raises(MaskFormatError, match=r"1 values are 2\^24 or larger.*float32"):
        as_flags(np.array([0, value], dtype))
    assert as_flags(np.array([2**24 - 1], dtype)).tolist() == [2**24 - 1]
    assert as_flags(np.array([value], "f8")).tolist() == [value]


def test_message_counts_and_places_them() -> None:
    array = np.zeros((3, 4))
    array[1, 2] = -2.0
    array[2, 3] = np.nan
    with pytest.raises(MaskFormatError, match=r"2 values .* first is -2.0 at index \(1, 2\)"):
        as_flags(array)


@pytest.mark.parametrize("array", [np.array(["1"]), np.array([1j]), np.array([None])])
def test_types_that_are_no_numbers(array: Any) -> None:
    with pytest.raises(MaskFormatError, match="of type"):
        as_flags(array)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(8, 8), (8.0, 8), (np.int16(-3), -3), (np.float32(4), 4), (True, None), (np.True_, None)]
    + [(text, None) for text in ("8", None, 8.5, np.nan, np.inf, 8 + 0j)],
)
def test_whole_numbers_of_headers_and_tables(value: object, expected: int | None) -> None:
    assert whole_number(value) == expected


@given(
    st.sampled_from(["i1", "i2", "i4", "i8", "u8", "f4", "f8"]).flatmap(
        lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(max_dims=2, max_side=4))
    )
)
def test_against_exact_arithmetic(array: Any) -> None:
    # Python compares its numbers exactly, whatever the type.
    exact = [value.item() for value in array.flat]
    largest = LARGEST
    if array.dtype.kind == "f":
        # Beyond its mantissa a float may have lost the lowest bits of what was written into it.
        largest = min(LARGEST, 2 ** (np.finfo(array.dtype).nmant + 1) - 1)
    fits = all(0 <= value <= largest and value == value // 1 for value in exact)
    if fits:
        assert [value.item() for value in as_flags(array).flat] == exact
    else:
        with pytest.raises(MaskFormatError):
            as_flags(array)
