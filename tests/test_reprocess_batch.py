"""An archive gone through again: only what new rules change, and nothing else touched."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from batch_helpers import report_lines, run, statuses
from builders import arrays, folder_state, invoke
from reprocess_helpers import (
    NEW,
    OLD,
    assert_same,
    exposure,
    new_flags,
    old_flags,
    root,
    template,
)
from tmt_dq import apply_dq
from tmt_dq.batch import plan_batch, serial
from tmt_dq.batch.state import STATE_NAME
from tmt_dq.errors import ConfigError, RampFormatError, SelectionError, UnexplainedFlagsError
from tmt_dq.io.journal import pending

__all__ = ["root", "template"]


@pytest.fixture
def night(folder: Path) -> Path:
    """Return a folder with a ramp that the new mask changes, and one of before its USEAFTER."""
    exposure(folder / "changed_uncal.fits")
    exposure(folder / "before_uncal.fits", header={"DATE-OBS": "2026-04-20"})
    return folder


def reasons(results: Any) -> dict[str, str]:
    return {name: result.reason for name, result in results.items()}


def inode(path: Path) -> int:
    return path.stat().st_ino


# --- raw ramps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True])
def test_only_what_changes(night: Path, tmp_path: Path, root: Path, in_place: bool) -> None:
    out = tmp_path / "out"
    run([night], out, crds_path=root, context=OLD)
    outputs = [out / f"{name}_dqinit.fits" for name in ("changed", "before")]
    inodes = [inode(path) for path in outputs]
    before = outputs[1].read_bytes()
    options = {"crds_path": root, "affected_by": OLD, "in_place": in_place}
    _, results = run([night], out, context=NEW, **options)
    assert statuses(results) == {"changed_uncal.fits": "done", "before_uncal.fits": "skipped"}
    why = reasons(results)
    assert why["before_uncal.fits"] == "not affected: the same file, tmt_iris_mask_0001.fits"
    assert (why["changed_uncal.fits"] == "rewritten in place") == in_place
    assert outputs[1].read_bytes() == before
    # In place means: the same file of the system, with nothing copied.
    assert (inode(outputs[0]) == inodes[0]) == in_place
    fresh = tmp_path / "fresh.fits"
    apply_dq(night / "changed_uncal.fits", fresh, crds_path=root, context=NEW)
    assert_same(outputs[0], fresh, replaced=int(in_place))
    # The folder's memory is true again: nothing to do, neither for this command nor another one.
    _, results = run([night], out, context=NEW, **options)
    assert set(statuses(results).values()) == {"skipped"}
    plans = plan_batch([night], output_dir=out, crds_path=root, context=NEW)
    found = {Path(plan.job.input).name: (plan.action, plan.reason) for plan in plans}
    assert found["changed_uncal.fits"] == ("skip", "done and still true")
    assert found["before_uncal.fits"] == ("process", "rules changed")


def test_ramps_without_outputs(night: Path, tmp_path: Path, root: Path) -> None:
    """The rules of before and now are compared; what is not affected gets no output."""
    exposure(night / "none_uncal.fits", header={"DETECTOR": "IRIS2"})
    _, results = run([night], tmp_path / "out", crds_path=root, context=NEW, affected_by=OLD)
    assert [name for name, status in statuses(results).items() if status == "done"] == [
        "changed_uncal.fits"
    ]
    assert "no rule matches it" in reasons(results)["none_uncal.fits"]
    assert (tmp_path / "out/changed_dqinit.fits").exists()
    assert not (tmp_path / "out/before_dqinit.fits").exists()


def test_the_mask_in_an_output_is_what_counts(night: Path, tmp_path: Path, root: Path) -> None:
    """Compared with OLD nothing would change; the output is older still."""
    out = tmp_path / "out"
    ramp = night / "changed_uncal.fits"
    run([ramp], out, crds_path=root, context="tmt_0001.pmap")
    _, results = run([ramp], out, crds_path=root, context=OLD, affected_by=OLD)
    assert statuses(results) == {ramp.name: "done"}
    assert arrays(out / "changed_dqinit.fits")["PIXELDQ"].tolist() == old_flags().tolist()


def test_other_flags_or_another_name(folder: Path, tmp_path: Path, root: Path) -> None:
    """The masks agree in these pixels: R_MASK would change, PIXELDQ would not."""
    corner = exposure(folder / "corner_uncal.fits", (1, 2, 2, 2))
    options = {"crds_path": root, "context": NEW, "affected_by": OLD}
    _, results = run([corner], tmp_path / "one", flags_only=True, **options)
    assert statuses(results) == {corner.name: "skipped"}
    _, results = run([corner], tmp_path / "two", **options)
    assert statuses(results) == {corner.name: "done"}


@pytest.mark.parametrize("why", ["hard link", "user's flags", "another step"])
def test_with_the_ramp_at_hand_nothing_fails(
    night: Path, tmp_path: Path, root: Path, why: str
) -> None:
    """What cannot be rewritten in place is written anew."""
    out = tmp_path / "out"
    ramp = night / "changed_uncal.fits"
    options: dict[str, Any] = {"crds_path": root}
    user = tmp_path / "user.txt"
    if why == "user's flags":
        from tmt_dq import Reading

        user.write_text("x y\n103 204\n")
        options |= {"user_dq": user, "user_reading": Reading(flag="WARM", base=1)}
    if why == "another step":
        fits.setval(ramp, "S_GRPSCL", value="COMPLETE")
    run([ramp], out, context=OLD, **options)
    output = out / "changed_dqinit.fits"
    if why == "hard link":
        os.link(output, tmp_path / "link.fits")
    first = inode(output)
    again = {"affected_by": OLD, "in_place": True, "context": NEW}
    result, results = run([ramp], out, **again, **options)
    result.raise_failures()
    assert (results[ramp.name].reason == "rewritten in place") == (why == "user's flags")
    assert (inode(output) == first) == (why == "user's flags")
    fresh = tmp_path / "fresh.fits"
    apply_dq(ramp, fresh, context=NEW, **options)
    assert_same(output, fresh, replaced=int(why == "user's flags"))


def test_a_changed_ramp_is_not_rewritten_in_place(night: Path, tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    ramp = night / "changed_uncal.fits"
    run([ramp], out, crds_path=root, context=OLD)
    exposure(ramp, sci=np.full((1, 3, 6, 8), 7, np.uint16))
    options = {"affected_by": OLD, "in_place": True, "crds_path": root, "context": NEW}
    _, results = run([ramp], out, **options)
    assert results[ramp.name].reason == ""
    assert (arrays(out / "changed_dqinit.fits")["SCI"] == 7).all()


# --- outputs alone -------------------------------------------------------------------------------


def in_place(inputs: Any, root: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    options = {"crds_path": root, "context": NEW, "affected_by": OLD, "in_place": True, **options}
    return run(inputs, None, **options)


def test_outputs_alone(night: Path, tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    raw = night / "changed_uncal.fits"
    run([night], out, crds_path=root, context=OLD)
    fresh = tmp_path / "fresh.fits"
    apply_dq(raw, fresh, crds_path=root, context=NEW)
    raw.rename(night / "hidden")
    other = out / "deeper"
    other.mkdir()
    apply_dq(night / "hidden", other / "mine.fits", crds_path=root, context=OLD)
    apply_dq(night / "hidden", other / "named.fits", mask=next(root.rglob("*mask_0002.fits")))
    exposure(out / "raw.fits")
    report = tmp_path / "report.jsonl"
    result, results = in_place([out], root, report=report)
    assert (result.done, result.skipped, result.failed) == (2, 3, 0)
    assert statuses(results) == {
        "before_dqinit.fits": "skipped",
        "changed_dqinit.fits": "done",
        "raw.fits": "skipped",
        "mine.fits": "done",
        "named.fits": "skipped",
    }
    why = reasons(results)
    assert why["raw.fits"] == "not affected: it was not initialized yet"
    assert "was not chosen by rules" in why["named.fits"]
    for path in (out / "changed_dqinit.fits", other / "mine.fits"):
        assert_same(path, fresh)
    lines = {Path(line["input"]).name: line for line in report_lines(report)}
    assert lines["mine.fits"]["mask"] == "crds://tmt_iris_mask_0003.fits"
    assert lines["mine.fits"]["context"] == NEW
    assert lines["mine.fits"]["output"] == str(other / "mine.fits")
    # No folder gets a memory that had none, and the one that had one knows its outputs.
    assert sorted(p.name for p in other.iterdir()) == ["mine.fits", "named.fits"]
    state = folder_state(out)
    _, results = in_place([out], root)
    assert set(statuses(results).values()) == {"skipped"}
    assert reasons(results)["mine.fits"] == "not affected: it was made with tmt_0003.pmap already"
    now = folder_state(out)
    assert {key: now[key] for key in now if key != STATE_NAME} == {
        key: state[key] for key in state if key != STATE_NAME
    }
    (night / "hidden").rename(raw)
    plans = plan_batch([raw], output_dir=out, crds_path=root, context=NEW)
    # A renamed ramp has another time of change only where the system says so: it has not here.
    assert [(plan.action, plan.reason) for plan in plans] == [("skip", "done and still true")]


def test_an_output_that_cannot_be_explained(night: Path, tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    run([night], out, crds_path=root, context=OLD)
    good, bad = out / "changed_dqinit.fits", out / "bad_dqinit.fits"
    bad.write_bytes(good.read_bytes())
    with fits.open(bad, mode="update") as hdus:
        hdus["PIXELDQ"].data[1, 1] = 4
    before = bad.read_bytes()
    (out / "empty.fits").write_bytes(b"")
    result, results = in_place([out], root)
    assert (result.done, result.skipped, result.failed) == (1, 1, 2)
    assert isinstance(results["bad_dqinit.fits"].error, UnexplainedFlagsError)
    assert isinstance(results["empty.fits"].error, RampFormatError)
    assert bad.read_bytes() == before
    assert arrays(good)["PIXELDQ"].tolist() == new_flags().tolist()


def test_what_failed_is_still_known(night: Path, tmp_path: Path, root: Path) -> None:
    """The file is as it was, and so is what the folder's memory says of it."""
    out = tmp_path / "out"
    ramp = night / "changed_uncal.fits"
    run([ramp], out, crds_path=root, context=OLD)
    (root / "references/tmt/iris/tmt_iris_mask_0002.fits").unlink()
    result, _ = in_place([out], root)
    assert result.failed == 1
    plans = plan_batch([ramp], output_dir=out, crds_path=root, context=OLD)
    assert [(plan.action, plan.reason) for plan in plans] == [
        ("process", "tmt_iris_mask_0002.fits changed")
    ]


def test_interrupted(
    night: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of a file: the same command goes on, and so does one with the ramps."""
    out = tmp_path / "out"
    ramp = night / "changed_uncal.fits"
    output = out / "changed_dqinit.fits"
    run([ramp], out, crds_path=root, context=OLD)
    fresh = tmp_path / "fresh.fits"
    apply_dq(ramp, fresh, crds_path=root, context=NEW)

    def die(_path: Path) -> None:
        raise KeyboardInterrupt

    def interrupt() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("tmt_dq.io.inplace.discard", die)
            with pytest.raises(KeyboardInterrupt):
                in_place([out], root)
        assert pending(output)

    interrupt()
    _, results = in_place([out], root)
    assert statuses(results) == {output.name: "done"}
    assert_same(output, fresh)
    run([ramp], out, crds_path=root, context=OLD)
    interrupt()
    _, results = run([ramp], out, crds_path=root, context=NEW)
    assert statuses(results) == {ramp.name: "done"}
    assert_same(output, fresh, replaced=0)


def test_files_of_others_stay_so(night: Path, tmp_path: Path, root: Path) -> None:
    """Asked about one that it may replace, and need not: later it may not."""
    out = tmp_path / "out"
    out.mkdir()
    apply_dq(night / "changed_uncal.fits", out / "changed_dqinit.fits", crds_path=root, context=NEW)
    options: dict[str, Any] = {"crds_path": root, "context": NEW}
    _, results = run(
        [night / "changed_uncal.fits"], out, affected_by=OLD, overwrite=True, **options
    )
    assert statuses(results) == {"changed_uncal.fits": "skipped"}
    (plan,) = plan_batch([night / "changed_uncal.fits"], output_dir=out, **options)
    assert plan.action == "refuse"


# --- what makes no sense, and the command line ---------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_dir": None}, "no folder of outputs"),
        ({"in_place": True}, "but not affected_by"),
        ({"flags_only": True}, "but not affected_by"),
        ({"affected_by": OLD, "mask": "N/A"}, "both given"),
        ({"affected_by": OLD, "output_dir": None}, "not to be changed in place"),
        (
            {"affected_by": OLD, "output_dir": None, "in_place": True, "retry_failed": True},
            "only with an output folder",
        ),
        (
            {"affected_by": OLD, "output_dir": None, "in_place": True, "recipe": {"ad_floor": 0}},
            "keep the recipe.*ad_floor",
        ),
    ],
)
def test_options_that_make_no_sense(
    night: Path, tmp_path: Path, root: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        run([night], **{"output_dir": tmp_path / "out", "crds_path": root, **options})
    assert not (tmp_path / "out").exists()


def test_a_context_that_is_not_there(night: Path, tmp_path: Path, root: Path) -> None:
    with pytest.raises(SelectionError, match="tmt_0009"):
        run([night], tmp_path / "out", crds_path=root, affected_by="tmt_0009.pmap")
    assert not (tmp_path / "out").exists()


def test_command(night: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmt_dq.batch.processes.Processes", lambda _: serial)
    out = tmp_path / "out"
    words: list[Any] = ["batch", "--crds-path", root]
    assert invoke(*words, night, "--output-dir", out, "--context", OLD).code == 0
    again = [*words, out, "--affected-by", OLD, "--in-place"]
    state = folder_state(out)
    outcome = invoke(*again, "--dry-run")
    assert outcome.code == 0
    lines = {Path(line.split()[1]).name: line for line in outcome.out.splitlines()[:2]}
    assert lines["before_dqinit.fits"].startswith("skip")
    assert lines["changed_dqinit.fits"].endswith(
        "(affected: tmt_iris_mask_0003.fits instead of tmt_iris_mask_0002.fits, with other flags "
        "in 2 of its pixels; to be rewritten in place)"
    )
    assert folder_state(out) == state
    outcome = invoke(*again, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["done"] == 1
    assert arrays(out / "changed_dqinit.fits")["PIXELDQ"].tolist() == new_flags().tolist()
    outcome = invoke(*again)
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["skipped", "ramps"] in rows
    assert any(row[-2:] == ["already", "1"] for row in rows)
    assert invoke("batch", out, "--affected-by", OLD).code == 2
