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
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch_helpers import report_lines, until
from builders import arrays, folder_state, invoke, make_mask, make_ramp
from reference_helpers import make_cache, mapping_text, rmap_text
from tmt_dq import apply_dq, watch_folder
from tmt_dq.batch import plan_batch, worker
from tmt_dq.batch.journal import JOURNAL_NAME, JsonLines
from tmt_dq.batch.records import FileResult, Job
from tmt_dq.batch.settings import make_settings
from tmt_dq.errors import (
    BatchError,
    ConfigError,
    MaskFormatError,
    OutputError,
    RampFormatError,
)
from tmt_dq.files.atomic import AtomicOutput
from tmt_dq.watch import plan_watch
from tmt_dq.watch import worker as work_module
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.events import Events
from tmt_dq.watch.quarantine import LIST_NAME
from tmt_dq.watch.worker import Task, work
from watch_helpers import use_inline_pool, watching


@pytest.fixture(autouse=True)
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    use_inline_pool(monkeypatch)
    for name in ("service._TICK_S", "service._RULES_S", "status._BEAT_S", "events._AGAIN_S"):
        monkeypatch.setattr(f"tmt_dq.watch.{name}", 0.1)
    monkeypatch.setattr("tmt_dq.watch.service._PAUSE_S", 0.05)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return make_mask(tmp_path / "mask.fits")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    path = tmp_path / "stage"
    path.mkdir()
    return path


def arrive(stage: Path, folder: Path, name: str, **options: Any) -> Path:
    """Make a ramp elsewhere, and move it into place."""
    target = folder / name
    make_ramp(stage / name, **options).rename(target)
    return target


def once(folder: Path, out: Path, **options: Any) -> Any:
    with watching(folder, out, once=True, **options) as watch:
        watch.wait(lambda: watch.result)
    return watch.result


def plans(folder: Path, out: Path, **options: Any) -> dict[str, tuple[str, str]]:
    """Return what a batch would do."""
    found = plan_batch([folder], output_dir=out, **options)
    return {Path(plan.input).name: (plan.action, plan.reason) for plan in found}


# --- arrivals --------------------------------------------------------------------------------


def test_same_as_apply(folder: Path, out: Path, mask: Path, stage: Path, tmp_path: Path) -> None:
    make_ramp(folder / "before_uncal.fits")
    with watching(folder, out, mask=mask) as watch:
        watch.wait_done("before_uncal.fits")
        arrive(stage, folder, "moved_uncal.fits")
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
    assert set(plans(folder, out, mask=mask).values()) == {("skip", "done and still true")}


def test_half_written_is_never_read(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    """All pieces of a file, as its writer has it open: nothing is made of any."""
    content = make_ramp(stage / "a.fits", (1, 2, 6, 8), header={"COMPLETE": True}).read_bytes()
    with watching(folder, out, mask=mask, stalled_s=60) as watch:
        with (folder / "a.fits").open("wb", buffering=0) as file:
            for first in range(0, len(content), 960):
                file.write(content[first : first + 960])
                # Each other ramp shows that the watch is not just slow.
                if first % 2880 == 0:
                    name = f"b{first}.fits"
                    arrive(stage, folder, name)
                    watch.wait(lambda name=name: name in watch.done())  # type: ignore[misc]
            assert "a.fits" not in watch.done()
        watch.wait(lambda: "a.fits" in watch.done())
    assert watch.failed() == []
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 2, 6, 8)


def test_folders_that_come_later(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    with watching(folder, out, mask=mask) as watch:
        arrive(stage, folder, "a.fits")
        watch.wait_done("a.fits")
        (folder / "n1" / "n2").mkdir(parents=True)
        arrive(stage, folder / "n1" / "n2", "b.fits")
        (stage / "whole").mkdir()
        make_ramp(stage / "whole" / "c.fits")
        (stage / "whole").rename(folder / "whole")
        watch.wait_done("a.fits", "b.fits", "c.fits")


def test_what_is_not_for_us(folder: Path, mask: Path, stage: Path) -> None:
    """Hidden and temporary files, other files, and the outputs in a folder within the folder."""
    out = folder / "reduced"
    with watching(folder, out, mask=mask) as watch:
        (folder / ".hidden").mkdir()
        for name in (
            *(".a.fits.Xb1", ".a.fits", "a.fits.part", "a.fits.tmp", "a.txt", "a_dqinit.fits"),
            ".hidden/a.fits",
        ):
            shutil.copy(make_ramp(stage / "a.fits"), folder / name)
        (folder / "folder.fits").mkdir()
        arrive(stage, folder, "z.fits")
        watch.wait_done("z.fits")
        watch.control.reload()
        arrive(stage, folder, "zz.fits")
        watch.wait_done("z.fits", "zz.fits")
    assert watch.failed() == []
    assert sorted(path.name for path in out.iterdir()) == [
        JOURNAL_NAME,
        "z_dqinit.fits",
        "zz_dqinit.fits",
    ]


def test_odd_names(
    folder: Path, out: Path, mask: Path, stage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that is no text, one of two lines, a folder named like a ramp, links to folders."""
    (stage / "other").mkdir()
    make_ramp(stage / "other" / "linked.fits")
    (folder / "early").symlink_to(stage / "other")
    with watching(folder, out, mask=mask) as watch:
        arrive(stage, folder, "a.fits")
        watch.wait_done("a.fits")
        make_ramp(stage / "other" / "linked.fits")
        (folder / "link").symlink_to(stage / "other")
        (folder / "loop").symlink_to(folder)
        odd = os.fsdecode(b"bad\xff.fits")
        arrive(stage, folder, odd)
        (folder / "dir.fits").mkdir()
        arrive(stage, folder / "dir.fits", "in.fits")
        (stage / "two").write_text("no FITS file")
        (stage / "two").rename(folder / "two\nlines.fits")
        watch.wait_done("a.fits", odd, "in.fits")
        watch.wait(lambda: len(lines(out)) == 1)
        # The kernel is asked again.
        assert caplog.text.count("file-system events are not available") == 1
        arrive(stage, folder, "z.fits")
        watch.wait_done("a.fits", odd, "in.fits", "z.fits")
    assert watch.failed() == ["two\nlines.fits"]
    (line,) = lines(out)
    assert f"{folder}/two\\nlines.fits: is not a FITS file" in line


@pytest.mark.parametrize("place", [".", ".."])
def test_outputs_beside_or_above_inputs(folder: Path, mask: Path, place: str) -> None:
    (folder / "sub").mkdir()
    make_ramp(folder / "a.fits")
    make_ramp(folder / "sub" / "b.fits")
    for done in (2, 0):
        assert once(folder, folder / place, mask=mask).done == done
    found = sorted(path.name for path in (folder / place).glob("*_dqinit.fits"))
    assert found == ["a_dqinit.fits", "b_dqinit.fits"]


def test_patterns_and_no_recursion(folder: Path, out: Path, mask: Path) -> None:
    (folder / "sub").mkdir()
    for name in ("a_uncal.fits", "b_dark.fits", "c.fits", "sub/d_uncal.fits"):
        make_ramp(folder / name)
    result = once(folder, out, mask=mask, patterns=["*_uncal.fits", "c*"], recursive=False)
    assert result.done == 2
    assert sorted(path.name for path in out.glob("*.fits")) == ["a_dqinit.fits", "c_dqinit.fits"]


@pytest.mark.parametrize("how", ["polling", "nothing told", "refused"])
def test_without_the_kernel(
    folder: Path, out: Path, mask: Path, stage: Path, monkeypatch: pytest.MonkeyPatch, how: str
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
    with watching(folder, out, mask=mask, **options) as watch:
        watch.wait_done("a.fits")
        arrive(stage, folder, "b.fits")
        (folder / "sub").mkdir()
        arrive(stage, folder / "sub", "c.fits")
        watch.wait_done("a.fits", "b.fits", "c.fits")
        make_ramp(folder / "b.fits", (1, 4, 6, 8))
        watch.wait_done("a.fits", "b.fits", "b.fits", "c.fits")
    assert arrays(out / "b_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)


# --- changes ---------------------------------------------------------------------------------


def test_replaced_under_the_same_name(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    with watching(folder, out, mask=mask) as watch:
        arrive(stage, folder, "a.fits")
        watch.wait_done("a.fits")
        arrive(stage, folder, "a.fits", shape=(1, 4, 6, 8))
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
    folder: Path, out: Path, mask: Path, stage: Path, monkeypatch: pytest.MonkeyPatch, how: str
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
    with watching(folder, out, mask=mask, stalled_s=60) as watch:
        arrive(stage, folder, "a.fits")
        watch.wait(begun.is_set)
        (folder / "a.fits").write_bytes(content)
        watch.wait_done("a.fits")
    assert watch.failed() == []
    assert not (out / LIST_NAME).exists()
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 4, 6, 8)


def test_gone_before_it_is_read(
    folder: Path, out: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is taken away with all that waits for a worker: no worker is asked."""
    asked: list[str] = []
    (folder / "sub").mkdir()
    for name in ("a", "sub/b", "sub/c", "d"):
        make_ramp(folder / f"{name}.fits")

    def process(task: Task) -> Any:
        asked.append(Path(task.job.input).name)
        if len(asked) == 1:
            (folder / "sub").rename(folder.parent / "elsewhere")
        return work(task)

    monkeypatch.setattr("tmt_dq.watch.service.work", process)
    result = once(folder, out, mask=mask)
    assert (asked, result.done, result.failed) == (["a.fits", "d.fits"], 2, 0)
    assert (result.unfinished, lines(out)) == ({}, [])


# --- set aside -------------------------------------------------------------------------------


def test_bad_files(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    (stage / "bad.fits").write_bytes(b"no FITS file")
    make_ramp(stage / "cut.fits")
    os.truncate(stage / "cut.fits", 5760)
    make_ramp(stage / "far.fits", start=(4000, 4000))
    (stage / "empty.fits").touch()
    names = ["bad.fits", "cut.fits", "empty.fits", "far.fits"]
    report = out.parent / "report.jsonl"
    with watching(folder, out, mask=mask, report=report) as watch:
        for name in names:
            (stage / name).rename(folder / name)
        before = folder_state(folder)
        watch.wait(lambda: sorted(watch.failed()) == names, watch.failed)
        listed = watch.wait(lambda: len(lines(out)) == 4 and lines(out))
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
        arrive(stage, folder, "cut.fits")
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
    assert plans(folder, out, mask=mask)["far.fits"] == ("process", "failed before: GeometryError")


def lines(out: Path) -> list[str]:
    path = out / LIST_NAME
    return path.read_text().splitlines() if path.exists() else []


def test_permissions_are_changed(
    folder: Path, out: Path, mask: Path, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ramp that nobody may read is tried again when that changes: its content never does."""
    real, locked = worker.process, [True]

    def process(job: Job, progress: Any, **settings: Any) -> Any:
        if not locked:
            return real(job, progress, **settings)
        error = RampFormatError("cannot be read: Permission denied", where=job.input)
        return FileResult.failure(job, error)

    monkeypatch.setattr(work_module, "process", process)
    monkeypatch.setattr("tmt_dq.watch.options._SEARCH_S", 0.05)
    with watching(folder, out, mask=mask) as watch:
        ramp = arrive(stage, folder, "a.fits")
        watch.wait(lambda: len(lines(out)) == 1)
        assert "Permission denied" in lines(out)[0]
        locked.clear()
        ramp.chmod(0o640)
        watch.wait_done("a.fits")
        watch.wait(lambda: lines(out) == [])


def test_two_ramps_with_one_output(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    (folder / "sub").mkdir()
    report = out.parent / "report.jsonl"
    with watching(folder, out, mask=mask, report=report) as watch:
        arrive(stage, folder, "a.fits", shape=(1, 3, 6, 8))
        watch.wait_done("a.fits")
        arrive(stage, folder / "sub", "a.fits", shape=(1, 4, 6, 8))
        arrive(stage, folder, "a_uncal.fits", shape=(1, 5, 6, 8))
        watch.wait(lambda: len(lines(out)) == 2, lambda: lines(out))
    assert all(f"{folder}/a.fits: its output {out}/a" in line for line in lines(out))
    assert (watch.done(), sorted(watch.failed())) == (["a.fits"], ["a.fits", "a_uncal.fits"])
    assert sorted(one["status"] for one in report_lines(report)) == ["done", "failed", "failed"]
    assert arrays(out / "a_dqinit.fits")["SCI"].shape == (1, 3, 6, 8)


def test_same_time_and_size(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    """Two detectors, one name, times in whole seconds: the second is no moved first one."""
    (folder / "sub").mkdir()
    ramps = [make_ramp(folder / "a.fits"), make_ramp(folder / "sub" / "a.fits")]
    for ramp in ramps:
        os.utime(ramp, (1e9, 1e9))
    with watching(folder, out, mask=mask) as watch:
        watch.wait(lambda: len(lines(out)) == 1)
        assert watch.done() == ["a.fits"]
        # It is a moved one after all, by a copy: then there is nothing to do.
        ramps[0].unlink()
        watch.control.reload()
        watch.wait(lambda: lines(out) == [])
        # Nor is there where it is moved again.
        ramps[1].rename(folder / "a.fits")
        arrive(stage, folder, "b.fits")
        watch.wait_done("a.fits", "b.fits")
    assert lines(out) == []


def test_outputs_of_others(folder: Path, out: Path, mask: Path) -> None:
    make_ramp(folder / "a.fits")
    out.mkdir()
    (out / "a_dqinit.fits").write_text("mine")
    result = once(folder, out, mask=mask)
    assert (result.done, result.failed) == (0, 1)
    assert (
        f"/a.fits: {out}/a_dqinit.fits: already exists and was not written by this batch"
        in lines(out)[0]
    )
    assert "or use --overwrite" in lines(out)[0]
    assert (out / "a_dqinit.fits").read_text() == "mine"
    with watching(folder, out, mask=mask) as watch:
        watch.wait(lambda: watch.failed() == ["a.fits"])
        (out / "a_dqinit.fits").rename(out / "mine")
        watch.control.reload()
        watch.wait_done("a.fits")
    (out / "mine").rename(out / "a_dqinit.fits")
    assert once(folder, out, mask=mask, overwrite=True, redo=True).done == 1


# --- going on --------------------------------------------------------------------------------


def test_restart_catches_up(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    for name in ("a.fits", "b.fits"):
        make_ramp(folder / name)
    assert once(folder, out, mask=mask).done == 2
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*.fits")}
    make_ramp(folder / "c.fits")
    arrive(stage, folder, "b.fits", shape=(1, 4, 6, 8))
    with watching(folder, out, mask=mask) as watch:
        watch.wait_done("b.fits", "c.fits")
        watch.wait(lambda: True)
    assert watch.result is not None
    assert watch.result.skipped == 1
    assert (out / "a_dqinit.fits").stat().st_mtime_ns == stamps[out / "a_dqinit.fits"]
    # What a batch has done is not done again either.
    assert once(folder, out, mask=mask).skipped == 3


def test_what_is_done_stays_so(folder: Path, out: Path, mask: Path) -> None:
    """Neither an output that the next step moved away nor other options begin a night anew."""
    make_ramp(folder / "a.fits")
    once(folder, out, mask=mask)
    (out / "a_dqinit.fits").unlink()
    assert (once(folder, out, mask=mask).done, (out / "a_dqinit.fits").exists()) == (0, False)
    for options in ({}, {"propagate_do_not_use": True}):
        (plan,) = plan_watch(folder, output_dir=out, mask=mask, **options)
        assert plan.action == "skip"
        assert once(folder, out, mask=mask, **options).done == 0
        assert once(folder, out, mask=mask, redo=True, **options).done == 1
        assert once(folder, out, mask=mask, redo=True, **options).done == 0
    (plan,) = plan_watch(folder, output_dir=out, mask=mask)
    assert plan.reason == "done; a batch would do it again: parameters changed"


def test_incomplete_is_left_once(folder: Path, out: Path, mask: Path) -> None:
    make_ramp(folder / "a.fits")
    make_ramp(folder / "b.fits")
    os.truncate(folder / "b.fits", 5760)
    with (folder / "c.fits").open("wb"):
        result = once(folder, out, mask=mask, stalled_s=60)
    assert (result.done, result.failed) == (1, 0)
    assert {Path(path).name: why.split(",")[0] for path, why in result.unfinished.items()} == {
        "b.fits": "at least 8640 bytes are needed",
        "c.fits": "it is empty",
    }


def test_two_watches(folder: Path, out: Path, mask: Path) -> None:
    with watching(folder, out, mask=mask):
        until((out / JOURNAL_NAME).exists)
        with pytest.raises(OutputError, match="is at work in this folder"):
            watch_folder(folder, output_dir=out, mask=mask, once=True)
    assert once(folder, out, mask=mask).done == 0


# --- rules -----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Make a CRDS cache with one mask of 6 x 8 pixels, for 2015 and later."""
    root = make_cache(tmp_path / "cache")
    references = root / "references" / "tmt" / "iris"
    make_mask(references / "tmt_iris_mask_0001.fits")
    make_mask(references / "tmt_iris_mask_0002.fits", np.full((6, 8), 2048, np.uint32))
    return root


def deliver(cache: Path) -> None:
    """Add rules that choose another mask, and one for the nineties; the context is last."""
    mappings = cache / "mappings" / "tmt"
    rules = {
        ("IRIS1", "GENERIC"): {
            "1990-01-01 00:00:00": "tmt_iris_mask_0001.fits",
            "2015-10-01 00:00:00": "tmt_iris_mask_0002.fits",
        }
    }
    name = "tmt_iris_mask_0002.rmap"
    (mappings / name).write_text(rmap_text(rules, name=name))
    common = {"derived_from": "NONE", "observatory": "TMT"}
    header: dict[str, Any] = {**common, "mapping": "INSTRUMENT", "instrument": "IRIS"}
    header |= {"name": "tmt_iris_0002.imap", "parkey": ("REFTYPE",)}
    (mappings / "tmt_iris_0002.imap").write_text(mapping_text(header, f"{{'MASK' : {name!r}}}"))
    header = {**common, "mapping": "PIPELINE", "name": "tmt_0002.pmap"}
    header["parkey"] = ("META.INSTRUMENT.NAME",)
    text = mapping_text(header, "{'IRIS' : 'tmt_iris_0002.imap'}")
    (mappings / ".new").write_text(text)
    (mappings / ".new").rename(mappings / "tmt_0002.pmap")


def test_new_context(
    folder: Path, out: Path, cache: Path, stage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = cache / "references" / "tmt" / "iris" / "tmt_iris_mask_0002.fits"
    late.rename(stage / "late")
    with watching(folder, out, crds_path=cache) as watch:
        arrive(stage, folder, "a.fits")
        arrive(stage, folder, "old.fits", header={"DATE-OBS": "1999-01-01"})
        watch.wait(lambda: (watch.done(), watch.failed()) == (["a.fits"], ["old.fits"]))
        deliver(cache)
        arrive(stage, folder, "b.fits")
        # The rules of the moment count for each ramp, and what had no rule is tried again.
        watch.wait_done("a.fits", "old.fits")
        # The mask comes after the rules that choose it: what it is for is tried again on request.
        watch.wait(lambda: "b.fits" in watch.failed() and "0002.pmap from now" in caplog.text)
        (stage / "late").rename(late)
        watch.control.reload()
        watch.wait_done("a.fits", "b.fits", "old.fits")
    assert "the rules are tmt_0002.pmap from now on" in caplog.text
    found = {
        Path(one.input).name: (one.context, one.mask) for one in watch.results if not one.error
    }
    assert found == {
        "a.fits": ("tmt_0001.pmap", "crds://tmt_iris_mask_0001.fits"),
        "b.fits": ("tmt_0002.pmap", "crds://tmt_iris_mask_0002.fits"),
        "old.fits": ("tmt_0002.pmap", "crds://tmt_iris_mask_0001.fits"),
    }
    assert arrays(out / "b_dqinit.fits")["PIXELDQ"].max() == 2048
    assert plans(folder, out, crds_path=cache) == {
        "a.fits": ("process", "rules changed"),
        "b.fits": ("skip", "done and still true"),
        "old.fits": ("skip", "done and still true"),
    }


def test_mask_that_is_replaced(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    """Another mask under the name of --mask is used from then on, and tried on what failed."""
    make_mask(mask, start=(100, 100))
    with watching(folder, out, mask=mask) as watch:
        arrive(stage, folder, "a.fits")
        watch.wait(lambda: watch.failed() == ["a.fits"])
        make_mask(stage / "new.fits").replace(mask)
        watch.wait_done("a.fits")


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
    folder: Path,
    out: Path,
    mask: Path,
    stage: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    disk = FullDisk(monkeypatch)
    caplog.set_level(logging.INFO, "tmt_dq.watch")
    beat = out.parent / "beat.json"
    with watching(folder, out, mask=mask, heartbeat=beat) as watch:
        arrive(stage, folder, "a.fits")
        watch.wait_done("a.fits")
        disk.outputs, disk.books = what in {"outputs", "both"}, what in {"books", "both"}
        arrive(stage, folder, "b.fits")
        arrive(stage, folder, "c.fits")
        assert disk.met.wait(30)
        told = watch.wait(lambda: read_beat(beat).get("state") == "waiting" and read_beat(beat))
        assert "full" in told["why"] or "No space left" in told["why"]
        disk.outputs = disk.books = False
        watch.wait_done("a.fits", "b.fits", "c.fits")
        watch.wait(lambda: read_beat(beat).get("state") == "watching")
    assert watch.failed() == []
    assert lines(out) == []
    assert caplog.text.count("paused: ") == 1
    assert "going on after" in caplog.text
    assert set(plans(folder, out, mask=mask).values()) == {("skip", "done and still true")}


def test_full_disk_ends_a_single_run(
    folder: Path, out: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ramp(folder / "a.fits")
    FullDisk(monkeypatch).outputs = True
    with pytest.raises(OutputError, match="No space left"):
        watch_folder(folder, output_dir=out, mask=mask, once=True, jobs=1)


def read_beat(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


@pytest.mark.parametrize("which", ["outputs", "ramps"])
@pytest.mark.parametrize("how", ["gone", "another one"])
def test_folder_that_is_gone(
    folder: Path, out: Path, mask: Path, stage: Path, which: str, how: str
) -> None:
    """The watch ends with an error, and nothing is made elsewhere."""
    place = out if which == "outputs" else folder
    with watching(folder, out, mask=mask) as watch:
        arrive(stage, folder, "a.fits")
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
    assert once(folder, out, mask=mask).skipped == 1


# --- what it says ----------------------------------------------------------------------------


def test_metrics(folder: Path, out: Path, mask: Path, stage: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    beat = out.parent / "beat.json"
    with watching(folder, out, mask=mask, heartbeat=beat, prometheus="0") as watch:
        watch.wait(lambda: read_beat(beat).get("state") == "watching")
        arrive(stage, folder, "a.fits")
        (stage / "bad.fits").write_bytes(b"no FITS file")
        (stage / "bad.fits").rename(folder / "bad.fits")
        watch.wait(lambda: (watch.done(), watch.failed()) == (["a.fits"], ["bad.fits"]))
        url = read_beat(beat)["metrics"]
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
        status = watch.wait(lambda: (s := read_beat(beat))["files"]["failed"] == 1 and s)
    assert found["tmt_dq_watch_files_total[done]"] == 1
    assert found["tmt_dq_watch_files_total[failed]"] == 1
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert found["tmt_dq_watch_bytes_total"] == size
    assert found["tmt_dq_watch_latency_seconds_count"] == 2
    assert found["tmt_dq_watch_state[watching]"] == 1
    assert status["pid"] == os.getpid()
    assert (status["bytes"], status["errors"]) == (size, {"RampFormatError": 1})
    # The last word is there to be read, and nobody listens any more.
    assert read_beat(beat)["state"] == "stopped"
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
    folder: Path, out: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        watch_folder(folder, output_dir=out, once=True, **options)
    # Nothing is locked by what did not begin.
    assert not out.exists() or once(folder, out, mask="N/A").done == 0


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
    folder: Path,
    out: Path,
    mask: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A single run says so, and ends; one that stays says so, and goes on when it can."""
    make_ramp(folder / "a.fits")
    beat = out.parent / "beat.json"
    with monkeypatch.context() as forbidden:
        forbid(forbidden, folder)
        with pytest.raises(ConfigError, match="cannot be searched: Permission denied"):
            watch_folder(folder, output_dir=out, mask=mask, once=True, jobs=1)
        (prospect,) = plan_watch(folder, output_dir=out, mask=mask)
        assert prospect.reason == "the folder cannot be searched (Permission denied)"
        forbidden.setattr("tmt_dq.watch.options._SEARCH_S", 0.05)
        with watching(folder, out, mask=mask, heartbeat=beat) as watch:
            told = watch.wait(lambda: read_beat(beat).get("state") == "waiting" and read_beat(beat))
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
    with watching(folder, out, mask=mask) as watch:
        watch.wait(lambda: f"{below} cannot be searched: Permission denied" in caplog.text)


real_scandir = os.scandir


def test_no_such_folder(folder: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        watch_folder(folder / "none", output_dir=out)
    with pytest.raises(ConfigError, match="is not a folder"):
        watch_folder(make_ramp(folder / "a.fits"), output_dir=out)
    with pytest.raises(OutputError, match="the folder cannot be made"):
        watch_folder(folder, output_dir=folder / "a.fits" / "out")
