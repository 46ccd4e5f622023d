"""Workers on this machine: deaths, Ctrl-C, how far they look ahead, how often they read a mask."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import batch_work
from batch_helpers import children, look_ahead, night, report_lines, run, until
from builders import make_mask, make_ramp, run_python
from tmt_dq import apply_dq
from tmt_dq.batch import FileResult, Processes, plan_batch
from tmt_dq.batch.journal import JOURNAL_NAME, Journal
from tmt_dq.batch.records import Job, Work
from tmt_dq.errors import WorkerError

COMMAND = Path(sys.executable).with_name("tmt-dq")


def test_a_night_is_not_queued_at_once() -> None:
    assert look_ahead(Processes(2), 5000) <= 4


def test_killed_worker_takes_nothing_with_it(tmp_path: Path) -> None:
    once, always = tmp_path / "trap-once", tmp_path / "trap"
    once.touch()
    always.touch()
    traps = {3: str(once), 7: str(always)}
    jobs = [(number, traps.get(number, "")) for number in range(12)]
    answers = {job[0]: answer for job, answer in Processes(2)(batch_work.double_or_die, jobs)}
    error = answers.pop(7)
    # The one that was killed once is done, the one that kills each time is an error.
    assert answers == {number: 2 * number for number in range(12) if number != 7}
    assert isinstance(error, WorkerError)
    assert "was ended by SIGKILL" in str(error)


def test_error_belongs_to_its_job() -> None:
    answers = dict(Processes(1)(batch_work.refuse, range(5)))
    error = answers.pop(3)
    assert isinstance(error, ValueError)
    assert answers == {0: 0, 1: 1, 2: 2, 4: 4}


def test_workers_end_with_the_loop() -> None:
    running = Processes(2)(batch_work.pid_after, itertools.repeat(0.0))
    pids = {answer for _, answer in itertools.islice(running, 20)}
    running.close()  # type: ignore[attr-defined]
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_script_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from tmt_dq.batch import Processes\nprint(list(Processes(1)(abs, [-1])))\n")
    done = run_python(script, code=1)
    assert "worker processes end before they begin to work" in done.stderr
    assert '`if __name__ == "__main__":`' in done.stderr


def test_killed_while_it_writes(folder: Path, tmp_path: Path, mask: Path, out: Path) -> None:
    """The whole way: workers are killed in the middle of files, and all come out right."""
    night(folder, 10)

    def killing(work: Work, jobs: Iterable[Job]) -> Any:
        for number, pair in enumerate(Processes(2)(work, jobs)):
            if number in {2, 6}:
                os.kill(children(os.getpid())[0], signal.SIGKILL)
            yield pair

    result, _ = run([folder], out, mask=mask, mapper=killing)
    assert (result.done, result.failed) == (10, 0)
    whole = apply_dq(folder / "iris_0000_uncal.fits", tmp_path / "x.fits", mask=mask).output
    sizes = {path.stat().st_size for path in out.glob("*_dqinit.fits")}
    assert sizes == {whole.stat().st_size}
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".fits") == [JOURNAL_NAME]


def long_night(folder: Path, number: int = 400) -> None:
    """Make many exposures, which take no room."""
    (ramp,) = night(folder, 1)
    for place in range(1, number):
        os.link(ramp, folder / f"iris_{place:04}_uncal.fits")


def planned(folder: Path, out: Path, mask: Path) -> Counter[str]:
    """Return what a batch would do, without doing it."""
    plans = plan_batch([folder], output_dir=out, mask=mask)
    return Counter(f"{plan.action}: {plan.reason}" for plan in plans)


@pytest.mark.parametrize("when", ["at work", "at the start"])
def test_ctrl_c(folder: Path, tmp_path: Path, when: str, mask: Path, out: Path) -> None:
    long_night(folder)
    report = tmp_path / "report.jsonl"
    words = [str(COMMAND), "batch", str(folder), "--output-dir", str(out), "--jobs", "2"]
    words += ["--mask", str(mask), "--report", str(report)]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As in a shell, where Ctrl-C reaches the workers too.
        start_new_session=True,
    )
    if when == "at work":
        until(lambda: report.exists() and report.stat().st_size > 2000)
    else:
        until(lambda: children(process.pid))
    workers = children(process.pid)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    seconds = time.monotonic() - start
    assert process.returncode == 130, stderr
    lines = [line for line in stderr.splitlines() if line and " ramps, " not in line]
    assert lines == ["Error: Interrupted; nothing half-written is left behind."], stderr
    assert stdout == ""
    # Two seconds, where there are not more processes than cores.
    assert seconds < 2 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
    # Among them may be a helper of multiprocessing that has not got its name yet.
    until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()], 2)
    made = [path for path in out.iterdir() if path.name != JOURNAL_NAME]
    assert all(path.name.endswith("_dqinit.fits") for path in made)
    assert len({path.stat().st_size for path in made}) <= 1
    if when == "at work":
        plans = planned(folder, out, mask)
        # What the report has as done is skipped; at most what was at work is not known as done.
        done = len(report.read_text().splitlines())
        assert plans["skip: done and still true"] == done
        assert done <= len(made) <= done + 2
        assert plans["process: interrupted"] + plans["process: new"] == 400 - done


def test_ctrl_c_between_journal_and_report(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next run skips is in this one's report."""
    mask, report = make_mask(tmp_path / "mask.fits"), tmp_path / "report.jsonl"
    night(folder, 3)
    finish = Journal.finish

    def interrupted(self: Journal, result: FileResult) -> None:
        finish(self, result)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([folder], tmp_path / "out", mask=mask, report=report)
    assert [line["status"] for line in report_lines(report)] == ["done"]
    plans = planned(folder, tmp_path / "out", mask)
    assert plans == {"skip: done and still true": 1, "process: interrupted": 2}


def test_workers_end_with_their_parent(folder: Path, mask: Path, out: Path) -> None:
    """The parent is killed: its workers end their file and go, and the next run goes on."""
    long_night(folder)
    words = [str(COMMAND), "batch", str(folder), "--output-dir", str(out), "-q", "--jobs", "2"]
    process = subprocess.Popen([*words, "--mask", str(mask)])
    until(lambda: len(list(out.glob("*.fits"))) > 5)
    workers = children(process.pid)
    process.kill()
    process.wait()
    until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()])
    made = len(list(out.glob("*.fits")))
    plans = planned(folder, out, mask)
    assert made - 4 <= plans["skip: done and still true"] <= made
    assert not any(plan.startswith("refuse") for plan in plans)


def test_workers_leave_nothing_that_python_warns_of(tmp_path: Path) -> None:
    """Libraries that selection by rules imports make semaphores in the workers."""
    ramp = make_ramp(tmp_path / "a_uncal.fits")
    command = [sys.executable, "-m", "tmt_dq", "batch", str(ramp)]
    command += ["--output-dir", str(tmp_path / "out")]
    done = subprocess.run([*command, "-q"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
