"""What goes wrong beside a change of flags: killed in between, other caches, other folders."""

import re
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from batch_helpers import run, statuses
from builders import arrays, invoke, make_mask
from reprocess_helpers import (
    NEW,
    OLD,
    assert_same,
    exposure,
    make_contexts,
    new_flags,
    old_flags,
    root,
    template,
)
from tmt_dq import apply_dq
from tmt_dq.batch import plan_batch
from tmt_dq.batch.state import State
from tmt_dq.errors import (
    ConfigError,
    OutputError,
    RampFormatError,
    UnexplainedFlagsError,
    WorkerError,
)

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
    return {"crds_path": root, "context": NEW, "affected_by": OLD, "in_place": True}


def plan_of(ramp: Path, out: Path, root: Path) -> tuple[str, str]:
    """Return what an ordinary batch would do."""
    (plan,) = plan_batch([ramp], output_dir=out, crds_path=root, context=NEW)
    return plan.action, plan.reason


# --- killed, and the folder's memory -------------------------------------------------------------


@pytest.mark.parametrize("way", ["anew", "in place", "outputs alone"])
def test_killed_before_it_is_remembered(
    ramp: Path, out: Path, root: Path, again: Options, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The new output is there, and nobody wrote down that it is: it is the batch's all the same."""
    alone = way == "outputs alone"
    where = ([out], None) if alone else ([ramp], out)
    again["in_place"] = way != "anew"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "finish", die)
        patch.setattr(State, "change", die)
        with pytest.raises(KeyboardInterrupt):
            run(*where, **again)
    output = out / "ramp_dqinit.fits"
    assert arrays(output)["PIXELDQ"].tolist() == new_flags().tolist()
    _, results = run(*where, **again)
    assert set(statuses(results).values()) == {"skipped"}
    assert plan_of(ramp, out, root) == ("process", "interrupted")
    _, results = run([ramp], out, crds_path=root, context=NEW)
    assert statuses(results) == {ramp.name: "done"}


@pytest.mark.parametrize("alone", [True, False])
def test_a_change_that_was_taken_back(
    ramp: Path, out: Path, root: Path, again: Options, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """The disk is full: the file is as it was but for its time, and still the batch's."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    where = ([out], None) if alone else ([ramp], out)
    with monkeypatch.context() as patch:
        patch.setattr("tmt_dq.io.inplace._change", full)
        patch.setattr("tmt_dq.apply.apply.write_exposure", full)
        result, _ = run(*where, **again)
    assert result.failed == 1
    assert arrays(out / "ramp_dqinit.fits")["PIXELDQ"].tolist() == old_flags().tolist()
    assert plan_of(ramp, out, root)[0] == "process"
    if not alone:
        _, results = run([ramp], out, crds_path=root, context=NEW, retry_failed=True)
        assert statuses(results) == {ramp.name: "done"}


def test_an_output_that_someone_changed_stays_theirs(
    ramp: Path, out: Path, root: Path, again: Options
) -> None:
    """Looked at and left alone: an ordinary batch must still not replace it."""
    output = out / "ramp_dqinit.fits"
    with fits.open(output, mode="update") as hdus:
        hdus["PIXELDQ"].data[1, 1] = 4
    result, _ = run([out], None, **again)
    assert result.failed == 1
    assert plan_of(ramp, out, root) == ("refuse", "output exists")


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


def test_what_failed_and_is_not_affected_is_still_to_be_tried(
    folder: Path, root: Path, tmp_path: Path, again: Options
) -> None:
    late = folder / "late_uncal.fits"
    late.write_bytes(b"not here yet")
    out = tmp_path / "out"
    result, _ = run([late], out, crds_path=root, context=OLD)
    assert result.failed == 1
    exposure(late, header={"DATE-OBS": "2026-04-20"})
    _, results = run([late], out, **again)
    assert "not affected" in results[late.name].reason
    _, results = run([late], out, crds_path=root, context=NEW, retry_failed=True)
    assert statuses(results) == {late.name: "done"}


def test_half_changed_says_what_to_repeat(
    out: Path, again: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not `apply` alone: it would add the new flags to the old ones."""

    def die(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tmt_dq.io.inplace.discard", die)
    with pytest.raises(KeyboardInterrupt):
        run([out], None, **again)
    with pytest.raises(RampFormatError, match="half changed") as caught:
        apply_dq(out / "ramp_dqinit.fits", out / "new.fits")
    assert "Repeat the command that was interrupted" in str(caught.value)


# --- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [False, True])
def test_a_mask_by_hand_stays(
    folder: Path, root: Path, tmp_path: Path, again: Options, gone: bool
) -> None:
    """The ramp had CRDS_CTX already: it does not mean that rules chose the mask."""
    ramp = exposure(folder / "ramp_uncal.fits", header={"CRDS_CTX": OLD})
    mask = make_mask(tmp_path / "mine.fits", old_flags(), start=(101, 201))
    out = tmp_path / "out"
    run([ramp], out, mask=mask)
    if gone:
        mask.unlink()
    _, results = run([out], None, **again)
    assert statuses(results) == {"ramp_dqinit.fits": "skipped"}
    assert "was not chosen by rules" in results["ramp_dqinit.fits"].reason


def test_no_mask_is_named(out: Path, again: Options) -> None:
    fits.delval(out / "ramp_dqinit.fits", "R_MASK")
    _, results = run([out], None, **again)
    assert isinstance(results["ramp_dqinit.fits"].error, UnexplainedFlagsError)


@pytest.mark.parametrize("alone", [True, False])
def test_caches_that_grew_apart(
    ramp: Path,
    out: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alone: bool,
) -> None:
    """Same context, same name, another mask: two people delivered to copies of one cache."""
    target = "tmt_dq.references.crds_certify.certify_reference"
    monkeypatch.setattr(target, lambda *_args, **_options: ())
    (tmp_path / "theirs").mkdir()
    theirs = make_contexts(tmp_path / "theirs/cache", (new_flags(), new_flags()))
    where = ([out], None) if alone else ([ramp], out)
    options: Options = {
        "crds_path": theirs,
        "context": OLD,
        "affected_by": OLD,
        "old_crds_path": root,
        "in_place": alone,
    }
    _, results = run(*where, **options)
    assert set(statuses(results).values()) == {"done"}
    assert arrays(out / "ramp_dqinit.fits")["PIXELDQ"].tolist() == new_flags().tolist()
    _, results = run(*where, **options)
    assert set(statuses(results).values()) == {"skipped"}


def test_no_mask_any_more(ramp: Path, root: Path, tmp_path: Path, again: Options) -> None:
    """What cannot be done in place is done anew, whatever stands against it: also --if-no-mask."""
    out = tmp_path / "out"
    run([ramp], out, crds_path=root, context=OLD, if_no_mask="skip")
    rules = next(root.rglob("tmt_iris_mask_0003.rmap"))
    text = re.sub(r"'tmt_iris_mask_\d+\.fits'", "'N/A'", rules.read_text())
    rules.write_text(text)
    assert invoke("crds", "checksum", rules).code == 0
    result, results = run([ramp], out, **again, if_no_mask="skip")
    result.raise_failures()
    assert results[ramp.name].s_dqinit == "SKIPPED"


# --- names and folders ---------------------------------------------------------------------------


def test_a_link_to_an_output(ramp: Path, out: Path, root: Path, again: Options) -> None:
    """Two names of one file are one exposure, and the folder's memory stays true."""
    (out / "link.fits").symlink_to("ramp_dqinit.fits")
    other = out.parent / "links"
    other.mkdir()
    (other / "far.fits").symlink_to(out / "ramp_dqinit.fits")
    _, results = run([other, out], None, **again)
    assert statuses(results) == {"ramp_dqinit.fits": "done"}
    assert plan_of(ramp, out, root) == ("skip", "done and still true")
    assert fits.getheader(out / "ramp_dqinit.fits")["FILENAME"] == "ramp_dqinit.fits"


def test_a_folder_in_which_another_batch_works(
    ramp: Path, out: Path, root: Path, again: Options, tmp_path: Path
) -> None:
    """Its exposures fail; those of the other folders are done."""
    run([ramp], tmp_path / "zulu", crds_path=root, context=OLD)
    busy = State(out)
    try:
        with pytest.raises(OutputError, match="at work in this folder"):
            run([out], None, **again)
        result, _ = run([out, tmp_path / "zulu"], None, **again)
    finally:
        busy.close()
    assert (result.done, result.failed) == (1, 1)
    assert isinstance(result.errors[0], OutputError)
    assert "at work in this folder" in str(result.errors[0])
    result, _ = run([out, tmp_path / "zulu"], None, **again)
    assert (result.done, result.skipped) == (1, 1)


def test_outputs_elsewhere(root: Path, again: Options) -> None:
    with pytest.raises(ConfigError, match="there is a URL"):
        run(["https://127.0.0.1:9/ramp_dqinit.fits"], None, **again)


@pytest.mark.parametrize("ending", ["fits.gz", "fits.fz"])
def test_compressed_ramps(folder: Path, root: Path, again: Options, ending: str) -> None:
    import gzip

    plain = exposure(folder / "plain.fits")
    ramp = folder / f"ramp_uncal.{ending}"
    if ending == "fits.gz":
        ramp.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with fits.open(plain) as hdus:
            packed = fits.CompImageHDU(hdus[1].data[0], header=hdus[1].header, name="SCI")
            fits.HDUList([hdus[0], packed]).writeto(ramp)
    out = folder / "out"
    run([ramp], out, crds_path=root, context=OLD)
    output = out / "ramp_dqinit.fits"
    inode = output.stat().st_ino
    _, results = run([ramp], out, **again)
    assert results[ramp.name].reason == "rewritten in place"
    assert output.stat().st_ino == inode
    apply_dq(ramp, folder / "fresh.fits", crds_path=root, context=NEW)
    assert_same(output, folder / "fresh.fits")


def test_a_place_that_ramps_do_not_say(
    folder: Path, root: Path, tmp_path: Path, again: Options
) -> None:
    """Known from --subarray, for those that have no output too."""
    dates = {"changed": "2026-06-01", "before": "2026-04-20"}
    for name, date in dates.items():
        ramp = exposure(folder / f"{name}_uncal.fits", header={"DATE-OBS": date})
        with fits.open(ramp, mode="update") as hdus:
            for key in ("SUBSTRT1", "SUBSTRT2"):
                del hdus[0].header[key]
    _, results = run([folder], tmp_path / "out", **again, subarray=(101, 201))
    assert statuses(results) == {"changed_uncal.fits": "done", "before_uncal.fits": "skipped"}


def test_nothing_there(folder: Path, again: Options) -> None:
    _, results = run([folder / "gone.fits"], None, **again)
    error = results["gone.fits"].error
    assert isinstance(error, RampFormatError)
    assert error.what == "cannot be read: No such file or directory"
    with pytest.raises(ConfigError) as caught:
        run([folder], None, **again)
    assert caught.value.what == "has no FITS file that is not hidden"
