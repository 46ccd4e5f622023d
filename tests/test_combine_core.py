"""Merging and the DO_NOT_USE policy, against Python integers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import CONVENTION
from tmt_dq.core.merging import hold_to_policy, merge, needed
from tmt_dq.errors import ConfigError, GeometryError, UnknownFlagError
from tmt_dq.masks.grow import grow_flags, parse_growth

Uint32 = npt.NDArray[np.uint32]
masks = st.integers(1, 5).flatmap(
    lambda count: st.lists(
        hnp.arrays(np.uint32, (3, 4), elements=st.integers(0, 2**32 - 1)),
        min_size=count,
        max_size=count,
    )
)


def votes(value: int, stack: list[int]) -> int:
    return sum(bool(mask & value) for mask in stack)


@given(masks, st.data())
def test_a_flag_stays_if_enough_masks_have_it(stack: list[Uint32], data: Any) -> None:
    number = data.draw(st.integers(1, len(stack)))
    special = data.draw(st.sampled_from([name for name in CONVENTION if CONVENTION[name]]))
    other = data.draw(st.integers(1, len(stack)))
    before = [mask.copy() for mask in stack]
    merged = merge(stack, number, per_flag={special: other})
    for place in np.ndindex(merged.shape):
        values = [int(mask[place]) for mask in stack]
        want = 0
        for bit in range(32):
            demanded = other if CONVENTION[special] == 1 << bit else number
            want |= (votes(1 << bit, values) >= demanded) << bit
        assert int(merged[place]) == want
    assert all(np.array_equal(a, b) for a, b in zip(stack, before, strict=True))


def test_more_rows_than_are_merged_at_a_time() -> None:
    rng = np.random.default_rng(3)
    stack = [rng.integers(0, 2**32, (150, 3), np.uint32) for _ in range(3)]
    a, b, c = stack
    assert np.array_equal(merge(stack, 2), (a & b) | (a & c) | (b & c))
    assert np.array_equal(merge(stack, "any"), a | b | c)
    assert np.array_equal(merge(stack, "all"), a & b & c)


@pytest.mark.parametrize("rule", [0, 4, -1, True, "most", "", 1.5, None])
def test_impossible_rules(rule: Any) -> None:
    with pytest.raises(ConfigError, match="from 1 to 3"):
        needed(rule, 3)


def test_what_cannot_be_merged() -> None:
    one, two = np.zeros((2, 3), np.uint32), np.zeros((3, 2), np.uint32)
    with pytest.raises(ConfigError):
        merge([])
    with pytest.raises(GeometryError, match=r"\(2, 3\), \(3, 2\)"):
        merge([one, two])
    with pytest.raises(UnknownFlagError):
        merge([one], per_flag={"HTO": 1})


@given(
    hnp.arrays(np.uint32, (3, 4), elements=st.integers(0, 2**32 - 1)),
    st.sets(st.sampled_from([name for name in CONVENTION if CONVENTION[name]])),
)
def test_the_policy_sets_do_not_use_and_nothing_else(dq: Uint32, policy: set[str]) -> None:
    before = dq.copy()
    held, count = hold_to_policy(dq, sorted(policy))
    demanding = sum(CONVENTION[name] for name in policy)
    want = [int(value) | (1 if int(value) & demanding else 0) for value in dq.flat]
    assert held.reshape(-1).tolist() == want
    assert count == int(np.count_nonzero(held != dq))
    assert np.array_equal(dq, before)


@given(
    hnp.arrays(np.uint32, (4, 5), elements=st.integers(0, 2**32 - 1)),
    st.sets(st.sampled_from(["HOT", "DEAD", "OPEN"]), min_size=1),
    st.sampled_from(["plus", "square"]),
)
def test_flags_grow_into_their_neighbours(dq: Uint32, names: set[str], shape: Any) -> None:
    before = dq.copy()
    grown = grow_flags(dq, ",".join(sorted(names)), shape=shape)
    bits = sum(CONVENTION[name] for name in names)
    for y, x in np.ndindex(dq.shape):
        want = int(dq[y, x])
        for v, u in np.ndindex(dq.shape):
            far = abs(v - y) + abs(u - x) if shape == "plus" else max(abs(v - y), abs(u - x))
            want |= int(dq[v, u]) & bits if far <= 1 else 0
        assert int(grown[y, x]) == want
    assert np.array_equal(dq, before)


@pytest.mark.parametrize("text", ["HOT", "plus", "plus:", "round:HOT", "plus:GOOD", ":HOT"])
def test_growths_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError, match="expected plus:HOT,DEAD or square:HOT"):
        parse_growth(text)
