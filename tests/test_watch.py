"""Ramps as they arrive: what is taken, what is set aside, what is waited for, what is remembered.

What could go wrong: a file half-written; one replaced; two with one output; a folder that comes
later, goes, comes again; the kernel that tells nothing; a full disk; rules that change; outputs
that someone takes away; a second watch.
"""

import errno
import json
import logging
import os
import shutil
import stat
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
from tmt_dq.batch.records import FileResult, Job
from tmt_dq.batch.settings import make_settings
from tmt_dq.errors import BatchError, ConfigError, MaskFormatError, OutputError, RampFormatError
from tmt_dq.files.atomic import AtomicOutput
from tmt_dq.watch import plan_watch
from tmt_dq.watch import worker as work_module
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.events import Events
from tmt_dq.watch.quarantine import LIST_NAME
from tmt_dq.watch.worker import Task, work
from watch_helpers import Watching, use_inline_pool, watching


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    use_inline_pool(monkeypatch)
    for name in ("service._TICK_S", "service._RULES_S", "status._BEAT_S", "events._AGAIN_S"):
        monkeypatch.setattr(f"tmt_dq.watch.{name}", 0.1)
    monkeypatch.setattr("tmt_dq.watch.service._PAUSE_S", 0.05)


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
        return watching(self.folder, self.out, **self.options(options))

    def once(self, **options: Any) -> Any:
        with self.watching(once=True, **options) as watch:
            watch.wait(lambda: watch.result)
        return watch.result

    def lines(self) -> list[str]:
        """Return the list of what is set aside."""
        path = self.out / LIST_NAME
        return path.read_text().splitlines() if path.exists() else []

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


@pytest.fixture
def mask(site: Site) -> Path:
    return site.mask


@pytest.fixture
def out(site: Site) -> Path:
    return site.out


@pytest.fixture
def stage(site: Site) -> Path:
    return site.stage


# --- arrivals --------------------------------------------------------------------------------


def test_same_as_apply(site: Site, folder: Path, mask: Path, tmp_path: Path) -> None:
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
            apply_dq(one.input, tmp_path / "x.fits", mask=mask, overwrite=True).output
        )
        for name, values in arrays(Path(one.output)).items():
            np.testing.assert_array_equal(values, expected[name])
    assert folder_state(folder) == before
    assert watch.result is not None
    assert (watch.result.done, watch.result.failed, watch.result.skipped) == (4, 0, 0)
    # A batch knows all of them, and has nothing to do.
    assert set(site.plans().values()) == {("skip", "done and still true")}


def test_half_written_is_never_read(site: Site, folder: Path, out: Path, stage: Path) -> None:
    """All pieces of a file, as its writer has it open: nothing is made of any."""
    content = make_ramp(stage / "a.fits", (1, 2, 6, 8), header={"COMPLETE": True}).read_bytes()
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
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 2, 6, 8)


def test_folders_that_come_later(site: Site, folder: Path, stage: Path) -> None:
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        (folder / "n1" / "n2").mkdir(parents=True)
        site.arrive("n1/n2/b.fits")
        (stage / "whole").mkdir()
        make_ramp(stage / "whole" / "c.fits")
        (stage / "whole").rename(folder / "whole")
        watch.wait_done("a.fits", "b.fits", "c.fits")


def test_what_is_not_for_us(site: Site, folder: Path, stage: Path) -> None:
    """Hidden and temporary files, other files, and the outputs in a folder within the folder."""
    out = site.out = folder / "reduced"
    with site.watching() as watch:
        (folder / ".hidden").mkdir()
        for name in (
            *(".a.fits.Xb1", ".a.fits", "a.fits.part", "a.fits.tmp", "a.txt", "a_dqinit.fits"),
            ".hidden/a.fits",
        ):
            shutil.copy(make_ramp(stage / "a.fits"), folder / name)
        (folder / "folder.fits").mkdir()
        site.arrive("z.fits")
        watch.wait_done("z.fits")
        watch.control.reload()
        site.arrive("zz.fits")
        watch.wait_done("z.fits", "zz.fits")
    assert watch.failed() == []
    assert sorted(path.name for path in out.iterdir()) == [
        JOURNAL_NAME,
        "z_dqinit.fits",
        "zz_dqinit.fits",
    ]


def test_odd_names(site: Site, folder: Path, stage: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name that is no text, one of two lines, a folder named like a ramp, links to folders."""
    (stage / "other").mkdir()
    make_ramp(stage / "other" / "linked.fits")
    (folder / "early").symlink_to(stage / "other")
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        make_ramp(stage / "other" / "linked.fits")
        (folder / "link").symlink_to(stage / "other")
        (folder / "loop").symlink_to(folder)
        odd = os.fsdecode(b"bad\xff.fits")
        site.arrive(odd)
        (folder / "dir.fits").mkdir()
        site.arrive("dir.fits/in.fits")
        (stage / "two").write_text("no FITS file")
        (stage / "two").rename(folder / "two\nlines.fits")
        watch.wait_done("a.fits", odd, "in.fits")
        watch.wait(lambda: len(site.lines()) == 1)
        # The kernel is asked again.
        assert caplog.text.count("file-system events are not available") == 1
        site.arrive("z.fits")
        watch.wait_done("a.fits", odd, "in.fits", "z.fits")
    assert watch.failed() == ["two\nlines.fits"]
    (line,) = site.lines()
    assert f"{folder}/two\\nlines.fits: is not a FITS file" in line


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


def test_patterns_and_no_recursion(site: Site, folder: Path, out: Path) -> None:
    (folder / "sub").mkdir()
    for name in ("a_uncal.fits", "b_dark.fits", "c.fits", "sub/d_uncal.fits"):
        make_ramp(folder / name)
    result = site.once(patterns=["*_uncal.fits", "c*"], recursive=False)
    assert result.done == 2
    assert sorted(path.name for path in out.glob("*.fits")) == ["a_dqinit.fits", "c_dqinit.fits"]


@pytest.mark.parametrize("how", ["polling", "nothing told", "refused"])
def test_without_the_kernel(
    site: Site, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """On NFS the kernel does not tell; elsewhere its queue may be full, or it has no watches left.

    Searches find out.
    """

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "OS file watch limit reached")

    monkeypatch.setattr("tmt_dq.watch.options._SEARCH_S", 0.05)
    if how == "nothing told":
        monkeypatch.setattr(Events, "_take", lambda *_: None)
    if how == "refused":
        monkeypatch.setattr("watchfiles.watch", refuse)
    make_ramp(folder / "a.fits")
    options = {"poll_s": 0.05} if how == "polling" else {}
    with site.watching(**options) as watch:
        watch.wait_done("a.fits")
        site.arrive("b.fits")
        (folder / "sub").mkdir()
        site.arrive("sub/c.fits")
        watch.wait_done("a.fits", "b.fits", "c.fits")
        make_ramp(folder / "b.fits", (1, 4, 6, 8))
        watch.wait_done("a.fits", "b.fits", "b.fits", "c.fits")
    assert arrays(out / "b_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)


# --- changes ---------------------------------------------------------------------------------


def test_replaced_under_the_same_name(site: Site, folder: Path, out: Path) -> None:
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        site.arrive("a.fits", shape=(1, 4, 6, 8))
        watch.wait_done("a.fits", "a.fits")
        assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)
        make_ramp(folder / "a.fits", (1, 5, 6, 8))
        watch.wait_done("a.fits", "a.fits", "a.fits")
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 5, 6, 8)


def test_changed_while_it_is_read(
    folder: Path, out: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker notices of a change: nothing is made of what it has read."""
    ramp = make_ramp(folder / "a.fits", (1, 3, 6, 8))
    out.mkdir()
    job = Job(str(ramp), str(out / "a_dqinit.fits"))
    identity = identity_of(str(ramp))
    assert identity is not None
    task = Task(job, make_settings({"mask": mask}), identity)
    asked: list[str] = []

    def changes(path: str) -> Any:
        asked.append(path)
        if len(asked) == 2:
            os.utime(ramp, ns=(1, 1))
        return identity_of(path)

    monkeypatch.setattr(work_module, "identity_of", changes)
    assert work(task).result is None
    assert list(out.iterdir()) == []
    assert work(task).result is None  # and it is not begun where it has changed before


@pytest.mark.parametrize("how", ["written over", "removed"])
def test_not_there_any_more_when_it_is_begun(
    site: Site, folder: Path, out: Path, stage: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A writer begins anew, or an archive takes the ramp away, as a worker opens it: no error."""
    real = worker.process
    content = make_ramp(stage / "a.fits", (1, 4, 6, 8)).read_bytes()
    begun = threading.Event()

    def process(job: Job, progress: Any, **settings: Any) -> Any:
        if not begun.is_set():
            os.truncate(job.input, 5760)
            if how == "removed":
                Path(job.input).unlink()
            begun.set()
        return real(job, progress, **settings)

    monkeypatch.setattr(work_module, "process", process)
    with site.watching(stalled_s=60) as watch:
        site.arrive("a.fits")
        watch.wait(begun.is_set)
        (folder / "a.fits").write_bytes(content)
        watch.wait_done("a.fits")
    assert watch.failed() == []
    assert not (out / LIST_NAME).exists()
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)


# --- set aside -------------------------------------------------------------------------------


def test_bad_files(site: Site, folder: Path, out: Path, mask: Path, stage: Path) -> None:
    (stage / "bad.fits").write_bytes(b"no FITS file")
    make_ramp(stage / "cut.fits")
    os.truncate(stage / "cut.fits", 5760)
    make_ramp(stage / "far.fits", start=(4000, 4000))
    (stage / "empty.fits").touch()
    names = ["bad.fits", "cut.fits", "empty.fits", "far.fits"]
    report = out.parent / "report.jsonl"
    with site.watching(report=report) as watch:
        for name in names:
            (stage / name).rename(folder / name)
        before = folder_state(folder)
        watch.wait(lambda: sorted(watch.failed()) == names, watch.failed)
        listed = watch.wait(lambda: len(site.lines()) == 4 and site.lines())
        for name, said in (
            ("bad.fits", "is not a FITS file"),
            ("cut.fits", "is truncated"),
            ("empty.fits", "is not a FITS file: the file is empty"),
            ("far.fits", "the mask covers"),
        ):
            (line,) = [line for line in listed if f"/{name}: " in line]
            assert said in line
        assert [line.split()[1] for line in listed if "far.fits" in line] == ["GeometryError"]
        # Neither moved nor changed, and not tried again as long as they are what they are.
        assert folder_state(folder) == before
        # One that is replaced is tried again.
        site.arrive("cut.fits")
        watch.wait_done("cut.fits")
        # On request, all are; those that are gone are forgotten.
        (folder / "bad.fits").unlink()
        watch.control.reload()
        watch.wait(lambda: sorted(watch.failed()) == sorted([*names, "empty.fits", "far.fits"]))
    assert watch.result is not None
    assert sorted(Path(path).name for path in watch.result.set_aside) == ["empty.fits", "far.fits"]
    with pytest.raises(BatchError, match="2 ramps are set aside"):
        watch.result.raise_failures()
    statuses = [(Path(one["input"]).name, one["status"]) for one in report_lines(report)]
    assert statuses.count(("cut.fits", "done")) == 1
    assert ("bad.fits", "failed") in statuses
    # A batch tries what failed once more.
    assert site.plans()["far.fits"] == ("process", "failed before: GeometryError")


def test_permissions_are_changed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ramp that nobody may read is tried again when that changes: its content never does."""
    real, locked = worker.process, [True]

    def process(job: Job, progress: Any, **settings: Any) -> Any:
        if not locked:
            return real(job, progress, **settings)
        error = RampFormatError("cannot be read: Permission denied", where=job.input)
        return FileResult.failure(job, error)

    monkeypatch.setattr(work_module, "process", process)
    monkeypatch.setattr("tmt_dq.watch.options._SEARCH_S", 0.05)
    with site.watching() as watch:
        ramp = site.arrive("a.fits")
        watch.wait(lambda: len(site.lines()) == 1)
        assert "Permission denied" in site.lines()[0]
        locked.clear()
        ramp.chmod(0o640)
        watch.wait_done("a.fits")
        watch.wait(lambda: site.lines() == [])


def test_two_ramps_with_one_output(site: Site, folder: Path, out: Path) -> None:
    (folder / "sub").mkdir()
    report = out.parent / "report.jsonl"
    with site.watching(report=report) as watch:
        site.arrive("a.fits", shape=(1, 3, 6, 8))
        watch.wait_done("a.fits")
        site.arrive("sub/a.fits", shape=(1, 4, 6, 8))
        site.arrive("a_uncal.fits", shape=(1, 5, 6, 8))
        watch.wait(lambda: len(site.lines()) == 2, site.lines)
    assert all(f"{folder}/a.fits: its output {out}/a" in line for line in site.lines())
    assert (watch.done(), sorted(watch.failed())) == (["a.fits"], ["a.fits", "a_uncal.fits"])
    assert sorted(one["status"] for one in report_lines(report)) == ["done", "failed", "failed"]
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 3, 6, 8)


def test_same_time_and_size(site: Site, folder: Path) -> None:
    """Two detectors, one name, times in whole seconds: the second is no moved first one."""
    (folder / "sub").mkdir()
    ramps = [make_ramp(folder / "a.fits"), make_ramp(folder / "sub" / "a.fits")]
    for ramp in ramps:
        os.utime(ramp, (1e9, 1e9))
    with site.watching() as watch:
        watch.wait(lambda: len(site.lines()) == 1)
        assert watch.done() == ["a.fits"]
        # It is a moved one after all, by a copy: then there is nothing to do.
        ramps[0].unlink()
        watch.control.reload()
        watch.wait(lambda: site.lines() == [])
        # Nor is there where it is moved again.
        ramps[1].rename(folder / "a.fits")
        site.arrive("b.fits")
        watch.wait_done("a.fits", "b.fits")
    assert site.lines() == []


def test_outputs_of_others(site: Site, folder: Path, out: Path) -> None:
    make_ramp(folder / "a.fits")
    out.mkdir()
    (out / "a_dqinit.fits").write_text("mine")
    result = site.once()
    assert (result.done, result.failed) == (0, 1)
    assert (
        f"/a.fits: {out}/a_dqinit.fits: already exists and was not written by this batch"
        in site.lines()[0]
    )
    assert "or use --overwrite" in site.lines()[0]
    assert (out / "a_dqinit.fits").read_text() == "mine"
    with site.watching() as watch:
        watch.wait(lambda: watch.failed() == ["a.fits"])
        (out / "a_dqinit.fits").rename(out / "mine")
        watch.control.reload()
        watch.wait_done("a.fits")
    (out / "mine").rename(out / "a_dqinit.fits")
    assert site.once(overwrite=True, redo=True).done == 1


# --- going on --------------------------------------------------------------------------------


def test_what_is_done_stays_so(site: Site, folder: Path, out: Path, mask: Path) -> None:
    """Neither an output that the next step moved away nor other options begin a night anew."""
    make_ramp(folder / "a.fits")
    site.once()
    (out / "a_dqinit.fits").unlink()
    assert (site.once().done, (out / "a_dqinit.fits").exists()) == (0, False)
    for options in ({}, {"propagate_do_not_use": True}):
        (plan,) = plan_watch(folder, output_dir=out, mask=mask, **options)
        assert plan.action == "skip"
        assert site.once(**options).done == 0
        assert site.once(redo=True, **options).done == 1
        assert site.once(redo=True, **options).done == 0
    (plan,) = plan_watch(folder, output_dir=out, mask=mask)
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


def test_two_watches(site: Site, folder: Path, out: Path, mask: Path) -> None:
    with site.watching():
        until((out / JOURNAL_NAME).exists)
        with pytest.raises(OutputError, match="is at work in this folder"):
            watch_folder(folder, output_dir=out, mask=mask, once=True)
    assert site.once().done == 0


# --- rules -----------------------------------------------------------------------------------


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


# --- full disks ------------------------------------------------------------------------------


class FullDisk:
    """A disk that is full when we say so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outputs = self.books = False
        self.met = threading.Event()
        link, append = AtomicOutput._link, JsonLines.append

        def give_name(output: AtomicOutput, name: Path) -> None:
            if self.outputs and output.path.suffix == ".fits":
                self.met.set()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            link(output, name)

        def write_down(lines: JsonLines, *records: Any, sync: bool = False) -> None:
            if self.books:
                self.met.set()
                raise OutputError("the disk is full", where=lines.path)
            append(lines, *records, sync=sync)

        monkeypatch.setattr(AtomicOutput, "_link", give_name)
        monkeypatch.setattr(JsonLines, "append", write_down)


@pytest.mark.parametrize("what", ["outputs", "books", "both"])
def test_full_disk(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    disk = FullDisk(monkeypatch)
    caplog.set_level(logging.INFO, "tmt_dq.watch")
    with site.watching(heartbeat=site.beat) as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        disk.outputs, disk.books = what in {"outputs", "both"}, what in {"books", "both"}
        site.arrive("b.fits")
        site.arrive("c.fits")
        assert disk.met.wait(30)
        told = watch.wait(lambda: site.status().get("state") == "waiting" and site.status())
        assert "full" in told["why"] or "No space left" in told["why"]
        disk.outputs = disk.books = False
        watch.wait_done("a.fits", "b.fits", "c.fits")
        watch.wait(lambda: site.status().get("state") == "watching")
    assert watch.failed() == []
    assert site.lines() == []
    assert caplog.text.count("paused: ") == 1
    assert "going on after" in caplog.text
    assert set(site.plans().values()) == {("skip", "done and still true")}


def test_full_disk_ends_a_single_run(
    folder: Path, out: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ramp(folder / "a.fits")
    FullDisk(monkeypatch).outputs = True
    with pytest.raises(OutputError, match="No space left"):
        watch_folder(folder, output_dir=out, mask=mask, once=True, jobs=1)


@pytest.mark.parametrize("which", ["outputs", "ramps"])
@pytest.mark.parametrize("how", ["gone", "another one"])
def test_folder_that_is_gone(site: Site, folder: Path, out: Path, which: str, how: str) -> None:
    """The watch ends with an error, and nothing is made elsewhere."""
    place = out if which == "outputs" else folder
    with site.watching() as watch:
        site.arrive("a.fits")
        watch.wait_done("a.fits")
        place.rename(out.parent / "moved")
        if how == "another one":
            place.mkdir()
        until(lambda: watch.error is not None)
        error, watch.error = watch.error, None
    assert isinstance(error, OutputError if which == "outputs" else ConfigError)
    assert error.what.startswith("the folder is gone")
    assert error.where == str(place)
    assert not place.exists() or list(place.iterdir()) == []
    (place.rmdir if place.exists() else str)()
    (out.parent / "moved").rename(place)
    assert site.once().skipped == 1


# --- what it says ----------------------------------------------------------------------------


def test_metrics(site: Site, folder: Path, stage: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with site.watching(heartbeat=site.beat, prometheus="0") as watch:
        watch.wait(lambda: site.status().get("state") == "watching")
        site.arrive("a.fits")
        (stage / "bad.fits").write_bytes(b"no FITS file")
        (stage / "bad.fits").rename(folder / "bad.fits")
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


def test_result_of_each_ramp(folder: Path, out: Path, mask: Path) -> None:
    make_ramp(folder / "a.fits")
    words = ("watch", folder, "--output-dir", out, "--mask", mask, "--once", "--json", "-q")
    done = invoke(*words)
    assert done.code == 0, done
    (line,) = done.out.splitlines()
    assert json.loads(line)["output"] == str(out / "a_dqinit.fits")


def test_dry_run(folder: Path, out: Path, mask: Path) -> None:
    make_ramp(folder / "a.fits")
    make_ramp(folder / "b.fits")
    os.truncate(folder / "b.fits", 5760)
    done = invoke("watch", folder, "--output-dir", out, "--mask", mask, "--dry-run")
    assert done.code == 0
    first, second, sums = done.out.splitlines()
    assert first == f"process {folder}/a.fits  (new)"
    assert second.startswith(f"wait    {folder}/b.fits  (at least 8640 bytes are needed")
    assert sums == "1 to process, 1 to wait"
    assert not out.exists()


# --- errors before any work ------------------------------------------------------------------


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
    ],
)
def test_options_that_make_no_sense(
    site: Site,
    folder: Path,
    out: Path,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        watch_folder(folder, output_dir=out, once=True, **options)
    # Nothing is locked by what did not begin.
    assert not out.exists() or site.once(mask="N/A").done == 0


@pytest.mark.parametrize(
    "names", [("s3://bucket/in", "reduced"), ("incoming", "s3://key:secret@bucket/out")]
)
def test_urls(tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "incoming").mkdir()
    with pytest.raises(ConfigError, match="is a URL") as caught:
        watch_folder(names[0], output_dir=names[1], once=True)
    assert "secret" not in str(caught.value)
    done = invoke("watch", names[0], "--output-dir", names[1], "--once")
    assert done.code == 2
    assert "URL" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["incoming"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none/beat.json", "folder"), (".", "is a folder"), ("pipe", "is not a regular file")],
)
def test_heartbeat_that_cannot_be(
    folder: Path, out: Path, mask: Path, name: str, message: str
) -> None:
    """Nor does it replace a device, as /dev/null, which root could replace."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(OutputError, match=message):
        watch_folder(folder, output_dir=out, mask=mask, once=True, heartbeat=folder / name)
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take the right to read a folder away, also from root, who runs tests here and there."""
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path) == str(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_folder_that_cannot_be_read(
    site: Site,
    folder: Path,
    out: Path,
    mask: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A single run says so, and ends; one that stays says so, and goes on when it can."""
    make_ramp(folder / "a.fits")
    with monkeypatch.context() as forbidden:
        forbid(forbidden, folder)
        with pytest.raises(ConfigError, match="cannot be searched: Permission denied"):
            watch_folder(folder, output_dir=out, mask=mask, once=True, jobs=1)
        (prospect,) = plan_watch(folder, output_dir=out, mask=mask)
        assert prospect.reason == "the folder cannot be searched (Permission denied)"
        forbidden.setattr("tmt_dq.watch.options._SEARCH_S", 0.05)
        with site.watching(heartbeat=site.beat) as watch:
            told = watch.wait(lambda: site.status().get("state") == "waiting" and site.status())
            assert told["why"] == f"{folder} cannot be searched: Permission denied"
            forbidden.setattr(os, "scandir", real_scandir)
            watch.wait_done("a.fits")
    assert caplog.text.count("ramps in it are not seen. Check its permissions.") == 2
    caplog.clear()
    below = folder / "below"
    below.mkdir()
    forbid(monkeypatch, below)
    with pytest.raises(ConfigError, match="cannot be searched: Permission denied") as caught:
        watch_folder(folder, output_dir=out, mask=mask, once=True, jobs=1)
    assert caught.value.where == str(below)
    with site.watching() as watch:
        watch.wait(lambda: f"{below} cannot be searched: Permission denied" in caplog.text)


real_scandir = os.scandir


def test_no_such_folder(folder: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        watch_folder(folder / "none", output_dir=out)
    with pytest.raises(ConfigError, match="is not a folder"):
        watch_folder(make_ramp(folder / "a.fits"), output_dir=out)
    with pytest.raises(OutputError, match="the folder cannot be made"):
        watch_folder(folder, output_dir=folder / "a.fits" / "out")
