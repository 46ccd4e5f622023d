"""PIXELDQ and GROUPDQ as arrays: zero to begin with, OR-ed, never broadcast."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import run_python
from tmt_dq.core.initialize import combine, new_groupdq, new_pixeldq
from tmt_dq.core.sources.group_propagation import propagate_do_not_use
from tmt_dq.core.sources.source import FlagSource

flags = hnp.arrays(np.uint32, (3, 4), elements=st.integers(0, 2**32 - 1))


def test_new_arrays_are_zero() -> None:
    pixeldq, groupdq = new_pixeldq((3, 4)), new_groupdq((2, 5, 3, 4))
    assert pixeldq.shape == (3, 4)
    assert pixeldq.dtype == np.uint32
    assert not pixeldq.any()
    assert groupdq.shape == (2, 5, 3, 4)
    assert groupdq.dtype == np.uint8
    assert not groupdq.any()


def test_groupdq_of_any_length_takes_no_memory() -> None:
    code = (
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "from tmt_dq.core.initialize import new_groupdq\n"
        "before = peak()\n"
        "array = new_groupdq((1, 416, 4096, 4096))\n"
        "assert array.nbytes == 416 * 4096 * 4096\n"
        "print(peak() - before)\n"
    )
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 20_000  # kB; the array is 6.5 GB


@pytest.mark.contract
def test_golden_combination() -> None:
    # A PIXELDQ that already holds 4, mask 1 -> 5.
    assert combine(np.array([[4]], np.uint32), np.array([[1]], np.uint32)).tolist() == [[5]]


@given(flags, flags, flags)
def test_or_of_every_source(pixeldq: np.ndarray, one: np.ndarray, two: np.ndarray) -> None:
    arguments = (pixeldq.copy(), one.copy(), two.copy())
    result = combine(pixeldq, one, two)
    expected = [
        a | b | c for a, b, c in zip(*(x.reshape(-1).tolist() for x in arguments), strict=True)
    ]
    assert result.reshape(-1).tolist() == expected
    for argument, before in zip((pixeldq, one, two), arguments, strict=True):
        assert np.array_equal(argument, before)
    assert result is not pixeldq
    assert np.array_equal(combine(result, one, two), result)


def test_result_in_a_given_array() -> None:
    pixeldq, mask = np.array([[4, 0]], np.uint32), np.array([[1, 2]], np.uint32)
    out = np.full((1, 2), 99, np.uint32)
    assert combine(pixeldq, mask, out=out) is out
    assert out.tolist() == [[5, 2]]
    assert pixeldq.tolist() == [[4, 0]]
    assert combine(pixeldq, mask, out=pixeldq) is pixeldq
    assert pixeldq.tolist() == [[5, 2]]


@pytest.mark.parametrize(
    "mask",
    [np.ones((1, 1), np.uint32), np.ones((1, 4), np.uint32), np.ones((3, 4), np.int64)],
    ids=["one pixel", "one row", "another type"],
)
def test_nothing_is_broadcast_or_cast(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint32 arrays of shape"):
        combine(new_pixeldq((3, 4)), mask)


def test_only_do_not_use_reaches_the_groups() -> None:
    mask = np.array([[0, 1, 1025, 1024, 2**31 + 1, 2**32 - 2]], np.uint32)
    plane = propagate_do_not_use(mask)
    assert plane.dtype == np.uint8
    assert plane.tolist() == [[0, 1, 1, 0, 1, 0]]


def test_report_of_a_source() -> None:
    source = FlagSource("mask", "crds://a.fits", np.array([[0, 1], [3, 0]], np.uint32))
    report = source.report()
    assert (report.kind, report.origin, report.flagged) == ("mask", "crds://a.fits", 2)
    assert report.counts == {"DO_NOT_USE": 2, "SATURATED": 1}
