"""How far a batch is: the arithmetic of what is shown."""

from pathlib import Path
from typing import Any

import pytest

from tmt_dq.batch import FileResult
from tmt_dq.cli.progress import BatchProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, to be set."""
    now = [1000.0]
    monkeypatch.setattr("tmt_dq.cli.progress.time.monotonic", lambda: now[0])
    return now


def result(status: Any, size: int = 1_000_000) -> FileResult:
    return FileResult(Path("a"), Path("b"), status, size=size)


def test_what_was_before_the_first_ramp_says_nothing_of_the_time_left(clock: list[float]) -> None:
    """Neither what was skipped, nor the start of the workers."""
    shown: list[str] = []
    progress = BatchProgress(shown.append)
    progress.start(1110)
    for _ in range(100):
        clock[0] += 0.01
        progress.result(result("skipped"))
    assert shown[-1] == "100 of 1,110 ramps, 0 failed, -:--:-- left, 0.00 GB, 0 MB/s"
    clock[0] += 5
    progress.result(result("done", 6_000_000_000))
    assert "-:--:-- left" in shown[-1]
    clock[0] += 60
    progress.result(result("done", 6_000_000_000))
    # One in 60 s, 1008 to go.
    assert shown[-1] == "102 of 1,110 ramps, 0 failed, 16:48:00 left, 12.00 GB, 100 MB/s"


def test_files_skipped_in_between_count_as_they_come(clock: list[float]) -> None:
    """Workers judge them: every second one takes no time."""
    progress = BatchProgress(lambda _text: None)
    progress.start(100)
    progress.result(result("done", 4_000_000))
    for _ in range(10):
        clock[0] += 2
        progress.result(result("skipped"))
        progress.result(result("done", 4_000_000))
    # 20 in 20 s, 79 to go.
    assert progress.text() == "21 of 100 ramps, 0 failed, 0:01:19 left, 0.04 GB, 2 MB/s"
