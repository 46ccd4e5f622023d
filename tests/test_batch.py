"""A batch: independence of files, what is done again and what is not, the report."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import builders
from batch_helpers import night, report_lines, run, statuses
from builders import arrays, folder_state, invoke, make_mask, make_ramp
from reference_helpers import make_cache
from tmt_dq import apply_dq
from tmt_dq.batch import plan_batch, serial, settings
from tmt_dq.batch.journal import JOURNAL_NAME, JsonLines
from tmt_dq.errors import BatchError, ConfigError, MaskFormatError, OutputError, SelectionError


def reasons(folder: Path, out: Path, **options: Any) -> dict[str, tuple[str, str]]:
    plans = plan_batch([folder], output_dir=out, **options)
    return {Path(plan.input).name: (plan.action, plan.reason) for plan in plans}


def test_same_as_apply(folder: Path, out: Path, mask: Path, tmp_path: Path) -> None:
    ramps = night(folder, 3)
    before = folder_state(folder)
    result, results = run([folder], out, mask=mask)
    assert (result.done, result.skipped, result.failed, result.total) == (3, 0, 0, 3)
    for ramp in ramps:
        expected = arrays(apply_dq(ramp, tmp_path / "one.fits", mask=mask, overwrite=True).output)
        found = arrays(Path(results[ramp.name].output))
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
    assert result.counts == {"GOOD": 138, "DO_NOT_USE": 3, "DEAD": 3, "HOT": 3}
    assert result.masks == {str(mask): 3}
    assert result.size == sum(ramp.stat().st_size for ramp in ramps)
    assert folder_state(folder) == before
    result.raise_failures()


def test_bad_files_among_good(
    folder: Path, out: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes(ramp: Any, *arguments: Any, **options: Any) -> Any:
        if "bug" in str(ramp):
            raise ZeroDivisionError("oops")
        return apply_dq(ramp, *arguments, **options)

    monkeypatch.setattr("tmt_dq.apply.apply.apply_dq", sometimes)
    night(folder, 3)
    make_ramp(folder / "bug.fits")
    (folder / "a_not.fits").write_bytes(b"no FITS file at all")
    make_ramp(folder / "b_cut.fits")
    os.truncate(folder / "b_cut.fits", 5000)
    (folder / "c_link.fits").symlink_to(folder / "nowhere.fits")
    make_ramp(folder / "d_far.fits", start=(4000, 4000))
    (folder / "e_empty.fits").touch()
    result, results = run([folder], out, mask=mask)
    assert (result.done, result.failed) == (3, 6)
    assert sorted(path.name for path in out.iterdir()) == [
        JOURNAL_NAME,
        *(f"iris_{number:04}_dqinit.fits" for number in range(3)),
    ]
    assert results["a_not.fits"].error_class == "RampFormatError"
    assert results["d_far.fits"].error_class == "GeometryError"
    assert "Traceback" in str(results["bug.fits"].error)
    assert result.failures == {"RampFormatError": 4, "GeometryError": 1, "ZeroDivisionError": 1}
    with pytest.raises(BatchError, match="6 of 9 exposures failed") as caught:
        result.raise_failures()
    assert all(str(folder) in str(error) for error in caught.value.exceptions)


def test_rules_choose_the_masks(folder: Path, out: Path) -> None:
    for number in (1, 2):
        make_ramp(folder / f"{number}.fits", header={"DETECTOR": f"IRIS{number}"})
    result, results = run([folder], out)
    result.raise_failures()
    assert set(result.masks) == {"crds://tmt_iris_mask_0101.fits", "crds://tmt_iris_mask_0102.fits"}
    assert {one.context for one in results.values()} == {"tmt_0100.pmap"}
    assert run([folder], out)[0].skipped == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": "no_mask.fits"}, MaskFormatError, "cannot be read: No such file"),
        ({"user_dq": "no_flags.fits"}, MaskFormatError, "cannot be read: No such file"),
        ({"crds_path": "no_cache"}, ConfigError, "no folder"),
        ({"context": "tmt_9999.pmap"}, SelectionError, "not in the cache"),
        ({"context": "nonsense"}, ConfigError, "not a context"),
        ({"recipe": {"tea": 1}}, ConfigError, "a recipe has no tea"),
        ({"mapper": None, "jobs": 0}, ConfigError, "expected at least 1"),
    ],
)
def test_options_that_make_no_sense(
    folder: Path, out: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    night(folder, 1)
    with pytest.raises(error, match=message):
        run([folder], out, **options)
    assert not out.exists() or list(out.iterdir()) == []


def test_unwritable_folder(folder: Path, tmp_path: Path, mask: Path) -> None:
    night(folder, 1)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="the folder cannot be made"):
        run([folder], file / "out", mask=mask)


def test_report_does_not_overwrite_a_ramp(folder: Path, out: Path, mask: Path) -> None:
    (ramp,) = night(folder, 1)
    before = ramp.read_bytes()
    with pytest.raises(OutputError, match="does not hold JSON lines"):
        run([folder], out, mask=mask, report=ramp)
    assert ramp.read_bytes() == before
    with pytest.raises(OutputError, match="cannot be written"):
        run([folder], out, mask=mask, report=folder / "none" / "report.jsonl")


def test_two_batches_in_one_folder(folder: Path, out: Path, mask: Path) -> None:
    night(folder, 1)
    out.mkdir()
    at_work = "another batch or watch is at work"
    locked = contextlib.closing(JsonLines(out / JOURNAL_NAME, lock=True))
    with locked, pytest.raises(OutputError, match=at_work):
        run([folder], out, mask=mask)
    assert run([folder], out, mask=mask)[0].done == 1


def test_what_is_done_is_skipped(folder: Path, out: Path, mask: Path) -> None:
    night(folder, 3)
    run([folder], out, mask=mask)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.fits")}
    result, results = run([folder], out, mask=mask)
    assert (result.done, result.skipped) == (0, 3)
    assert {one.reason for one in results.values()} == {"done and still true"}
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.fits")} == before
    # Options that change nothing in the output do not count.
    assert run([folder], out, mask=mask, sync=False)[0].skipped == 3


def test_changed_input_and_missing_output(folder: Path, out: Path, mask: Path) -> None:
    ramps = night(folder, 3)
    run([folder], out, mask=mask)
    make_ramp(ramps[1], (1, 4, 6, 8))
    (out / "iris_0002_dqinit.fits").unlink()
    assert reasons(folder, out, mask=mask) == {
        ramps[0].name: ("skip", "done and still true"),
        ramps[1].name: ("process", "input changed"),
        ramps[2].name: ("process", "output missing"),
    }
    result, results = run([folder], out, mask=mask)
    assert (result.done, result.skipped) == (2, 1)
    assert arrays(Path(results[ramps[1].name].output))["SCI"].shape == (1, 4, 6, 8)


@pytest.mark.parametrize("name", ["mask", "user_dq"])
def test_changed_flags_are_applied(folder: Path, out: Path, tmp_path: Path, name: str) -> None:
    night(folder, 2)
    options: dict[str, Any] = {"mask": "N/A", name: make_mask(tmp_path / "flags.fits")}
    run([folder], out, **options)
    assert run([folder], out, **options)[0].skipped == 2
    dq = np.full((6, 8), builders.CONVENTION["DEAD"], np.uint32)
    make_mask(tmp_path / "flags.fits", dq)
    assert set(reasons(folder, out, **options).values()) == {("process", "flags.fits changed")}
    _, results = run([folder], out, **options)
    for one in results.values():
        assert one.status == "done"
        assert (arrays(Path(one.output))["PIXELDQ"] & dq == dq).all()


@pytest.mark.parametrize(
    "options", [{"propagate_do_not_use": True}, {"unknown": "drop"}, {"recipe": {"full_scale": 50}}]
)
def test_changed_parameters(folder: Path, out: Path, mask: Path, options: dict[str, Any]) -> None:
    night(folder, 1)
    run([folder], out, mask=mask)
    assert set(reasons(folder, out, mask=mask, **options).values()) == {
        ("process", "parameters changed")
    }
    assert run([folder], out, mask=mask, **options)[0].done == 1
    assert run([folder], out, mask=mask, **options)[0].skipped == 1


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Make a CRDS cache with one mask of 6 x 8 pixels."""
    root = make_cache(tmp_path / "cache")
    make_mask(root / "references" / "tmt" / "iris" / "tmt_iris_mask_0001.fits")
    return root


def add_context(cache: Path) -> None:
    text = (cache / "mappings" / "tmt" / "tmt_0001.pmap").read_text()
    (cache / "mappings" / "tmt" / "tmt_0002.pmap").write_text(text)


def test_other_rules(folder: Path, out: Path, cache: Path) -> None:
    """Also where no rule matched."""
    night(folder, 1)
    make_ramp(folder / "none.fits", header={"DATE-OBS": "1999-01-01"})
    options: dict[str, Any] = {"crds_path": cache, "if_no_mask": "skip"}
    _, results = run([folder], out, **options)
    assert results["none.fits"].s_dqinit == "SKIPPED"
    assert set(reasons(folder, out, **options).values()) == {("skip", "done and still true")}
    add_context(cache)
    assert set(reasons(folder, out, **options).values()) == {("process", "rules changed")}
    # The older context is still there: what was made with it is still true with it.
    assert set(reasons(folder, out, context="tmt_0001.pmap", **options).values()) == {
        ("skip", "done and still true")
    }


def test_files_of_others_are_not_replaced(folder: Path, out: Path, mask: Path) -> None:
    ramps = night(folder, 3)
    out.mkdir()
    theirs = out / "iris_0000_dqinit.fits"
    theirs.write_text("mine")
    applied = apply_dq(ramps[1], output_dir=out, mask=mask).output
    stamp = applied.stat().st_mtime_ns
    for _ in range(2):  # no more so the second time
        result, results = run([folder], out, mask=mask)
        assert result.failed == 2
        assert results[ramps[0].name].error_class == "OutputError"
        assert "was not written by this batch" in str(results[ramps[0].name].error)
        assert theirs.read_text() == "mine"
        assert applied.stat().st_mtime_ns == stamp
    assert reasons(folder, out, mask=mask)[ramps[0].name] == ("refuse", "output exists")
    result, _ = run([folder], out, mask=mask, overwrite=True)
    assert (result.done, result.skipped, result.failed) == (2, 1, 0)
    # One of ours that someone changed is theirs.
    with theirs.open("ab") as file:
        file.write(b" " * 2880)
    assert run([folder], out, mask=mask)[0].failed == 1
    assert theirs.read_bytes().endswith(b" " * 2880)


def test_failed_is_done_again(folder: Path, out: Path, mask: Path) -> None:
    ramps = night(folder, 3)
    good = ramps[1].read_bytes()
    run(ramps[1], out, mask=mask)
    ramps[1].write_bytes(b"damaged on its way")
    for _ in range(2):
        assert run([folder], out, mask=mask)[0].failed == 1
    # What was made of the good file is still there, and is replaced when there is a better one.
    assert (out / "iris_0001_dqinit.fits").exists()
    ramps[1].write_bytes(good)
    make_ramp(folder / "new.fits")
    assert reasons(folder, out, mask=mask, retry_failed=True) == {
        ramps[0].name: ("skip", "did not fail"),
        ramps[1].name: ("process", "failed before: RampFormatError"),
        ramps[2].name: ("skip", "did not fail"),
        "new.fits": ("skip", "did not fail"),
    }
    result, _ = run([folder], out, mask=mask, retry_failed=True)
    assert (result.done, result.skipped, result.failed) == (1, 3, 0)
    assert not (out / "new_dqinit.fits").exists()
    assert run([folder], out, mask=mask)[0].done == 1


@pytest.mark.parametrize("killed", ["before the output", "after the output"])
def test_interrupted_is_done_again(folder: Path, out: Path, mask: Path, killed: str) -> None:
    """The process is gone between the output and the line that says so, or before both."""
    ramps = night(folder, 3)

    def dies(work: Any, todo: Any) -> Any:
        for number, job in enumerate(todo):
            if number == 1:
                if killed == "after the output":
                    work(job)
                raise KeyboardInterrupt
            yield job, work(job)

    with pytest.raises(KeyboardInterrupt):
        run([folder], out, mask=mask, mapper=dies)
    assert (out / "iris_0001_dqinit.fits").exists() == (killed == "after the output")
    assert reasons(folder, out, mask=mask)[ramps[1].name] == ("process", "interrupted")
    result, _ = run([folder], out, mask=mask)
    assert (result.done, result.skipped, result.failed) == (2, 1, 0)


def test_interrupted_leaves_strangers_alone(folder: Path, out: Path, mask: Path) -> None:
    night(folder, 2)

    def dies(work: Any, todo: Any) -> Any:
        next(iter(todo))
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        run([folder], out, mask=mask, mapper=dies)
    (out / "iris_0001_dqinit.fits").write_text("not an output of tmt-dq")
    leftover = out / ".iris_0000_dqinit.fits.01234567.part"
    leftover.touch()
    result, results = run([folder], out, mask=mask)
    assert (result.done, result.failed) == (1, 1)
    assert results["iris_0001_uncal.fits"].error_class == "OutputError"
    assert not leftover.exists()


DAMAGED = {
    "half a state": '{"done":"NAME","input":"x","in":[5],"out":[1,2]}',
    "cut short": '{"done":"NAME","inp',
    "endless": '{"done":"NAME","input":"x","in":[Infinity,1]}',
    "no text": '{"done":"NAME","input":"x","terms":[1],"sha256":{}}',
    "deep": "[" * 100_000,
    "no name": '{"done":"x"}',
    "no object": "[1]",
    "names": '{"begin":3}',
    "terms": '{"version":1,"terms":"t"}',
    "rules": '{"version":"1","terms":"t","parameters":"","rules":[["a"]],"references":[]}',
    "references": '{"version":"1","terms":"t","parameters":"","rules":[],"references":[[1e999]]}',
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_damaged_line_in_the_journal(folder: Path, out: Path, mask: Path, line: str) -> None:
    """It says nothing, or that its own exposure is to be done again."""
    night(folder, 2)
    run([folder], out, mask=mask)
    with (out / JOURNAL_NAME).open("a") as file:
        file.write(line.replace("NAME", "iris_0000_dqinit.fits") + "\n")
    result, results = run([folder], out, mask=mask, overwrite=True)
    assert result.failed == 0
    assert results["iris_0001_uncal.fits"].status == "skipped"
    assert run([folder], out, mask=mask)[0].skipped == 2


def test_journal_of_version_0_1_0(
    folder: Path, out: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines, as that version wrote them, are understood; its outputs are made again."""
    (ramp,) = night(folder, 1)
    run([folder], out, mask=mask)
    ramp_state, output_state, mask_state = (
        [path.stat().st_size, path.stat().st_mtime_ns]
        for path in (ramp, out / "iris_0000_dqinit.fits", mask)
    )
    name, key, parameters = "iris_0000_dqinit.fits", "0011223344556677", {"mask": str(mask)}
    terms = {"version": "0.1.0", "parameters": json.dumps(parameters), "rules": []}
    lines: list[dict[str, Any]] = [
        {"folder": "0123456789abcdef", "format": 1},
        {"begin": [name]},
        {"terms": key, **terms, "references": [[str(mask), *mask_state]]},
        {"done": name, "input": str(ramp), "in": ramp_state, "out": output_state, "terms": key},
    ]
    (out / JOURNAL_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with monkeypatch.context() as older:
        older.setattr(settings, "__version__", "0.1.0")
        assert reasons(folder, out, mask=mask)[ramp.name] == ("skip", "done and still true")
    why = "made by version 0.1.0"
    assert reasons(folder, out, mask=mask)[ramp.name] == ("process", why)
    shown = invoke("batch", folder, "--output-dir", out, "--mask", mask, "--dry-run")
    assert f"({why})" in shown.out
    assert run([folder], out, mask=mask)[0].done == 1
    assert run([folder], out, mask=mask)[0].skipped == 1


def test_checksum_knows_a_copy(folder: Path, out: Path, mask: Path) -> None:
    ramps = night(folder, 2)
    run([folder], out, mask=mask, checksum=True)
    assert run([folder], out, mask=mask, checksum=True)[0].skipped == 2
    os.utime(ramps[0])  # copied anew: another time, the same content
    stamp = ramps[1].stat().st_mtime_ns
    content = bytearray(ramps[1].read_bytes())
    content[-2880] ^= 1  # the same size and time, another content
    ramps[1].write_bytes(content)
    os.utime(ramps[1], ns=(stamp, stamp))
    assert reasons(folder, out, mask=mask)[ramps[1].name] == ("skip", "done and still true")
    _, results = run([folder], out, mask=mask, checksum=True)
    assert statuses(results) == {ramps[0].name: "skipped", ramps[1].name: "done"}
    assert run([folder], out, mask=mask)[0].skipped == 2


def test_report(folder: Path, out: Path, mask: Path, tmp_path: Path) -> None:
    ramps = night(folder, 2)
    (folder / "z.fits").write_bytes(b"bad")
    report = tmp_path / "night.jsonl"
    seen = []

    def watching(work: Any, todo: Any) -> Any:
        for pair in serial(work, todo):
            yield pair
            # Whole lines, readable while the batch runs.
            seen.append(len(report_lines(report)))

    run([folder], out, mask=mask, report=report, mapper=watching)
    assert seen == [1, 2, 3]
    first, _, bad = report_lines(report)
    assert first.pop("seconds") > 0
    assert first.pop("worker").endswith(f":{os.getpid()}")
    assert first == {
        "input": str(ramps[0]),
        "output": str(out / "iris_0000_dqinit.fits"),
        "status": "done",
        "s_dqinit": "COMPLETE",
        "mask": str(mask),
        "mask_path": str(mask),
        "counts": {"GOOD": 46, "DO_NOT_USE": 1, "DEAD": 1, "HOT": 1},
        "bytes": ramps[0].stat().st_size,
    }
    assert (bad["status"], bad["error"]) == ("failed", "RampFormatError")
    assert "not a FITS file" in bad["message"]
    assert "counts" not in bad
    with report.open("a") as file:
        file.write('{"cut short')
    run([folder], out, mask=mask, report=report)
    lines = report.read_text().splitlines()
    assert lines[3] == '{"cut short'
    assert [json.loads(line)["status"] for line in lines[4:]] == ["skipped", "skipped", "failed"]


def test_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.jsonl"
    lines = JsonLines(path)
    lines.append({"a": 1})
    with monkeypatch.context() as full:
        real = os.write
        full.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
        with pytest.raises(OutputError, match="the disk is full"):
            lines.append({"b": 2})
    lines.append({"c": 3})
    lines.close()
    assert path.read_text() == '{"a":1}\n{"c":3}\n'


def test_command(folder: Path, out: Path, mask: Path, tmp_path: Path) -> None:
    night(folder, 2)
    (folder / "z.fits").write_bytes(b"bad")
    words = ["batch", folder, "--output-dir", out, "--mask", mask, "--jobs", 1]
    outcome = invoke(*words, "--dry-run", code=0)
    assert f"process {folder / 'z.fits'}  (new)" in outcome.out
    assert "3 to process" in outcome.out
    assert not out.exists()
    outcome = invoke(*words, "--report", tmp_path / "r.jsonl", code=9)
    assert outcome.out.startswith("2 done, 0 skipped, 1 failed in ")
    rows = [line.split() for line in outcome.out.splitlines()]
    for row in (["mask", "ramps"], [str(mask), "2"], ["HOT", "2"], ["RampFormatError", "1"]):
        assert row in rows
    assert f"Error: {folder / 'z.fits'}: is not a FITS file" in outcome.err
    assert outcome.err.endswith("Error: 1 of 3 exposures failed\n")
    assert len(report_lines(tmp_path / "r.jsonl")) == 3
    (folder / "z.fits").unlink()
    outcome = invoke(*words, "--json", code=0)
    assert outcome.err == ""
    summary = json.loads(outcome.out)
    assert (summary["total"], summary["skipped"], summary["failures"]) == (2, 2, {})
    assert invoke(*words, "-q") == type(outcome)(0, "", "")
    plans = json.loads(invoke(*words, "--dry-run", "--json").out)["plans"]
    assert [plan["action"] for plan in plans] == ["skip", "skip"]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a worker takes seconds."""
    monkeypatch.setattr("tmt_dq.batch.run.Processes", lambda *_, **__: serial)


@pytest.mark.usefixtures("in_this_process")
def test_command_takes_the_options_of_apply(folder: Path, out: Path, mask: Path) -> None:
    (ramp,) = night(folder, 1)
    (folder / "user.txt").write_text("x y\n3 2\n")
    outcome = invoke(
        *("batch", ramp, "--output-dir", out, "--mask", mask, "--jobs", 1, "-q"),
        *("--user-dq", folder / "user.txt", "--user-flag", "WARM", "--user-base", 1),
        *("--propagate-do-not-use", "--full-scale", 140),
    )
    assert (outcome.code, outcome.err) == (0, "")
    found = arrays(out / "iris_0000_dqinit.fits")
    assert found["PIXELDQ"][1, 2] == builders.CONVENTION["WARM"]
    assert found["GROUPDQ"][0, 0, 2, 3] == builders.CONVENTION["DO_NOT_USE"]
    assert found["GROUPDQ"][0, 2, 5, 7] == builders.CONVENTION["SATURATED"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.fits"], "Missing option '--output-dir'"),
        (["--output-dir", "o"], "Missing argument 'INPUT...'"),
        (["a.fits", "--output-dir", "o", "--jobs", "0"], "0 is not in the range"),
        (
            ["a.fits", "--output-dir", "o", "--jobs", "2", "--scheduler", "tcp://a:1"],
            "expected one",
        ),
        (["/n1/a.fits", "/n2/a.fits", "--output-dir", "o"], "the same output"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    outcome = invoke("batch", *words, code=2)
    assert message in outcome.err
    assert not Path("o").exists()


def test_list_without_its_sign(folder: Path, out: Path, mask: Path) -> None:
    listing = folder / "list.txt"
    listing.write_text("a_uncal.fits\nb_uncal.fits\n")
    _, results = run([listing], out, mask=mask)
    assert "lists of ramps by tmt-dq batch @LIST" in str(results["list.txt"].error)


def test_a_batch_starts_its_workers_before_it_imports_what_they_need() -> None:
    code = (
        "import sys, tmt_dq.batch.run, tmt_dq.batch.pool\n"
        "from tmt_dq.batch.settings import make_settings\n"
        "make_settings({'mask': 'N/A'})\n"
        "print({'numpy', 'astropy', 'crds', 'tmt_dq.apply.apply'} & set(sys.modules))"
    )
    assert builders.run_python("-c", code).stdout == "set()\n"
