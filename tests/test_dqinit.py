"""PIXELDQ and GROUPDQ of an exposure in memory: OR-ed, never broadcast, made in pieces."""

import numpy as np
import numpy.typing as npt
import pytest

from builders import run_python
from tmt_dq.core.initialize import Initialization, Reader, initialize
from tmt_dq.core.sources.source import FlagSource, SourceReport


@pytest.mark.contract
def test_golden_combination() -> None:
    """A PIXELDQ that already holds 4, mask 1 -> 5."""
    mask = FlagSource("mask", pixels=np.array([[1]], np.uint32))
    pixels, _, _ = initialize(np.zeros((1, 1, 1, 1)), [mask], pixeldq=np.array([[4]], np.uint32))
    assert pixels.tolist() == [[5]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 20)])
def test_nothing_is_broadcast(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"mask has .* expected \(16, 20\)"):
        initialize(np.zeros((1, 1, 16, 20)), [FlagSource("mask", pixels=np.ones(shape, np.uint32))])


def test_groupdq_of_any_length_takes_no_memory() -> None:
    code = (
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "import numpy as np\n"
        "from tmt_dq.core.initialize import initialize\n"
        "data = np.broadcast_to(np.uint16(0), (1, 6_500_000, 32, 32))\n"
        "before = peak()\n"
        "groupdq = initialize(data, [])[1]\n"
        "assert groupdq.nbytes == 6_500_000 * 32 * 32\n"
        "print(peak() - before)\n"
    )
    result = run_python("-c", code, code=0)
    assert int(result.stdout) < 20_000  # kB; the array is 6.7 GB


def test_large_frames_are_made_in_pieces_of_rows() -> None:
    """More than 4 MiB of flags: 1,500 rows of 1,000 pixels."""
    shape = (1, 1, 1500, 1000)
    old, mask = np.zeros(shape[2:], np.uint32), np.zeros(shape[2:], np.uint32)
    old[1499, 0], mask[1498:], mask[3, 7] = 4, 1, 1024
    work = Initialization([FlagSource("mask", "m.fits", mask)])
    reader = Reader(
        shape, lambda *_: np.zeros(shape[2:]), lambda *_: None, lambda rows: old[rows].copy()
    )
    pieces = list(work.rows(reader))
    assert len(pieces) > 1
    np.testing.assert_array_equal(np.concatenate([flags for _, flags in pieces]), old | mask)
    assert old[1499, 0] == 4
    assert work.counts == {"GOOD": 1497999, "DO_NOT_USE": 2000, "JUMP_DET": 1, "DEAD": 1}
    (report,) = work.reports()
    assert list(report.counts.items()) == [("DO_NOT_USE", 2000), ("DEAD", 1)]
    assert report.describe() == "mask m.fits: 2,001 pixels flagged"


def test_flags_of_one_read_are_those_of_all_sources() -> None:
    def first(_integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        return None if group else np.array([[1, 8]], np.uint8)

    sources = [FlagSource("a", groups=first), FlagSource("b"), FlagSource("c", groups=first)]
    sources += [FlagSource("d", groups=lambda *_: np.array([[4, 0]], np.uint8))]
    work = Initialization(sources)
    for group, expected in ((0, [[5, 8]]), (1, [[4, 0]])):
        found = work.samples(0, group)
        assert found is not None
        assert found.tolist() == expected
    assert Initialization([FlagSource("b")]).samples(0, 0) is None


def test_settings_of_a_source_in_one_line() -> None:
    given = {"border": {"left": 4, "top": 0}, "parts": ["box", "rows"], "expand": 1}
    report = SourceReport("any", "file", 3, {}, parameters=given, remarks=("a remark",))
    assert report.describe() == (
        "any file (border left=4,top=0, parts box rows, expand 1): 3 pixels flagged; a remark"
    )
