"""A batch on a dask cluster: a real scheduler and real workers, each a process, on loopback."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import batch_work
from batch_helpers import Dask, dask_cluster, look_ahead, night, run, until
from builders import arrays, invoke, run_python
from tmt_dq import find_bad_pixels
from tmt_dq.batch import Cluster
from tmt_dq.batch.cluster import Shared, unfit
from tmt_dq.batch.journal import JOURNAL_NAME
from tmt_dq.batch.records import Job, Work
from tmt_dq.calibration import measure
from tmt_dq.calibration.simulation import Scene, write_night
from tmt_dq.errors import ConfigError, WorkerError

Client = pytest.importorskip("distributed").Client


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), 2) as cluster:
        yield cluster


def test_night_on_a_cluster(dask: Dask, folder: Path, tmp_path: Path, mask: Path) -> None:
    """One worker is killed in the middle: nothing is lost, the others do its files."""
    ramps = night(folder, 12)
    (folder / "z.fits").write_bytes(b"bad")
    out = tmp_path / "out"
    workers: list[str] = []

    def killing(work: Work, jobs: Iterable[Job]) -> Any:
        for number, pair in enumerate(mapper(work, jobs)):
            workers.append(pair[1].worker)
            if number == 4:
                dask.workers[0].send_signal(signal.SIGKILL)
            yield pair

    mapper = Cluster(dask.address)
    result, results = run([folder], out, mask=mask, mapper=killing)
    assert (result.done, result.failed) == (12, 1)
    assert results["z.fits"].error_class == "RampFormatError"
    assert sorted(path.name for path in out.iterdir()) == [
        JOURNAL_NAME,
        *(ramp.name.replace("uncal", "dqinit") for ramp in ramps),
    ]
    assert run([folder / ramps[0].name], out, mask=mask)[0].skipped == 1
    dask.workers[0] = dask.start_worker()


def test_command_on_a_cluster(dask: Dask, folder: Path, tmp_path: Path, mask: Path) -> None:
    night(folder, 3)
    out = tmp_path / "out"
    words = ["batch", folder, "--output-dir", out, "--mask", mask, "--scheduler", dask.address]
    outcome = invoke(*words, code=0)
    assert outcome.out.startswith("3 done, 0 skipped, 0 failed")
    assert invoke(*words).out.startswith("0 done, 3 skipped, 0 failed")


def test_a_mask_is_measured_on_a_cluster(
    dask: Dask, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many strips, each by any worker, give the same bits as threads of this process."""
    monkeypatch.setattr(measure, "_STRIP_BYTES", 600_000)
    darks, flats = write_night(folder, Scene((64, 128), seed=5, border=(4, 0, 4, 0)), reads=12)
    words = ["make", *(word for name in darks for word in ("--darks", name))]
    words += [word for name in flats for word in ("--flats", name)]
    words += ["--detector", "IRIS1", "--allow-few", "--keep-maps"]
    for name, more in (("here", ()), ("there", ("--scheduler", dask.address))):
        maps, mask = (tmp_path / f"{name}_{what}.fits" for what in ("maps", "mask"))
        invoke(*words, maps, "-o", mask, *more, code=0)
    assert (tmp_path / "here_maps.fits").read_bytes() == (tmp_path / "there_maps.fits").read_bytes()
    here, there = (arrays(tmp_path / f"{name}_mask.fits")["DQ"] for name in ("here", "there"))
    assert (here == there).all()
    monkeypatch.chdir(folder)  # where no worker is
    relative = ([path.name for path in paths] for paths in (darks, flats))
    find_bad_pixels(
        next(relative),
        tmp_path / "relative.fits",
        flats=next(relative),
        detector="IRIS1",
        allow_few=True,
        mapper=Cluster(dask.address),
    )
    assert (arrays(tmp_path / "relative.fits")["DQ"] == here).all()
    zipped = darks[0].with_suffix(".fits.gz")
    zipped.write_bytes(gzip.compress(darks[0].read_bytes(), 1))
    refused = invoke(*words, maps, "-o", mask, *more, "--darks", zipped, "--overwrite", code=2)
    assert f"{zipped}: is compressed; workers of a cluster read plain files" in refused.err


def interrupt(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Press Ctrl-C; the process ends within two seconds, if it is given a core."""
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - start < 2 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
    return stdout, stderr


def test_ctrl_c(dask: Dask, folder: Path, tmp_path: Path, mask: Path) -> None:
    (ramp,) = night(folder, 1)
    for place in range(1, 400):
        os.link(ramp, folder / f"iris_{place:04}_uncal.fits")
    out = tmp_path / "out"
    words = [str(Path(sys.executable).with_name("tmt-dq")), "batch", str(folder), "-q"]
    words += ["--output-dir", str(out), "--scheduler", dask.address, "--mask", str(mask)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: len(list(out.glob("*.fits"))) > 3)
    stdout, stderr = interrupt(process)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    # What workers had begun is ended or given up, and never half there.
    with Client(dask.address, set_as_default=False) as client:
        until(lambda: not any(client.processing().values()))
    made = {path for path in out.iterdir() if path.name != JOURNAL_NAME}
    assert all(path.name.endswith("_dqinit.fits") for path in made)
    assert len({path.stat().st_size for path in made}) == 1
    assert 3 < len(made) < 400
    # The same command goes on, though the night is cut short here.
    for place in range(10, 400):
        (folder / f"iris_{place:04}_uncal.fits").unlink()
    result, _ = run([folder], out, mask=mask, mapper=Cluster(dask.address))
    assert (result.total, result.failed) == (10, 0)


def test_a_night_is_not_queued_at_once(dask: Dask) -> None:
    assert look_ahead(Cluster(dask.address), 90) <= 3  # one a thread; a third worker may start


def test_worker_without_the_files_ends_the_batch(dask: Dask, tmp_path: Path) -> None:
    cluster = Cluster(dask.address)
    cluster._shared = Shared(str(tmp_path / JOURNAL_NAME), "nobody's")
    with pytest.raises(ConfigError, match=r"the worker tcp://.* is not fit") as caught:
        list(cluster(batch_work.double, [1]))
    assert f"it does not see the output folder {tmp_path}" in str(caught.value)
    assert caught.value.hint is not None
    assert "must be at the same place on all machines" in caught.value.hint


def test_what_a_worker_must_see(tmp_path: Path, mask: Path) -> None:
    journal = tmp_path / JOURNAL_NAME
    journal.write_text('{"folder":"ours","format":1}\n')
    assert unfit(Shared(str(journal), "ours", (str(mask),))) == ""
    assert unfit(Shared(str(journal), "ours", ("/cache", str(mask)))).endswith("see /cache")
    assert "does not see the output folder" in unfit(Shared(str(journal), "another's"))
    assert "expected 9.9" in unfit(Shared(str(journal), "ours", version="9.9"))


def test_job_that_kills_every_worker(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.touch()
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with dask_cluster(tmp_path, 3, **allowed) as own:
        jobs = [(1, ""), (2, str(trap)), (3, "")]
        until(lambda: own.address)
        answers = {
            job[0]: answer for job, answer in Cluster(own.address)(batch_work.double_or_die, jobs)
        }
    error = answers.pop(2)
    assert answers == {1: 2, 3: 6}
    assert isinstance(error, WorkerError)
    assert "the workers that had this file died" in str(error)


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tmt_dq.batch.cluster._CONNECT_S", 1)
    with pytest.raises(ConfigError, match="no scheduler answers"):
        list(Cluster("tcp://127.0.0.1:9")(batch_work.double, [1]))
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        list(Cluster(scheduler_file=tmp_path / "none.json")(batch_work.double, [1]))
    for both in ({}, {"address": "tcp://a:1", "scheduler_file": tmp_path}):
        with pytest.raises(ConfigError, match="one of them"):
            Cluster(**both)  # type: ignore[arg-type]


def test_without_dask(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['distributed'] = None\n"
        "from tmt_dq.cli import main\n"
        "main(['batch', 'a.fits', '--output-dir', 'o', '--scheduler', 'tcp://127.0.0.1:9'])"
    )
    done = run_python("-c", code, cwd=tmp_path, code=2)
    assert "pip install distributed" in done.stderr
