"""One exposure initialized again: the same as the raw ramp processed afresh, or nothing done."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from astropy.io import fits

import tmt_dq.io.journal as journal_module
from builders import CONVENTION, arrays, make_mask
from reprocess_helpers import (
    BAD,
    DEAD,
    NEW,
    OLD,
    WARM,
    assert_same,
    exposure,
    make_contexts,
    new_flags,
    old_flags,
    root,
    template,
)
from tmt_dq import DQInitStep, apply_dq, reinitialize_dq
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GuideWindow, Recipe
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import ConfigError, GeometryError, OutputError, UnexplainedFlagsError

__all__ = ["root", "template"]


@pytest.fixture
def raw(folder: Path) -> Path:
    return exposure(folder / "ramp.fits")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ways(
    raw: Path,
    root: Path,
    *,
    options: dict[str, Any] | None = None,
    original: Path | None = None,
    **again: Any,
) -> tuple[Path, Path, Path]:
    """Process a ramp under the new rules: afresh, and from the old output, copied and in place."""
    options = options or {}
    again |= {"crds_path": root, "context": NEW, "raw": original}
    fresh, copy, place = (raw.parent / f"{name}.fits" for name in ("fresh", "copy", "place"))
    apply_dq(raw, fresh, crds_path=root, context=NEW, **options)
    apply_dq(raw, place, crds_path=root, context=OLD, **options)
    before = digest(place)
    reinitialize_dq(place, copy, **again)
    assert digest(place) == before
    applied = reinitialize_dq(place, in_place=True, **again)
    assert applied.output == place
    assert applied.selection is not None
    assert applied.selection.context == NEW
    return fresh, copy, place


def test_equals_the_ramp_processed_afresh(raw: Path, root: Path) -> None:
    fresh, copy, place = ways(raw, root)
    assert arrays(place)["PIXELDQ"].tolist() == new_flags().tolist()
    assert_same(copy, fresh)
    assert_same(place, fresh)
    header = fits.getheader(place)
    assert header["CRDS_CTX"] == NEW
    assert header["R_MASK"] == "crds://tmt_iris_mask_0003.fits"
    said = "in place of COMPLETE, mask crds://tmt_iris_mask_0002.fits (context tmt_0002.pmap)"
    assert said in "".join(header["HISTORY"])
    names = ["copy.fits", "fresh.fits", "place.fits", "ramp.fits"]
    assert sorted(path.name for path in raw.parent.iterdir()) == names


def test_back_and_forth(raw: Path, root: Path) -> None:
    """Each time as if it were the first; HISTORY names what there was."""
    fresh, _, place = ways(raw, root)
    reinitialize_dq(place, in_place=True, crds_path=root, context=OLD)
    reinitialize_dq(place, in_place=True, crds_path=root, context=NEW)
    assert_same(place, fresh, replaced=3)


ALL = Recipe(
    propagate_do_not_use=True,
    reference_pixels=True,
    guide_windows=(
        GuideWindow(Window.from_fits(xstart=103, ystart=202, xsize=2, ysize=2), (0, 2)),
        GuideWindow(Window.from_fits(xstart=1, ystart=1, xsize=3, ysize=1)),
    ),
    guide_parts=("box", "columns"),
    guide_expand=1,
    dropout_values=(7.0, 9.5),
    ad_floor=0,
    full_scale=140.0,
    non_finite=True,
)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(propagate_do_not_use=True),
        Recipe(full_scale=140, dropout_values=(3.0,)),
        ALL,
    ],
    ids=["propagated", "counts", "all"],
)
def test_the_recipe_is_kept(raw: Path, root: Path, recipe: Recipe) -> None:
    fresh, copy, place = ways(raw, root, options={"recipe": recipe})
    assert_same(copy, fresh)
    assert_same(place, fresh)
    assert arrays(fresh)["GROUPDQ"].any()


def test_float_ramp_with_nan(folder: Path, root: Path) -> None:
    sci = np.arange(144, dtype=np.float32).reshape(1, 3, 6, 8)
    sci[0, 1, 2, 3] = np.nan
    raw = exposure(folder / "ramp.fits", sci=sci)
    fresh, copy, place = ways(raw, root, options={"recipe": Recipe(non_finite=True)})
    assert_same(copy, fresh)
    assert_same(place, fresh)


def test_an_image(folder: Path, root: Path) -> None:
    raw = exposure(folder / "ramp.fits", (6, 8))
    fresh, copy, place = ways(raw, root)
    assert arrays(place)["DQ"].tolist() == new_flags().tolist()
    assert_same(copy, fresh)
    assert_same(place, fresh)


def test_subarrays_and_other_extensions(folder: Path, root: Path) -> None:
    number = np.zeros((6, 8), np.uint16)
    number[4:, 6:] = 1
    extra = [fits.ImageHDU(number, name="SUBARR_MAP"), fits.ImageHDU(np.eye(3), name="NOTES")]
    raw = exposure(
        folder / "ramp.fits", extra=extra, header={"HISTORY": "read out at night", "COMMENT": "ok"}
    )
    fresh, copy, place = ways(raw, root)
    assert_same(copy, fresh)
    assert_same(place, fresh)
    assert fits.getheader(place)["HISTORY"][0] == "read out at night"


@pytest.mark.parametrize("beside", [True, False])
def test_user_flags(raw: Path, root: Path, folder: Path, tmp_path: Path, beside: bool) -> None:
    place = folder if beside else tmp_path
    user = make_mask(place / "user.fits", np.full((6, 8), WARM, np.uint32), start=(101, 201))
    again = {} if beside else {"user_dq": user}
    fresh, copy, place = ways(raw, root, options={"user_dq": user}, **again)
    assert_same(copy, fresh)
    assert_same(place, fresh)
    before = digest(place)
    make_mask(user, np.full((6, 8), DEAD, np.uint32), start=(101, 201))
    with pytest.raises(UnexplainedFlagsError, match="sha256"):
        reinitialize_dq(place, in_place=True, crds_path=root, context=OLD, **again)
    user.unlink()
    with pytest.raises(UnexplainedFlagsError, match="cannot be read"):
        reinitialize_dq(place, in_place=True, crds_path=root, context=OLD, **again)
    assert digest(place) == before


def asdf_history(path: Path) -> list[str]:
    """Return the descriptions of the history in the ASDF extension."""
    with fits.open(path) as hdus:
        content = hdus["ASDF"].data.tobytes()
    tree = yaml.compose(content[content.index(b"%YAML") :].split(b"\n...")[0])
    history = next(value for name, value in tree.value if name.value == "history")
    entries = next(value for name, value in history.value if name.value == "entries")
    return [
        value.value
        for entry in entries.value
        for name, value in entry.value
        if name.value == "description"
    ]


def test_a_model_with_asdf(folder: Path, root: Path) -> None:
    raw = folder / "model.fits"
    model = TMTRampModel(str(exposure(folder / "ramp.fits")))
    model.add_history_entry("simulated")
    model.save(str(raw))
    model.close()
    fresh, copy, place = ways(raw, root)
    assert_same(copy, fresh)
    assert_same(place, fresh)
    trees = []
    for path in (fresh, copy, place):
        with TMTRampModel(str(path)) as opened:
            assert opened.meta.filename == path.name
            assert opened.meta.ref_file.crds.context_used == NEW
            np.testing.assert_array_equal(opened.pixeldq, new_flags())
        said = asdf_history(path)
        assert said[0] == "simulated"
        trees.append([line for line in said if "in place of" not in line])
        assert len(said) - len(trees[-1]) == (path != fresh)
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("as_model", [False, True])
def test_outputs_of_the_step(
    raw: Path, root: Path, monkeypatch: pytest.MonkeyPatch, as_model: bool
) -> None:
    monkeypatch.setenv("CRDS_PATH", str(root))
    monkeypatch.setenv("CRDS_CONTEXT", OLD)
    output = raw.with_name("step.fits")
    DQInitStep.call(TMTRampModel(str(raw)) if as_model else raw).save(str(output))
    monkeypatch.undo()
    reinitialize_dq(output, in_place=True, crds_path=root, context=NEW)
    with TMTRampModel(str(output)) as result:
        np.testing.assert_array_equal(result.pixeldq, new_flags())
        assert not result.groupdq.any()
        assert result.meta.ref_file.crds.context_used == NEW
        assert result.meta.ref_file.mask.name == "crds://tmt_iris_mask_0003.fits"


def test_a_place_that_the_ramp_does_not_say(folder: Path, root: Path) -> None:
    raw = exposure(folder / "ramp.fits")
    with fits.open(raw, mode="update") as hdus:
        for key in ("SUBSTRT1", "SUBSTRT2"):
            del hdus[0].header[key]
    place = {"subarray": (101, 201)}
    # The outputs do say it.
    for again in ({}, place, {**place, "original": raw}):
        fresh, copy, changed = ways(raw, root, options=place, **again)
        assert_same(copy, fresh)
        assert_same(changed, fresh)
        for path in (fresh, copy, changed):
            path.unlink()


def test_a_mask_named_by_the_user(raw: Path, root: Path, folder: Path) -> None:
    """No rules are asked: what the old output said of them would be untrue."""
    mask = make_mask(folder / "mine.fits", new_flags(), start=(101, 201))
    for path, context in (("fresh.fits", None), ("place.fits", OLD)):
        options = {"mask": mask} if context is None else {"crds_path": root, "context": context}
        apply_dq(raw, folder / path, **options)
    reinitialize_dq(folder / "place.fits", in_place=True, mask=mask, crds_path=root)
    assert_same(folder / "place.fits", folder / "fresh.fits")
    assert "CRDS_CTX" not in fits.getheader(folder / "place.fits")


# --- flags that the exposure had of its own ------------------------------------------------------


def own_flags() -> np.ndarray[Any, np.dtype[np.uint32]]:
    """A flag beside the masks' pixels, and the one that the new mask takes back."""
    flags = np.zeros((6, 8), np.uint32)
    flags[1, 1], flags[2, 3] = WARM, BAD
    return flags


def test_flags_of_its_own_are_kept(folder: Path, root: Path) -> None:
    groupdq = np.zeros((1, 3, 6, 8), np.uint8)
    groupdq[0, 1, 4, 4] = CONVENTION["JUMP_DET"]
    raw = exposure(folder / "ramp.fits", pixeldq=own_flags(), groupdq=groupdq)
    fresh, copy, place = ways(raw, root, original=raw)
    assert_same(copy, fresh)
    assert_same(place, fresh)
    assert arrays(place)["PIXELDQ"].tolist() == (own_flags() | new_flags()).tolist()
    assert arrays(place)["GROUPDQ"].tolist() == groupdq.tolist()


def test_flags_of_its_own_are_not_lost(folder: Path, root: Path) -> None:
    """Without the raw ramp nobody knows them: nothing is written."""
    raw = exposure(folder / "ramp.fits", pixeldq=own_flags())
    old = folder / "old.fits"
    apply_dq(raw, old, crds_path=root, context=OLD)
    before = digest(old)
    with pytest.raises(UnexplainedFlagsError, match=r"WARM 1 in pixels that they do not give"):
        reinitialize_dq(old, in_place=True, crds_path=root, context=NEW)
    assert digest(old) == before


def test_flags_hidden_under_those_of_the_mask_are_not_lost(folder: Path, root: Path) -> None:
    """The exposure had of its own the very flag that the old mask gives and the new does not."""
    flags = np.where(own_flags() == BAD, np.uint32(BAD), np.uint32(0))
    raw = exposure(folder / "ramp.fits", pixeldq=flags)
    old = folder / "old.fits"
    apply_dq(raw, old, crds_path=root, context=OLD)
    assert arrays(old)["PIXELDQ"].tolist() == old_flags().tolist()
    with pytest.raises(UnexplainedFlagsError, match="takes flags back"):
        reinitialize_dq(old, in_place=True, crds_path=root, context=NEW)
    fresh, _, place = ways(raw, root, original=raw)
    assert_same(place, fresh)
    assert arrays(place)["PIXELDQ"][2, 3] == BAD


def test_a_mask_that_only_adds_needs_no_raw_ramp(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = old_flags()
    more[4, 4] = WARM
    with monkeypatch.context() as patch:
        target = "tmt_dq.references.crds_certify.certify_reference"
        patch.setattr(target, lambda *_args, **_options: ())
        root = make_contexts(folder / "cache", (old_flags(), more))
    raw = exposure(folder / "ramp.fits", pixeldq=old_flags())
    fresh, copy, place = ways(raw, root)
    assert_same(copy, fresh)
    assert_same(place, fresh)


def test_empty_flags_are_no_flags(folder: Path, root: Path) -> None:
    raw = exposure(
        folder / "ramp.fits",
        pixeldq=np.zeros((6, 8), np.uint32),
        groupdq=np.zeros((1, 3, 6, 8), np.uint8),
    )
    fresh, copy, place = ways(raw, root)
    assert_same(copy, fresh)
    assert_same(place, fresh)


def test_another_ramp_is_not_taken_for_the_raw_one(raw: Path, root: Path, folder: Path) -> None:
    other = exposure(folder / "other.fits", header={"TIME-OBS": "11:00:00"})
    apply_dq(raw, folder / "old.fits", crds_path=root, context=OLD)
    with pytest.raises(GeometryError, match="is not the ramp"):
        reinitialize_dq(folder / "old.fits", in_place=True, raw=other, crds_path=root)


# --- what is refused -----------------------------------------------------------------------------


def add_flag(path: Path, name: str, place: tuple[int, ...], flag: int) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus[name].data[place] |= flag


def initialize_twice(path: Path, root: Path) -> None:
    apply_dq(path, in_place=True, crds_path=root, context=NEW)


def set_card(path: Path, key: str, value: Any) -> None:
    fits.setval(path, key, value=value)


SPOILT: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "a pixel more": (
        lambda path, _: add_flag(path, "PIXELDQ", (1, 1), WARM),
        "WARM 1 in pixels that they do not give",
    ),
    "a sample more": (
        lambda path, _: add_flag(path, "GROUPDQ", (0, 1, 1, 1), CONVENTION["JUMP_DET"]),
        "JUMP_DET 1 in samples that they do not give",
    ),
    "a pixel less": (
        lambda path, _: clear(path),
        "DEAD 1 in pixels missing",
    ),
    "another step": (lambda path, _: set_card(path, "S_JUMP", "COMPLETE"), "other steps.*S_JUMP"),
    "twice": (initialize_twice, "initialized 2 times"),
    "another mask": (lambda path, _: set_card(path, "R_MASK", "crds://else.fits"), "contradicts"),
    "another context": (lambda path, _: set_card(path, "CRDS_CTX", NEW), "contradicts"),
    "no history": (lambda path, _: fits.delval(path, "HISTORY"), "does not say how"),
    "another line": (
        lambda path, _: add_history(path, "tmt-dq 9.9 dq_init: magic: 3 pixels flagged"),
        "does not understand",
    ),
    "another count": (lambda path, _: recount(path), "but the same sources give"),
    "no old mask": (
        lambda _, root: (root / "references/tmt/iris/tmt_iris_mask_0002.fits").unlink(),
        "cannot be had again.*old_crds_path",
    ),
}


def clear(path: Path) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus["PIXELDQ"].data[0, 0] = 0


def add_history(path: Path, line: str) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.add_history(line)


def recount(path: Path) -> None:
    data = path.read_bytes()
    assert data.count(b".fits: 2 pixels") == 1
    path.write_bytes(data.replace(b".fits: 2 pixels", b".fits: 3 pixels"))


@pytest.mark.parametrize("name", SPOILT)
def test_flags_that_are_not_explained(raw: Path, root: Path, folder: Path, name: str) -> None:
    spoil, message = SPOILT[name]
    old = folder / "old.fits"
    apply_dq(raw, old, crds_path=root, context=OLD)
    spoil(old, root)
    before = digest(old)
    for options in ({"in_place": True}, {"output": folder / "never.fits"}):
        with pytest.raises(UnexplainedFlagsError, match=f"(?s){message}"):
            reinitialize_dq(old, crds_path=root, context=NEW, **options)
    assert digest(old) == before
    assert sorted(p.name for p in folder.iterdir()) == ["old.fits", "ramp.fits"]


def test_what_is_not_an_output(raw: Path, root: Path, folder: Path) -> None:
    with pytest.raises(UnexplainedFlagsError, match="not initialized yet"):
        reinitialize_dq(raw, in_place=True, crds_path=root)
    apply_dq(raw, folder / "none.fits", mask="N/A")
    with pytest.raises(UnexplainedFlagsError, match="without a mask"):
        reinitialize_dq(folder / "none.fits", in_place=True, crds_path=root)
    apply_dq(raw, folder / "old.fits", crds_path=root, context=OLD)
    with pytest.raises(ConfigError, match="made without"):
        reinitialize_dq(folder / "old.fits", in_place=True, crds_path=root, user_dq=raw)
    for options in ({}, {"output": folder / "a.fits", "in_place": True}):
        with pytest.raises(ConfigError, match="one of them"):
            reinitialize_dq(folder / "old.fits", crds_path=root, **options)
    with pytest.raises(OutputError, match="exists"):
        reinitialize_dq(folder / "old.fits", folder / "none.fits", crds_path=root)


def test_groups_that_would_keep_old_flags(folder: Path, root: Path) -> None:
    """N/A now: new sources would leave the DO_NOT_USE that the old mask gave to groups."""
    raw = exposure(folder / "ramp.fits")
    old = folder / "old.fits"
    apply_dq(raw, old, crds_path=root, context=OLD, propagate_do_not_use=True)
    before = digest(old)
    with pytest.raises(UnexplainedFlagsError, match="would not touch"):
        reinitialize_dq(old, in_place=True, mask="N/A", crds_path=root)
    assert digest(old) == before


# --- killed --------------------------------------------------------------------------------------

KILLER = """
import os, sys
import tmt_dq.files.syscalls as syscalls, tmt_dq.files.copying as copying
import tmt_dq.references.selection
from tmt_dq.reinitialize import reinitialize_dq

def deadly(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return call

os.fsync = lambda fd: None  # a killed process, unlike a machine, loses nothing that was written
for name in ("pwrite", "ftruncate", "fsync", "unlink", "link", "replace"):
    setattr(os, name, deadly(getattr(os, name)))
copying.WAYS = (deadly(copying._by_copy_file_range),)
syscalls._fallocate = deadly(syscalls._fallocate)
for line in sys.stdin:
    count, path, root, context = line.split()
    if count == "0":
        # Rules and masks are read once, here, and not in each of the processes that are killed.
        left = 1000
        reinitialize_dq(path, path + ".new", crds_path=root, context=context)
        os.unlink(path + ".new")
    left = int(count)
    child = os.fork()
    if child == 0:
        reinitialize_dq(path, in_place=True, crds_path=root, context=context)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_at_any_moment(raw: Path, root: Path, folder: Path) -> None:
    """Kill the process before each of its writes in turn: the file is the old or the new one."""
    old, victim, expected = (folder / f"{name}.fits" for name in ("old", "victim", "expected"))
    apply_dq(raw, old, crds_path=root, context=OLD, propagate_do_not_use=True)
    apply_dq(raw, expected, crds_path=root, context=NEW, propagate_do_not_use=True)
    original = digest(old)
    outcomes = {"untouched": 0, "taken back": 0, "complete": 0}
    with subprocess.Popen(
        [sys.executable, "-c", KILLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None
        status = -signal.SIGKILL
        for allowed in range(100):
            shutil.copyfile(old, victim)
            killer.stdin.write(f"{allowed} {victim} {root} {NEW}\n")
            killer.stdin.flush()
            status = int(killer.stdout.readline())
            assert status in {0, -signal.SIGKILL}
            if journal_module.journal_path(victim).exists():
                fd = os.open(victim, os.O_RDWR)
                assert journal_module.roll_back(victim, fd)
                os.close(fd)
                assert digest(victim) == original
                outcomes["taken back"] += 1
            elif digest(victim) == original:
                outcomes["untouched"] += 1
            else:
                assert_same(victim, expected)
                outcomes["complete"] += 1
            if status == 0:
                break
        killer.stdin.close()
    assert status == 0, "killed a hundred times and never finished"
    assert all(outcomes.values()), outcomes


def test_the_next_run_takes_an_interrupted_one_back(
    raw: Path, root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, _, place = ways(raw, root)
    reinitialize_dq(place, in_place=True, crds_path=root, context=OLD)

    def die(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tmt_dq.io.inplace.discard", die)
        with pytest.raises(KeyboardInterrupt):
            reinitialize_dq(place, in_place=True, crds_path=root, context=NEW)
    assert journal_module.pending(place)
    reinitialize_dq(place, in_place=True, crds_path=root, context=NEW)
    assert_same(place, fresh, replaced=3)
