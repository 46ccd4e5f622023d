"""How far a batch is: the arithmetic, and what is really seen on a terminal."""

import sys
from pathlib import Path
from typing import Any

import pytest

import batch_work
from tmt_dq.batch import FileResult, Processes
from tmt_dq.cli.progress import BatchProgress
from tmt_dq.errors import WorkerError

COMMAND = Path(sys.executable).with_name("tmt-dq")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, to be set."""
    now = [1000.0]
    monkeypatch.setattr("tmt_dq.cli.progress.time.monotonic", lambda: now[0])
    return now


def result(status: Any, size: int = 1_000_000) -> FileResult:
    return FileResult(Path("a"), Path("b"), status, size=size)


def test_files_skipped_before_say_nothing_of_the_time_left(clock: list[float]) -> None:
    shown: list[str] = []
    progress = BatchProgress(shown.append)
    progress.start(1110)
    for _ in range(100):
        clock[0] += 0.01
        progress.result(result("skipped"))
    assert shown[-1] == "100 of 1,110 ramps, 0 failed, -:--:-- left, 0.00 GB, 0 MB/s"
    clock[0] += 5  # workers start
    progress.moved(2_000_000_000)
    clock[0] += 60
    progress.moved(-2_000_000_000)
    progress.result(result("done", 6_000_000_000))
    # One in 60 s, 1009 to go.
    assert shown[-1] == "101 of 1,110 ramps, 0 failed, 16:49:00 left, 6.00 GB, 100 MB/s"


def test_files_skipped_in_between_count_as_they_come(clock: list[float]) -> None:
    """Workers judge them: every second one takes no time."""
    progress = BatchProgress(lambda _text: None)
    progress.start(100)
    progress.moved(1)
    for _ in range(10):
        clock[0] += 2
        progress.result(result("done", 4_000_000))
        progress.result(result("skipped"))
    # 20 of 100 in 20 s.
    assert progress.text() == "20 of 100 ramps, 0 failed, 0:01:20 left, 0.04 GB, 2 MB/s"


def test_without_bytes_the_first_result_begins(clock: list[float]) -> None:
    """A cluster tells nothing before a file is done: the first one's time is the start's too."""
    progress = BatchProgress(lambda _text: None)
    progress.start(5)
    clock[0] += 30
    progress.result(result("done"))
    assert "-:--:-- left" in progress.text()
    clock[0] += 2
    progress.result(result("done"))
    assert "0:00:06 left" in progress.text()


def test_workers_tell_of_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a job ends, or its worker dies, what it told is taken back: the sum is zero."""
    monkeypatch.setattr("tmt_dq.batch.pool._REPORT_S", 0.0)
    told: list[int] = []
    processes = Processes(1, on_bytes=told.append)
    jobs = [(3, 4), (13,), (5,)]
    results = dict(processes(batch_work.write_pieces, jobs))
    assert results[jobs[0]] == 7
    assert isinstance(results[jobs[1]], WorkerError)
    assert results[jobs[2]] == 5
    assert told == [3, 4, -7, 13, -13, 13, -13, 5, -5]
