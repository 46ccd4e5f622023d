"""Ramps as they arrive: what is taken, set aside, waited for and remembered."""

import errno
import json
import os
import shutil
import threading
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch_helpers import report_lines, until
from builders import arrays, folder_state, invoke, make_mask, make_ramp
from reference_helpers import make_cache
from tmt_dq import apply_dq, watch_folder
from tmt_dq.batch import plan_batch, worker
from tmt_dq.batch.journal import JOURNAL_NAME, JsonLines
from tmt_dq.batch.records import Job
from tmt_dq.batch.settings import make_settings
from tmt_dq.errors import BatchError, ConfigError, MaskFormatError, OutputError
from tmt_dq.files import atomic
from tmt_dq.fits.file import FitsInput
from tmt_dq.watch import plan_watch
from tmt_dq.watch import worker as work_module
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.worker import Task, work
from watch_helpers import Watching, use_inline_pool, watching


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    use_inline_pool(monkeypatch)
    for name in ("service._TICK_S", "status._BEAT_S"):
        monkeypatch.setattr(f"tmt_dq.watch.{name}", 0.1)
    monkeypatch.setattr("tmt_dq.watch.service._PAUSE_S", 0.2)


class Site:
    """Folders of a watch, a mask, and a place where ramps are made before they arrive."""

    def __init__(self, folder: Path, tmp_path: Path) -> None:
        self.folder, self.out, self.stage = folder, tmp_path / "out", tmp_path / "stage"
        self.beat = tmp_path / "beat.json"
        self.mask = make_mask(tmp_path / "mask.fits")
        self.stage.mkdir()

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return options if "crds_path" in options else {"mask": self.mask, **options}

    def arrive(self, name: str, **options: Any) -> Path:
        """Make a ramp elsewhere, and move it into place."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return make_ramp(self.stage / target.name, **options).rename(target)

    def watching(self, **options: Any) -> AbstractContextManager[Watching]:
        options = {"heartbeat": self.beat, **self.options(options)}
        return watching(self.folder, self.out, **options)

    def once(self, **options: Any) -> Any:
        with self.watching(once=True, **options) as watch:
            watch.wait(lambda: watch.result)
        return watch.result

    def lines(self) -> list[str]:
        """Return what is set aside, and why, in the order of names."""
        return sorted(self.status().get("set_aside_files", {}).values())

    def status(self) -> dict[str, Any]:
        """Return what the heartbeat has."""
        found: dict[str, Any] = json.loads(self.beat.read_text()) if self.beat.exists() else {}
        return found

    def plans(self, **options: Any) -> dict[str, tuple[str, str]]:
        """Return what a batch would do."""
        found = plan_batch([self.folder], output_dir=self.out, **self.options(options))
        return {Path(plan.input).name: (plan.action, plan.reason) for plan in found}


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Site:
    return Site(folder, tmp_path)


def test_same_as_apply(site: Site, folder: Path, tmp_path: Path) -> None:
    make_ramp(folder / "before_uncal.fits")
    with site.watching() as watch:
        watch.wait_done("before_uncal.fits")
        site.arrive("moved_uncal.fits")
        make_ramp(folder / "written_uncal.fits")
        os.link(folder / "moved_uncal.fits", folder / "linked_uncal.fits")
        names = [f"{name}_uncal.fits" for name in ("before", "moved", "written", "linked")]
        watch.wait_done(*names)
        before = folder_state(folder)
    for one in watch.results:
        expected = arrays(
            apply_dq(one.input, tmp_path / "x.fits", mask=site.mask, overwrite=True).output
        )
        for name, values in arrays(Path(one.output)).items():
            np.testing.assert_array_equal(values, expected[name])
    assert folder_state(folder) == before
    assert watch.result is not None
    assert (watch.result.done, watch.result.failed, watch.result.skipped) == (4, 0, 0)
    # A batch knows all of them, and has nothing to do.
    assert set(site.plans().values()) == {("skip", "done and still true")}


def test_half_written_is_never_read(site: Site, folder: Path) -> None:
    """All pieces of a file, as its writer has it open: nothing is made of any."""
    content = make_ramp(site.stage / "a.fits", (1, 2, 6, 8), header={"COMPLETE": True}).read_bytes()
    with site.watching(stalled_s=60) as watch:
        with (folder / "a.fits").open("wb", buffering=0) as file:
            for first in range(0, len(content), 960):
                file.write(content[first : first + 960])
                # Each other ramp shows that the watch is not just slow.
                if first % 2880 == 0:
                    name = f"b{first}.fits"
                    site.arrive(name)
                    watch.wait(lambda name=name: name in watch.done())  # type: ignore[misc]
            assert "a.fits" not in watch.done()
        watch.wait(lambda: "a.fits" in watch.done())
    assert watch.failed() == []
    assert arrays(site.out / "a_dqinit.fits")["SCI"].shape == (1, 2, 6, 8)


def test_folders_that_come_later(site: Site, folder: Path) -> None:
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        (folder / "n1" / "n2").mkdir(parents=True)
        site.arrive("n1/n2/b.fits")
        (site.stage / "whole").mkdir()
        make_ramp(site.stage / "whole" / "c.fits")
        (site.stage / "whole").rename(folder / "whole")
        watch.wait_done("a.fits", "b.fits", "c.fits")


def test_what_is_not_for_us(site: Site, folder: Path) -> None:
    """Hidden and temporary files, other files, links to folders, outputs within the folder."""
    out = site.out = folder / "reduced"
    (site.stage / "other").mkdir()
    (folder / "early").symlink_to(site.stage / "other")
    with site.watching() as watch:
        (folder / ".hidden").mkdir()
        for name in (
            *(".a.fits.Xb1", ".a.fits", "a.fits.part", "a.fits.tmp", "a.txt", "a_dqinit.fits"),
            ".hidden/a.fits",
        ):
            shutil.copy(make_ramp(site.stage / "a.fits"), folder / name)
        (folder / "link").symlink_to(site.stage / "other")
        (folder / "loop").symlink_to(folder)
        site.arrive("z.fits")
        watch.wait_done("z.fits")
        make_ramp(site.stage / "other" / "linked.fits")
        watch.control.reload()
        site.arrive("zz.fits")
        watch.wait_done("z.fits", "zz.fits")
    assert watch.failed() == []
    found = sorted(path.name for path in out.iterdir())
    assert found == [JOURNAL_NAME, "z_dqinit.fits", "zz_dqinit.fits"]


def test_odd_names(site: Site, folder: Path) -> None:
    """A name that is no text, one of two lines, a folder named like a ramp."""
    odd = os.fsdecode(b"bad\xff.fits")
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        site.arrive(odd)
        site.arrive("dir.fits/in.fits")
        (site.stage / "two").write_text("no FITS file")
        (site.stage / "two").rename(folder / "two\nlines.fits")
        watch.wait_done("a.fits", odd, "in.fits")
        watch.wait(lambda: len(site.lines()) == 1)
    assert watch.failed() == ["two\nlines.fits"]
    assert f"{folder}/two\\nlines.fits: is not a FITS file" in site.lines()[0]


@pytest.mark.parametrize("place", [".", ".."])
def test_outputs_beside_or_above_inputs(site: Site, folder: Path, place: str) -> None:
    (folder / "sub").mkdir()
    make_ramp(folder / "a.fits")
    make_ramp(folder / "sub" / "b.fits")
    for done in (2, 0):
        site.out = folder / place
        assert site.once().done == done
    found = sorted(path.name for path in (folder / place).glob("*_dqinit.fits"))
    assert found == ["a_dqinit.fits", "b_dqinit.fits"]


def test_patterns_and_no_recursion(site: Site, folder: Path) -> None:
    (folder / "sub").mkdir()
    for name in ("a_uncal.fits", "b_dark.fits", "c.fits", "sub/d_uncal.fits"):
        make_ramp(folder / name)
    result = site.once(patterns=["*_uncal.fits", "c*"], recursive=False)
    assert result.done == 2
    assert sorted(path.name for path in site.out.glob("*.fits")) == [
        "a_dqinit.fits",
        "c_dqinit.fits",
    ]


def test_replaced_under_the_same_name(site: Site, folder: Path) -> None:
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        site.arrive("a.fits", shape=(1, 4, 6, 8))
        watch.wait_done("a.fits", "a.fits")
        assert arrays(site.out / "a_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)
        make_ramp(folder / "a.fits", (1, 5, 6, 8))
        watch.wait_done("a.fits", "a.fits", "a.fits")
    assert arrays(site.out / "a_dqinit.fits")["SCI"].shape == (1, 5, 6, 8)


def test_changed_while_it_is_read(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made of it; nor is it begun where it has changed before."""
    ramp = make_ramp(folder / "a.fits", (1, 3, 6, 8))
    site.out.mkdir()
    job = Job(str(ramp), str(site.out / "a_dqinit.fits"))
    identity = identity_of(str(ramp))
    assert identity is not None
    task = Task(job, identity, 0.0, make_settings({"mask": site.mask}))
    verify = FitsInput.verify

    def changes(file: FitsInput) -> None:
        os.utime(ramp, ns=(1, 1))
        verify(file)

    monkeypatch.setattr(FitsInput, "verify", changes)
    assert work(task) is None
    assert list(site.out.iterdir()) == []
    assert work(task) is None


@pytest.mark.parametrize("how", ["written over", "removed"])
def test_not_there_any_more_when_it_is_begun(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A writer begins anew, or an archive takes the ramp away, as a worker opens it: no error."""
    real = worker.process
    content = make_ramp(site.stage / "a.fits", (1, 4, 6, 8)).read_bytes()
    begun = threading.Event()

    def process(job: Job, **settings: Any) -> Any:
        if not begun.is_set():
            os.truncate(job.input, 5760)
            if how == "removed":
                Path(job.input).unlink()
            begun.set()
        return real(job, **settings)

    monkeypatch.setattr(work_module, "process", process)
    with site.watching(stalled_s=60) as watch:
        site.arrive("a.fits")
        watch.wait(begun.is_set)
        (folder / "a.fits").write_bytes(content)
        watch.wait_done("a.fits")
    assert watch.failed() == []
    assert site.lines() == []
    assert arrays(site.out / "a_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)


def test_bad_files(site: Site, folder: Path) -> None:
    bad = {
        "bad.fits": "is not a FITS file",
        "cut.fits": "is truncated",
        "empty.fits": "is not a FITS file: the file is empty",
        "far.fits": "the mask covers",
    }
    (site.stage / "bad.fits").write_bytes(b"no FITS file")
    make_ramp(site.stage / "cut.fits")
    os.truncate(site.stage / "cut.fits", 5760)
    make_ramp(site.stage / "far.fits", start=(4000, 4000))
    (site.stage / "empty.fits").touch()
    report = site.out.parent / "report.jsonl"
    with site.watching(report=report) as watch:
        for name in bad:
            (site.stage / name).rename(folder / name)
        before = folder_state(folder)
        watch.wait(lambda: sorted(watch.failed()) == list(bad), watch.failed)
        listed = watch.wait(lambda: len(site.lines()) == 4 and site.lines())
        for line, (name, said) in zip(listed, bad.items(), strict=True):
            assert f"/{name}: " in line
            assert said in line
        # Neither moved nor changed, and not tried again as long as they are what they are.
        assert folder_state(folder) == before
        # One that is replaced is tried again.
        site.arrive("cut.fits")
        watch.wait_done("cut.fits")
        # On request, all are; those that are gone are forgotten.
        (folder / "bad.fits").unlink()
        watch.control.reload()
        watch.wait(lambda: sorted(watch.failed()) == sorted([*bad, "empty.fits", "far.fits"]))
    assert watch.result is not None
    assert sorted(Path(path).name for path in watch.result.set_aside) == ["empty.fits", "far.fits"]
    with pytest.raises(BatchError, match="2 ramps are set aside"):
        watch.result.raise_failures()
    statuses = [one["status"] for one in report_lines(report)]
    assert (statuses.count("done"), statuses.count("failed")) == (1, 6)
    # A batch tries what failed once more.
    assert site.plans()["far.fits"] == ("process", "failed before: GeometryError")


def test_permissions_are_changed(tmp_path: Path) -> None:
    """A ramp that nobody may read is tried again when that changes: its content never does."""
    path = make_ramp(tmp_path / "a.fits")
    before = identity_of(str(path))
    path.chmod(0o640)
    assert before is not None
    assert identity_of(str(path)) != before


def test_ramps_with_one_output(site: Site, folder: Path) -> None:
    """The first one has it: while it waits, at work, and done."""
    report = site.out.parent / "report.jsonl"
    for reads, name in enumerate(("a.fits", "a_uncal.fits", "sub/a.fits"), start=3):
        site.arrive(name, shape=(1, reads, 6, 8))
    result = site.once(report=report)
    assert (result.done, result.failed) == (1, 2)
    assert all(f"{folder}/a.fits: its output {site.out}/a" in line for line in site.lines())
    assert sorted(one["status"] for one in report_lines(report)) == ["done", "failed", "failed"]
    assert site.once().failed == 2
    assert arrays(site.out / "a_dqinit.fits")["SCI"].shape == (1, 3, 6, 8)


def test_same_time_and_size(site: Site, folder: Path) -> None:
    """Two detectors, one name, times in whole seconds: the second is no moved first one."""
    (folder / "sub").mkdir()
    ramps = [make_ramp(folder / "a.fits"), make_ramp(folder / "sub" / "a.fits")]
    for ramp in ramps:
        os.utime(ramp, (1e9, 1e9))
    with site.watching() as watch:
        watch.wait(lambda: len(site.lines()) == 1)
        watch.wait_done("a.fits")
        # It is a moved one after all, by a copy: then there is nothing to do.
        ramps[0].unlink()
        watch.control.reload()
        watch.wait(lambda: site.lines() == [])
        # Nor is there where it is moved again.
        ramps[1].rename(folder / "a.fits")
        site.arrive("b.fits")
        watch.wait_done("a.fits", "b.fits")
    assert site.lines() == []


def test_outputs_of_others(site: Site, folder: Path) -> None:
    make_ramp(folder / "a.fits")
    site.out.mkdir()
    output = site.out / "a_dqinit.fits"
    output.write_text("mine")
    with site.watching() as watch:
        (line,) = watch.wait(site.lines)
        assert f"{output}: already exists and was not written by this batch" in line
        output.rename(site.out / "mine")
        watch.control.reload()
        watch.wait_done("a.fits")
    (site.out / "mine").rename(output)
    assert site.once(overwrite=True, redo=True).done == 1


def test_what_is_done_stays_so(site: Site, folder: Path) -> None:
    """Neither an output that the next step moved away nor other options begin a night anew."""
    make_ramp(folder / "a.fits")
    site.once()
    (site.out / "a_dqinit.fits").unlink()
    assert (site.once().done, (site.out / "a_dqinit.fits").exists()) == (0, False)
    for options in ({}, {"propagate_do_not_use": True}):
        (plan,) = plan_watch(folder, output_dir=site.out, mask=site.mask, **options)
        assert plan.action == "skip"
        assert site.once(**options).done == 0
        assert site.once(redo=True, **options).done == 1
        assert site.once(redo=True, **options).done == 0
    (plan,) = plan_watch(folder, output_dir=site.out, mask=site.mask)
    assert plan.reason == "done; a batch would do it again: parameters changed"


def test_incomplete_is_left_once(site: Site, folder: Path) -> None:
    make_ramp(folder / "a.fits")
    make_ramp(folder / "b.fits")
    os.truncate(folder / "b.fits", 5760)
    with (folder / "c.fits").open("wb"):
        result = site.once(stalled_s=60)
    assert (result.done, result.failed) == (1, 0)
    assert {Path(path).name: why.split(",")[0] for path, why in result.unfinished.items()} == {
        "b.fits": "at least 8640 bytes are needed",
        "c.fits": "it is empty",
    }


def test_new_context(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is used from the next ramp on, and what had no rule is tried again."""
    cache = make_cache(tmp_path / "cache")
    make_mask(cache / "references" / "tmt" / "iris" / "tmt_iris_mask_0001.fits")
    with site.watching(crds_path=cache) as watch:
        site.arrive("a.fits")
        site.arrive("old.fits", header={"DATE-OBS": "1999-01-01"})
        watch.wait(lambda: (watch.done(), watch.failed()) == (["a.fits"], ["old.fits"]))
        context = cache / "mappings" / "tmt" / "tmt_0001.pmap"
        shutil.copy(context, tmp_path / "new")
        (tmp_path / "new").rename(context.with_name("tmt_0002.pmap"))
        watch.wait(lambda: watch.failed() == ["old.fits", "old.fits"])
        site.arrive("b.fits")
        watch.wait_done("a.fits", "b.fits")
    assert "the rules are tmt_0002.pmap from now on" in caplog.text
    contexts = [(Path(one.input).name, one.context) for one in watch.results if not one.error]
    assert contexts == [("a.fits", "tmt_0001.pmap"), ("b.fits", "tmt_0002.pmap")]
    assert site.plans(crds_path=cache) == {
        "a.fits": ("process", "rules changed"),
        "b.fits": ("skip", "done and still true"),
        "old.fits": ("process", "failed before: NoMatchError"),
    }


@pytest.mark.parametrize("full", ["outputs", "journal"])
def test_full_disk(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, full: str
) -> None:
    """It is waited for; nothing is set aside. A single run ends."""

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_line(lines: JsonLines, *_: Any, **__: Any) -> None:
        raise OutputError("No space left", where=lines.path)

    broken = (
        (atomic, "_give_name", no_space) if full == "outputs" else (JsonLines, "append", no_line)
    )
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        with monkeypatch.context() as disk:
            disk.setattr(*broken)
            site.arrive("b.fits")
            site.arrive("c.fits")
            watch.wait(lambda: "No space left" in caplog.text)
            if full == "journal":  # else the heartbeat has no room either
                told = watch.wait(lambda: site.status()["state"] == "waiting" and site.status())
                assert told["why"] == f"{site.out / JOURNAL_NAME}: No space left"
        watch.wait_done("a.fits", "b.fits", "c.fits")
    assert watch.failed() == []
    assert caplog.text.count("paused: ") <= 2
    assert set(site.plans().values()) == {("skip", "done and still true")}
    site.arrive("d.fits")
    monkeypatch.setattr(*broken)
    with pytest.raises(OutputError, match="No space left"):
        watch_folder(site.folder, output_dir=site.out, mask=site.mask, once=True, jobs=1)


@pytest.mark.parametrize("which", ["outputs", "ramps"])
@pytest.mark.parametrize("how", ["gone", "another one"])
def test_folder_that_is_gone(site: Site, folder: Path, which: str, how: str) -> None:
    """The watch ends with an error, and nothing is made elsewhere."""
    place = site.out if which == "outputs" else folder
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        place.rename(site.out.parent / "moved")
        if how == "another one":
            place.mkdir()
        until(lambda: watch.error is not None)
        error, watch.error = watch.error, None
    assert isinstance(error, OutputError if which == "outputs" else ConfigError)
    assert error.what.startswith("the folder is gone")
    assert error.where == str(place)
    assert not place.exists() or list(place.iterdir()) == []
    (place.rmdir if place.exists() else str)()
    (site.out.parent / "moved").rename(place)
    assert site.once().skipped == 1


def test_metrics(site: Site, folder: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with site.watching(prometheus="0") as watch:
        watch.wait(lambda: site.status().get("state") == "watching")
        site.arrive("a.fits")
        (site.stage / "bad.fits").write_bytes(b"no FITS file")
        (site.stage / "bad.fits").rename(folder / "bad.fits")
        watch.wait(lambda: (watch.done(), watch.failed()) == (["a.fits"], ["bad.fits"]))
        url = site.status()["metrics"]
        assert url.startswith("http://127.0.0.1:")

        def scrape() -> dict[str, float]:
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
            return {
                sample.name
                + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }

        found = watch.wait(lambda: (s := scrape())["tmt_dq_watch_files_total[failed]"] == 1 and s)
        status = watch.wait(lambda: (s := site.status())["files"]["failed"] == 1 and s)
    assert found["tmt_dq_watch_files_total[done]"] == 1
    assert found["tmt_dq_watch_files_total[failed]"] == 1
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert found["tmt_dq_watch_bytes_total"] == size
    assert found["tmt_dq_watch_latency_seconds_count"] == 2
    assert found["tmt_dq_watch_state[watching]"] == 1
    assert status["pid"] == os.getpid()
    assert (status["bytes"], status["errors"]) == (size, {"RampFormatError": 1})
    # The last word is there to be read, and nobody listens any more.
    assert site.status()["state"] == "stopped"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)
    page = (Path(__file__).parents[1] / "docs" / "how_to" / "watch_service.md").read_text()
    names = {name.partition("[")[0] for name in found if "_created" not in name}
    for ending in ("_bucket", "_count", "_sum"):
        names = {name.removesuffix(ending) for name in names}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_result_of_each_ramp(site: Site, folder: Path) -> None:
    make_ramp(folder / "a.fits")
    words = (
        "watch",
        folder,
        "--output-dir",
        site.out,
        "--mask",
        site.mask,
        "--once",
        "--json",
        "-q",
    )
    done = invoke(*words, code=0)
    (line,) = done.out.splitlines()
    assert json.loads(line)["output"] == str(site.out / "a_dqinit.fits")


def test_dry_run(site: Site, folder: Path) -> None:
    make_ramp(folder / "a.fits")
    make_ramp(folder / "b.fits")
    os.truncate(folder / "b.fits", 5760)
    done = invoke(
        "watch", folder, "--output-dir", site.out, "--mask", site.mask, "--dry-run", code=0
    )
    first, second, sums = done.out.splitlines()
    assert first == f"process {folder}/a.fits  (new)"
    assert second.startswith(f"wait    {folder}/b.fits  (at least 8640 bytes are needed")
    assert sums == "1 to process, 1 to wait"
    assert not site.out.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": "no_mask.fits"}, MaskFormatError, "cannot be read: No such file"),
        ({"settle_s": -1}, ConfigError, "settle_s is -1"),
        ({"poll_s": 0}, ConfigError, "poll_s is 0"),
        ({"grace_s": float("nan")}, ConfigError, "grace_s is nan"),
        ({"jobs": 0}, ConfigError, "jobs is 0"),
        ({"tea": 1}, ConfigError, "no option tea"),
        ({"prometheus": "tea"}, ConfigError, "expected PORT or HOST:PORT"),
        ({"prometheus": "99999"}, ConfigError, "expected PORT or HOST:PORT"),
        ({"prometheus": "203.0.113.7:0"}, ConfigError, "cannot be listened on"),
        ({"heartbeat": "none/beat.json"}, OutputError, "folder"),
        ({"heartbeat": "."}, OutputError, "is a folder"),
        # Nor is a device replaced, as /dev/null, which root could replace.
        ({"heartbeat": "pipe"}, OutputError, "is not a regular file"),
    ],
)
def test_options_that_make_no_sense(
    site: Site, options: Any, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.stage)
    os.mkfifo("pipe")
    with pytest.raises(error, match=message):
        watch_folder(site.folder, output_dir=site.out, once=True, **options)
    # Nothing is locked by what did not begin.
    assert not site.out.exists() or site.once(mask="N/A").done == 0


@pytest.mark.parametrize(
    "names", [("s3://bucket/in", "reduced"), ("incoming", "s3://key:secret@bucket/out")]
)
def test_urls(tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "incoming").mkdir()
    done = invoke("watch", names[0], "--output-dir", names[1], "--once")
    assert (done.code, "URL" in done.err, "secret" in done.err) == (2, True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["incoming"]


def test_folder_that_cannot_be_read(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is an error, but for a folder below in a watch that stays: that warns, and goes on."""
    below, closed, real = folder / "below", [folder], os.scandir
    below.mkdir()
    make_ramp(folder / "a.fits")

    def scandir(path: Any) -> Any:
        if Path(path) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    # Root, who runs tests here and there, may enter every folder.
    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr("tmt_dq.watch.options._SEARCH_S", 0.05)
    closed[:] = [below]
    with site.watching() as watch:
        watch.wait_done("a.fits")
        watch.wait(lambda: "ramps in it are not seen. Check its" in caplog.text)
    for place in (folder, below):
        closed[:] = [place]
        with pytest.raises(ConfigError, match="cannot be searched: Permission denied"):
            list(plan_watch(folder, output_dir=site.out, mask=site.mask))
        with pytest.raises(ConfigError, match="cannot be searched: Permission denied") as caught:
            watch_folder(folder, output_dir=site.out, mask=site.mask, once=True, jobs=1)
        assert caught.value.where == str(place)


def test_no_such_folder(site: Site, folder: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        watch_folder(folder / "none", output_dir=site.out)
    with pytest.raises(ConfigError, match="is not a folder"):
        watch_folder(make_ramp(folder / "a.fits"), output_dir=site.out)
    with pytest.raises(OutputError, match="the folder cannot be made"):
        watch_folder(folder, output_dir=folder / "a.fits" / "out")
