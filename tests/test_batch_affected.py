"""Batches that do only what new rules change (--affected-by)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affected_helpers import NEW, OLD, exposure, make_contexts, new_flags, old_flags, root, template
from batch_helpers import run, statuses
from builders import arrays, folder_state, invoke, make_mask
from tmt_dq import apply_dq
from tmt_dq.batch import plan_batch, serial
from tmt_dq.batch.journal import Journal
from tmt_dq.delivery.affected import affected_output
from tmt_dq.errors import ConfigError, SelectionError, WorkerError

__all__ = ["root", "template"]

Options = dict[str, Any]


@pytest.fixture
def ramp(folder: Path) -> Path:
    return exposure(folder / "ramp_uncal.fits")


@pytest.fixture
def out(ramp: Path, root: Path, tmp_path: Path) -> Path:
    """Return a folder with the output of the old rules."""
    run([ramp], tmp_path / "out", crds_path=root, context=OLD)
    return tmp_path / "out"


@pytest.fixture
def again(root: Path) -> Options:
    return {"crds_path": root, "context": NEW, "affected_by": OLD}


def plan_of(ramp: Path, out: Path, root: Path) -> tuple[str, str]:
    """Return what an ordinary batch would do."""
    (plan,) = plan_batch([ramp], output_dir=out, crds_path=root, context=NEW)
    return plan.action, plan.reason


@pytest.fixture
def night(folder: Path) -> Path:
    """Return a folder with a ramp that the new mask changes, and one of before its USEAFTER."""
    exposure(folder / "changed_uncal.fits")
    exposure(folder / "before_uncal.fits", header={"DATE-OBS": "2026-04-20"})
    return folder


def reasons(results: Any) -> dict[str, str]:
    return {name: result.reason for name, result in results.items()}


def test_only_what_changes(night: Path, tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    run([night], out, crds_path=root, context=OLD)
    outputs = [out / f"{name}_dqinit.fits" for name in ("changed", "before")]
    before = outputs[1].read_bytes()
    options = {"crds_path": root, "affected_by": OLD}
    _, results = run([night], out, context=NEW, **options)
    assert statuses(results) == {"changed_uncal.fits": "done", "before_uncal.fits": "skipped"}
    why = reasons(results)
    assert why["before_uncal.fits"] == "not affected: the same file, tmt_iris_mask_0001.fits"
    assert outputs[1].read_bytes() == before
    assert arrays(outputs[0])["PIXELDQ"].tolist() == new_flags().tolist()
    # The folder's memory is true again: nothing to do, neither for this command nor another one.
    _, results = run([night], out, context=NEW, **options)
    assert set(statuses(results).values()) == {"skipped"}
    plans = plan_batch([night], output_dir=out, crds_path=root, context=NEW)
    found = {Path(plan.input).name: (plan.action, plan.reason) for plan in plans}
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


def test_archive_without_raw_ramps(night: Path, tmp_path: Path, root: Path) -> None:
    """Outputs stand for their ramps: the new ones are those that the ramps would have given."""
    old, new, expected = (tmp_path / name for name in ("old", "new", "expected"))
    run([night], old, crds_path=root, context=OLD)
    before = folder_state(old)
    options: Options = {"crds_path": root, "context": NEW, "affected_by": OLD}
    _, results = run([old], new, **options)
    assert statuses(results) == {"changed_dqinit.fits": "done", "before_dqinit.fits": "skipped"}
    assert folder_state(old) == before
    run([night / "changed_uncal.fits"], expected, crds_path=root, context=NEW)
    made, wanted = (arrays(path / "changed_dqinit.fits") for path in (new, expected))
    assert made.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(made[name], values)
    assert set(statuses(run([old], new, **options)[1]).values()) == {"skipped"}
    # The raw ramp is taken where it is.
    _, results = run([old, night], tmp_path / "both", **options)
    assert statuses(results) == {"changed_uncal.fits": "done", "before_uncal.fits": "skipped"}
    with pytest.raises(ConfigError, match="would be replaced by an output that is made of it"):
        run([old], old, **options)


def test_start_over(night: Path, tmp_path: Path, root: Path) -> None:
    """Without the option an initialized exposure is refused, and searches leave outputs out."""
    old = tmp_path / "old"
    run([night], old, crds_path=root, context=OLD)
    options: Options = {"crds_path": root, "context": NEW}
    with pytest.raises(ConfigError, match="has no FITS file"):
        run([old], tmp_path / "new", **options)
    _, results = run([old / "changed_dqinit.fits"], tmp_path / "new", **options)
    assert results["changed_dqinit.fits"].error_class == "AlreadyInitializedError"
    result, _ = run([old], tmp_path / "over", start_over=True, **options)
    assert (result.done, result.failed) == (2, 0)
    assert arrays(tmp_path / "over/changed_dqinit.fits")["PIXELDQ"].tolist() == new_flags().tolist()


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


def test_a_context_that_is_not_there(night: Path, tmp_path: Path, root: Path) -> None:
    with pytest.raises(SelectionError, match="tmt_0009"):
        run([night], tmp_path / "out", crds_path=root, affected_by="tmt_0009.pmap")
    assert not (tmp_path / "out").exists()


def test_command(night: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmt_dq.batch.run.Processes", lambda *_, **__: serial)
    out = tmp_path / "out"
    words: list[Any] = ["batch", "--crds-path", root]
    assert invoke(*words, night, "--output-dir", out, "--context", OLD).code == 0
    again = [*words, night, "--output-dir", out, "--affected-by", OLD]
    outcome = invoke(*again, "--dry-run", code=0)
    lines = {Path(line.split()[1]).name: line for line in outcome.out.splitlines()[:2]}
    assert lines["before_uncal.fits"].startswith("skip")
    assert lines["changed_uncal.fits"].endswith(
        "(affected: tmt_iris_mask_0003.fits instead of tmt_iris_mask_0002.fits, with other flags "
        "in 2 of its pixels; rules changed)"
    )
    assert json.loads(invoke(*again, "--json").out)["done"] == 1
    assert arrays(out / "changed_dqinit.fits")["PIXELDQ"].tolist() == new_flags().tolist()
    rows = [line.split() for line in invoke(*again).out.splitlines()]
    assert any(row[-2:] == ["true", "1"] for row in rows)
    assert invoke("batch", night, "--affected-by", OLD).code == 2


def test_killed_before_it_is_remembered(
    ramp: Path, out: Path, root: Path, again: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new output is there, and nobody wrote down that it is: it is the batch's all the same."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            run([ramp], out, **again)
    output = out / "ramp_dqinit.fits"
    assert arrays(output)["PIXELDQ"].tolist() == new_flags().tolist()
    _, results = run([ramp], out, **again)
    assert set(statuses(results).values()) == {"skipped"}
    assert plan_of(ramp, out, root) == ("process", "interrupted")
    _, results = run([ramp], out, crds_path=root, context=NEW)
    assert statuses(results) == {ramp.name: "done"}


def test_a_worker_killed_after_its_output(ramp: Path, root: Path, tmp_path: Path) -> None:
    """Its account is a failure, its output is there: the next batch may replace it."""

    def lost(work: Any, jobs: Any) -> Any:
        for job in jobs:
            work(job)
            yield job, WorkerError("the worker was killed")

    result, _ = run([ramp], tmp_path / "out", crds_path=root, context=NEW, mapper=lost)
    assert result.failed == 1
    assert (tmp_path / "out/ramp_dqinit.fits").exists()
    _, results = run([ramp], tmp_path / "out", crds_path=root, context=NEW, retry_failed=True)
    assert statuses(results) == {ramp.name: "done"}


def test_a_mask_by_hand_stays(folder: Path, root: Path, tmp_path: Path) -> None:
    """The ramp had CRDS_CTX already: it does not mean that rules chose the mask, which is gone."""
    ramp = exposure(folder / "ramp_uncal.fits", header={"CRDS_CTX": OLD})
    mask = make_mask(tmp_path / "mine.fits", old_flags(), start=(101, 201))
    apply_dq(ramp, folder / "out.fits", mask=mask)
    mask.unlink()
    effect = affected_output(folder / "out.fits", NEW, crds_path=root)
    assert not effect.affected
    assert "was not chosen by rules" in effect.reason


def test_caches_that_grew_apart(
    ramp: Path, out: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same context, same name, another mask: two people delivered to copies of one cache."""
    target = "tmt_dq.references.crds_tools.certify_reference"
    monkeypatch.setattr(target, lambda *_args, **_options: ())
    (tmp_path / "theirs").mkdir()
    theirs = make_contexts(tmp_path / "theirs/cache", (new_flags(), new_flags()))
    # The record has the sha256 of the mask: without the other cache, too, the two are told apart.
    effect = affected_output(out / "ramp_dqinit.fits", OLD, crds_path=theirs)
    assert (effect.affected, effect.pixels) == (True, None)
    assert effect.reason == f"its mask was another file of the name {effect.new}"
    options: Options = {"crds_path": theirs, "context": OLD, "affected_by": OLD}
    for status in ("done", "skipped"):
        _, results = run([ramp], out, old_crds_path=root, **options)
        assert statuses(results) == {ramp.name: status}
    assert arrays(out / "ramp_dqinit.fits")["PIXELDQ"].tolist() == new_flags().tolist()
