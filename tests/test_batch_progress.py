"""How far a batch is: the arithmetic, and what is really seen on a terminal."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

import batch_work
from batch_helpers import night
from builders import make_mask
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


# --- a terminal ----------------------------------------------------------------------------------

CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """A terminal of endless height: what is written where, and what has been seen."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[str] = [""]
        self.y = self.x = 0
        self.seen: set[str] = set()
        self.cursor = True

    def feed(self, text: str) -> None:
        for match in CONTROL.finditer(text):
            number, letter, home, new, plain = match.groups()
            if home:
                self.x = 0
            elif new:
                self.y, self.x = self.y + 1, 0
                self.lines += [""] * (self.y + 1 - len(self.lines))
            elif plain:
                self.write(plain)
            elif letter == "A":
                self.y = max(0, self.y - int(number or 1))
            elif letter == "K":
                assert number == "2"
                self.lines[self.y] = ""
            elif letter in "hl" and number == "?25":
                self.cursor = letter == "h"
            else:
                assert letter == "m", match.group()
            self.seen.update(self.lines)

    def write(self, text: str) -> None:
        for sign in text:
            if self.x == self.width:
                self.y, self.x = self.y + 1, 0
                self.lines += [""] * (self.y + 1 - len(self.lines))
            line = self.lines[self.y].ljust(self.x)
            self.lines[self.y] = line[: self.x] + sign + line[self.x + 1 :]
            self.x += 1


def on_terminal(words: list[Any], width: int) -> tuple[int, Screen]:
    """Run a command on a terminal."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [str(word) for word in words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    output = bytearray()
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while select.select([ours], [], [], 60)[0] and (piece := os.read(ours, 65536)):
            output += piece
    os.close(ours)
    screen = Screen(width)
    screen.feed(output.decode())
    return process.wait(60), screen


@pytest.mark.parametrize("width", [100, 40])
def test_on_a_terminal(folder: Path, tmp_path: Path, width: int) -> None:
    night(folder, 5)
    (folder / "z.fits").write_bytes(b"x")
    mask = make_mask(tmp_path / "mask.fits")
    out = tmp_path / "out"
    words = [COMMAND, "batch", folder, "--output-dir", out, "--mask", mask, "--jobs", "1"]
    code, screen = on_terminal(words, width)
    assert code == 9
    assert screen.cursor
    # While it runs: one line, which nothing else is written into, and which fits.
    bars = [line.strip() for line in screen.seen if " of 6 ramps" in line or "━" in line]
    assert any(line.startswith("0 of 6 ramps, ") for line in bars)
    assert any(line.startswith("6 of 6 ramps, 1 failed, 0:00:00 left") for line in bars)
    assert not any("Error" in line or "Hint" in line for line in bars)
    # Afterwards: no bar, the error and the summary.
    text = "\n".join(line.rstrip() for line in screen.lines)
    assert "━" not in text
    assert " left" not in text.replace("is left behind", "")
    assert "Error: " in text
    assert "Hint: Name a FITS file" in text
    assert "5 done, 0 skipped, 1 failed in" in text
