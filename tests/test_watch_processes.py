"""The watch as it runs at night: processes, signals, systemd."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batch_helpers import children, night, until
from builders import run_cli
from tmt_dq.batch import plan_batch
from tmt_dq.batch.journal import JOURNAL_NAME

COMMAND = Path(sys.executable).with_name("tmt-dq")


class Running:
    """A watch in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], beat: Path) -> None:
        self.process = process
        self.beat = beat

    def status(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self.beat.read_text()))
        return {}

    def wait_for_state(self, state: str) -> None:
        until(lambda: self.status().get("state") == state or self.process.poll() is not None, 60)
        assert self.process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stderr


@contextlib.contextmanager
def started(folder: Path, out: Path, *options: object, **variables: str) -> Iterator[Running]:
    beat = out.parent / "beat.json"
    beat.unlink(missing_ok=True)
    words = [COMMAND, "watch", folder, "--output-dir", out, "--heartbeat", beat, *options]
    process = subprocess.Popen(
        [str(word) for word in words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    try:
        yield Running(process, beat)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def manager(address: Path) -> Iterator[list[str]]:
    """Listen as systemd does; yield the lines that are heard."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))

        def listen() -> None:
            while message := receiver.recv(4096).decode():
                heard.extend(message.splitlines())

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"", str(address))
            thread.join(10)


def planned(folder: Path, out: Path, mask: Path) -> list[str]:
    return [plan.action for plan in plan_batch([folder], output_dir=out, mask=mask)]


def test_service(folder: Path, out: Path, mask: Path, tmp_path: Path) -> None:
    """What systemd hears; a killed worker; SIGHUP; SIGTERM while there is much to do; restart."""
    with (
        manager(tmp_path / "notify") as heard,
        started(
            folder, out, "--mask", mask, "--jobs", 2, NOTIFY_SOCKET=str(tmp_path / "notify")
        ) as running,
    ):
        until(lambda: "READY=1" in heard)
        until(lambda: "WATCHDOG=1" in heard)
        running.wait_for_state("watching")
        (ramp,) = night(tmp_path / "stage", 1)
        os.link(ramp, folder / "zero.fits")
        until((out / "zero_dqinit.fits").exists)
        os.kill(children(running.process.pid)[0], signal.SIGKILL)
        (folder / "bad.fits").write_bytes(b"no FITS file")
        os.link(ramp, folder / "first.fits")
        until((out / "first_dqinit.fits").exists)
        # Set aside once; once more on request.
        until(lambda: running.status()["set_aside"] == 1)
        assert running.status()["errors"] == {"RampFormatError": 1}
        (folder / "bad.fits").unlink()
        # To all processes, as where a terminal closes.
        os.killpg(running.process.pid, signal.SIGHUP)
        until(lambda: running.status()["set_aside"] == 0)
        for place in range(120):
            os.link(ramp, folder / f"iris_{place:04}_uncal.fits")
        until(lambda: len(list(out.glob("iris*.fits"))) > 5)
        workers = children(running.process.pid)
        status, stderr = running.end()
        assert status == 0, stderr
    assert "stopped: " in stderr
    assert "Traceback" not in stderr
    assert running.status()["state"] == "stopped"
    assert running.status()["worker_deaths"] == 1
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    made = list(out.glob("*_dqinit.fits"))
    assert len({path.stat().st_size for path in made}) == 1
    # What was at work was finished, and all that is there is known.
    actions = planned(folder, out, mask)
    assert actions.count("skip") == len(made) < 122
    assert "refuse" not in actions
    options = ("--mask", mask, "--once", "-q", "--jobs", 1)
    done = run_cli("watch", folder, "--output-dir", out, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert planned(folder, out, mask) == ["skip"] * 122
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".fits") == [JOURNAL_NAME]


def test_killed_watch_and_hanging_worker(
    folder: Path, out: Path, mask: Path, tmp_path: Path
) -> None:
    """Nobody can say goodbye: the next watch goes on, and has to refuse nothing.

    A worker that hangs is given up after the grace; what it had is rolled back.
    """
    (ramp,) = night(folder, 1)
    for place in range(1, 40):
        os.link(ramp, folder / f"iris_{place:04}_uncal.fits")
    options = ("--mask", mask, "--jobs", 1, "--grace", 0.2)
    with started(folder, out, *options) as running:
        until(lambda: len(list(out.glob("*.fits"))) > 5)
        workers = children(running.process.pid)
        running.process.kill()
        running.process.wait()
        until(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()])
    assert "refuse" not in planned(folder, out, mask)
    with started(folder, out, *options) as running:
        until(lambda: planned(folder, out, mask) == ["skip"] * 40)
        (worker,) = children(running.process.pid)
        os.kill(worker, signal.SIGSTOP)
        night(tmp_path / "stage", 1)[0].rename(folder / "a.fits")
        until(lambda: '"begin":["a_dqinit.fits"]' in (out / JOURNAL_NAME).read_text())
        # As in a terminal.
        os.killpg(running.process.pid, signal.SIGINT)
        _, stderr = running.process.communicate(timeout=30)
        assert running.process.returncode == 130, stderr
    assert "1 ramps are left undone; nothing half-written" in stderr
    assert "Traceback" not in stderr
    assert "set aside" not in stderr
    assert not Path(f"/proc/{worker}").exists()
    left = [path.name for path in out.iterdir() if not path.name.startswith("iris")]
    assert left == [JOURNAL_NAME]
    assert sorted(planned(folder, out, mask)) == ["process"] + ["skip"] * 40


def unit_file() -> str:
    """Return the systemd unit of the page."""
    page = (Path(__file__).parents[1] / "docs" / "how_to" / "watch_service.md").read_text()
    return page.partition("```ini\n")[2].partition("```")[0]


def test_unit_of_the_page() -> None:
    """Its command has the options that it names, and it stops the watch as the watch wants."""
    from tmt_dq.cli.watch import watch_command as command

    lines = dict(
        line.split("=", 1) for line in unit_file().replace("\\\n", " ").splitlines() if "=" in line
    )
    words = shlex.split(lines["ExecStart"])
    assert words[0].endswith("/bin/tmt-dq")
    assert words[1] == "watch"
    known = {name for param in command.params for name in param.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert lines["Type"] == "notify"
    # All processes at once would take the work from under the watch.
    assert lines["KillMode"] == "mixed"
    (grace,) = [param.default for param in command.params if param.name == "grace_s"]
    assert isinstance(grace, float)
    assert int(lines["TimeoutStopSec"]) > grace
    assert int(lines["WatchdogSec"]) >= 30
    assert lines["ExecReload"] == "/bin/kill -HUP $MAINPID"
