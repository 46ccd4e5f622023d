"""Standard streams that are closed, full or narrow, and names that are no text."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from builders import make_mask, make_ramp

TMT_DQ = Path(sys.executable).with_name("tmt-dq")
EVIL = "q\x1b]0;title\x07\x1b[31m\nError: forged.fits"


@pytest.fixture
def files(folder: Path) -> Path:
    make_ramp(folder / "r.fits")
    make_mask(folder / "m.fits")
    return folder


def shell(folder: Path, command: str) -> "subprocess.CompletedProcess[str]":
    words = ["sh", "-c", f"{TMT_DQ} {command}"]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("lost", [">&-", ">/dev/full", "2>&-", ">&- 2>&- <&-"])
def test_work_is_done_whoever_listens(files: Path, lost: str) -> None:
    done = shell(files, f"apply r.fits --mask m.fits -o o.fits {lost}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (files / "o.fits").read_bytes().startswith(b"SIMPLE")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("inspect m.fits >/dev/full", 0),
        ("inspect m.fits --json >/dev/full", 0),
        ("--help >/dev/full", 0),
        ("select r.fits >&-", 0),
        ("apply missing.fits 2>/dev/full", 3),
        ("apply missing.fits 2>&-", 3),
        ("batch - --output-dir b --mask m.fits <&- >&-", 2),
        ("batch r.fits --output-dir b --mask m.fits >&-", 0),
    ],
)
def test_status_is_that_of_the_work(files: Path, command: str, code: int) -> None:
    done = shell(files, command)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("encoding", "frame"),
    [
        ("latin-1", "x 1-8, y 1-6 (8 × 6)"),
        ("cp437", "x 1-8, y 1-6 (8 x 6)"),
        ("ascii", "x 1-8, y 1-6 (8 x 6)"),
        ("utf-8", "x 1–8, y 1–6 (8 × 6)"),
    ],
)
def test_terminals_with_few_letters(folder: Path, encoding: str, frame: str) -> None:
    mask = make_mask(folder / "m.fits", start=(1, 1))
    for verb, files in (("inspect", [mask]), ("diff", [mask, mask])):
        done = subprocess.run(
            [str(TMT_DQ), verb, *map(str, files)],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert frame in done.stdout.decode(encoding).splitlines()[0]


def on_a_terminal(folder: Path, *words: str, terminal: str = "dumb") -> str:
    """Return what a command shows on a terminal, without our own colours."""
    child, parent = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ["TERM"] = terminal
        os.execv(TMT_DQ, [str(TMT_DQ), *words])
    shown = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # its end
            break
        if not piece:
            break
        shown += piece
    os.waitpid(child, 0)
    os.close(parent)
    return shown.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("apply", EVIL),
        ("apply", "r.fits", "--mask", EVIL),
        ("apply", "r.fits", "--mask", "m.fits", "-o", "r.fits", "--user-dq", EVIL),
        ("inspect", EVIL),
        ("diff", EVIL, "m.fits"),
        ("select", EVIL),
        ("certify", EVIL),
        ("import", EVIL, "-o", EVIL),
        ("batch", EVIL, "--output-dir", "out", "--mask", "m.fits"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_names_reach_the_terminal_as_text(files: Path, words: tuple[str, ...], there: bool) -> None:
    if there:
        (files / EVIL).write_bytes((files / "m.fits").read_bytes())
    shown = on_a_terminal(files, *words)
    assert "\x1b]0;title" not in shown
    assert "\x1b[31m" not in shown
    assert "\nError: forged" not in shown


def test_names_in_tables_are_no_markup(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of rich, which draws the tables on a terminal."""
    monkeypatch.setenv("COLUMNS", "300")
    make_mask(files / "[red]m.fits")
    words = ("apply", "r.fits", "--mask", "[red]m.fits", "-o", "o.fits")
    assert "[red]m.fits" in on_a_terminal(files, *words, terminal="xterm")
    batch = ("batch", "r.fits", "--mask", "[red]m.fits", "--output-dir", "o", "--jobs", "1")
    shown = on_a_terminal(files, *batch, terminal="xterm").rpartition("1 done, ")[2]
    assert "[red]m.fits" in shown
    assert "\x1b[1m" in shown


def test_progress_of_a_batch(files: Path) -> None:
    (files / "bad.fits").write_bytes(b"x")
    words = ("batch", "r.fits", "bad.fits", "--output-dir", "o", "--mask", "m.fits", "--jobs", "1")
    shown = on_a_terminal(files, *words, terminal="xterm-256color")
    bar, _, rest = shown.rpartition("2 of 2 ramps, 1 failed, 0.00 GB")
    assert "0 of 2 ramps, 0 failed, " in bar
    assert "is not a FITS file" in bar
    assert "1 done, 0 skipped, 1 failed in" in rest
    assert rest.count("\x1b[?25h") == 1  # the cursor is back
