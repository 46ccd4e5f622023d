"""Which exposures a delivery makes worth processing again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import folder_state, invoke, make_ramp
from delivery_helpers import NEW, OLD, deliverable, small_cache
from tmt_dq import affected, deliver_mask
from tmt_dq.errors import BatchError, ConfigError, GeometryError, SelectionError

pytestmark = pytest.mark.usefixtures("no_crds")

CONTEXTS = ("tmt_0001.pmap", "tmt_0002.pmap")


@pytest.fixture
def root(folder: Path) -> Path:
    """Return a cache whose second context has a mask with one pixel more, from May 2026 on.

    The masks cover 8 x 6 pixels from (101, 201); the new pixel is at (104, 203), 1-based.
    """
    root = small_cache(folder / "cache")
    deliver_mask(deliverable(folder / "mask.fits"), cache=root, yes=True)
    return root


@pytest.fixture
def ramp(folder: Path) -> Callable[..., Path]:
    """Return a function that writes an exposure of a part of the detector."""

    def write(
        name: str,
        date: str = "2026-06-01",
        *,
        start: tuple[int, int] = (101, 201),
        size: tuple[int, int] = (6, 8),
        **header: object,
    ) -> Path:
        cards = {"DATE-OBS": date, "SUBARRAY": "CUSTOM", **header}
        return make_ramp(folder / f"{name}.fits", (1, 2, *size), start=start, header=cards)

    return write


def test_another_mask(root: Path, ramp: Callable[..., Path]) -> None:
    before = ramp("before", "2026-04-30")
    after = ramp("after", "2026-05-01")
    state = folder_state(root)
    first, second = affected(*CONTEXTS, [before, after], crds_path=root)
    assert (first.path, first.affected, first.old, first.new) == (before, False, OLD, OLD)
    assert first.reason == f"the same file, {OLD}"
    assert (second.path, second.affected, second.old, second.new) == (after, True, OLD, NEW)
    assert second.pixels == 1
    assert "other flags in 1 of its pixels" in second.reason
    assert folder_state(root) == state


def test_the_same_flags_in_its_pixels(root: Path, ramp: Callable[..., Path]) -> None:
    """The new pixel lies outside of this exposure: R_MASK would change, PIXELDQ would not."""
    path = ramp("corner", start=(105, 201), size=(3, 4))
    [effect] = affected(*CONTEXTS, [path], crds_path=root)
    assert (effect.affected, effect.pixels) == (True, 0)
    assert "the same flags in its pixels" in effect.reason
    [effect] = affected(*CONTEXTS, [path], crds_path=root, flags_only=True)
    assert (effect.affected, effect.pixels) == (False, 0)
    inside = ramp("inside", start=(104, 203), size=(1, 1))
    [effect] = affected(*CONTEXTS, [inside], crds_path=root, flags_only=True)
    assert (effect.affected, effect.pixels) == (True, 1)


def test_the_same_name_with_other_pixels(folder: Path, ramp: Callable[..., Path]) -> None:
    """Two caches with a mask of one name, which differs at (101, 201) and (108, 206), 1-based."""
    ours, theirs = small_cache(folder / "ours"), small_cache(folder / "theirs")
    dq = np.zeros((6, 8), np.uint32)
    dq[0, 0] = dq[5, 7] = 1024
    (theirs / "references/tmt/iris" / OLD).unlink()
    deliverable(theirs / "references/tmt/iris" / OLD, dq)
    paths = [
        ramp("all"),
        ramp("one", start=(101, 201), size=(2, 2)),
        ramp("none", start=(102, 202), size=(4, 6)),
    ]
    effects = affected(
        "tmt_0001.pmap", "tmt_0001.pmap", paths, crds_path=ours, old_crds_path=theirs
    )
    assert [effect.affected for effect in effects] == [True, True, False]
    assert [effect.pixels for effect in effects] == [2, 1, 0]
    assert {(effect.old, effect.new) for effect in effects} == {(OLD, OLD)}


def test_a_mask_where_there_was_none(root: Path, ramp: Callable[..., Path]) -> None:
    paths = [ramp("old", "2015-01-01"), ramp("other", DETECTOR="IRIS2")]
    effects = affected(*CONTEXTS, paths, crds_path=root)
    assert [effect.affected for effect in effects] == [False, False]
    assert {effect.old for effect in effects} == {"no rule"}
    # The other way round, and from no rule to a rule.
    path = ramp("now")
    [effect] = affected(CONTEXTS[1], CONTEXTS[0], [path], crds_path=root)
    assert (effect.affected, effect.old, effect.new) == (True, NEW, OLD)
    mask = deliverable(path.with_name("second.fits"), header={"DETECTOR": "IRIS2"})
    receipt = deliver_mask(mask, cache=root, yes=True)
    [effect] = affected(receipt.context_before, receipt.context, paths[1:], crds_path=root)
    assert (effect.affected, effect.old, effect.new) == (True, "no rule", receipt.mask)


def test_exposures_that_cannot_be_judged(root: Path, ramp: Callable[..., Path]) -> None:
    good = ramp("good")
    missing = good.with_name("missing.fits")
    outside = ramp("outside", start=(1, 1))
    with pytest.raises(BatchError, match="2 of 3") as caught:
        affected(*CONTEXTS, [good, missing, outside], crds_path=root)
    assert len(caught.value.exceptions) == 2
    effects = affected(*CONTEXTS, [good, missing, outside], crds_path=root, keep_errors=True)
    assert [effect.error is None for effect in effects] == [True, False, False]
    assert isinstance(effects[2].error, GeometryError)
    # Nobody may conclude that they need not be processed again.
    assert all(effect.affected for effect in effects)
    path = ramp("one")
    with pytest.raises(SelectionError, match="tmt_0009"):
        affected("tmt_0001.pmap", "tmt_0009.pmap", [path], crds_path=root)
    with pytest.raises(ConfigError):
        affected("tmt_0001.pmap", "latest", [path], crds_path=root / "nowhere")
    [effect] = affected("tmt_0001.pmap", "latest", [path], crds_path=root)
    assert effect.new == NEW


def test_command_line(root: Path, ramp: Callable[..., Path]) -> None:
    paths = [ramp("before", "2026-04-30"), ramp("after")]
    arguments: list[Any] = ["affected", *CONTEXTS, *paths, "--crds-path", root]
    outcome = invoke(*arguments, code=0)
    lines = outcome.out.splitlines()
    assert [line.split()[1] for line in lines] == ["affected", "no", "yes"]
    outcome = invoke(*arguments, "--json")
    tables = json.loads(outcome.out)["exposures"]
    assert [table["affected"] for table in tables] == [False, True]
    assert tables[1]["path"] == str(paths[1])
    outcome = invoke(*arguments, paths[0].with_name("missing.fits"), code=9)
    assert len(outcome.out.splitlines()) == 4
    assert (
        invoke("affected", "tmt_0001.pmap", "tmt_0009.pmap", paths[0], "--crds-path", root).code
        == 6
    )


def test_masks_that_are_not_as_recorded(root: Path, ramp: Callable[..., Path]) -> None:
    """--no-verify judges with a mask whose sha256 is not the one on record."""
    path = ramp("after")
    (mask,) = (root / "references/tmt/iris").glob("*0002.fits")
    with fits.open(mask, mode="update") as hdus:
        hdus[0].header["COMMENT"] = "changed by hand"
    words: list[Any] = ["affected", *CONTEXTS, path, "--crds-path", root, "--json"]
    outcome = invoke(*words)
    (exposure,) = json.loads(outcome.out)["exposures"]
    assert (outcome.code, "sha256" in exposure["error"]["what"]) == (9, True)
    outcome = invoke(*words, "--no-verify", code=0)
    assert json.loads(outcome.out)["exposures"][0]["error"] is None
