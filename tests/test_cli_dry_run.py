"""Dry runs: every verb that writes says what it would write, with all its checks, and writes
nothing: no file, no folder, no time of change.
"""

import json
from pathlib import Path

import pytest

from builders import compress_gzip, invoke, make_mask, make_ramp
from delivery_helpers import deliverable, small_cache
from tmt_dq.apply.apply import apply_dq
from tmt_dq.delivery.deliver import deliver_mask

Entry = tuple[int, int, int, bytes]


def tree(folder: Path) -> dict[str, Entry]:
    """Return all that is below a folder: inode, size, time of change, content."""
    state = {}
    for path in sorted((folder, *folder.rglob("*"))):
        info = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        state[str(path)] = (info.st_ino, info.st_size, info.st_mtime_ns, content)
    return state


@pytest.mark.parametrize("how", ["beside", "gzip"])
def test_apply_counts_what_it_would_write(folder: Path, how: str) -> None:
    ramp = make_ramp(folder / "a_uncal.fits", (1, 3, 6, 8))
    mask = make_mask(folder / "mask.fits")
    if how == "gzip":
        ramp = compress_gzip(ramp, folder / "b_uncal.fits.gz")
    words = ["apply", ramp, "--mask", mask, "--propagate-do-not-use", "--full-scale", "143"]
    before = tree(folder)
    rehearsed = invoke(*words, "--dry-run", "--json")
    assert (rehearsed.code, rehearsed.err) == (0, "")
    assert tree(folder) == before
    (would,) = json.loads(rehearsed.out)["ramps"]
    # 3 groups of 48 samples counting up from 0: one, the last, has 143. DEAD and HOT | DO_NOT_USE.
    assert would["counts"] == {"GOOD": 46, "DO_NOT_USE": 1, "DEAD": 1, "HOT": 1}
    (done,) = json.loads(invoke(*words, "--json").out)["ramps"]
    assert (would.pop("written"), done.pop("written")) == (False, True)
    for report in (would, done):
        del report["seconds"]
    assert would == done


def test_apply_refuses_what_it_would_refuse(folder: Path) -> None:
    mask = make_mask(folder / "mask.fits")
    ramp = make_ramp(folder / "a.fits")
    apply_dq(ramp, mask=mask)
    for words, code in (
        ([ramp], 10),  # the output exists
        ([ramp, "-o", folder / "no" / "out.fits"], 10),
        ([make_ramp(folder / "b.fits", start=(5, 5))], 5),  # beside the mask
        ([mask], 3),  # no ramp
    ):
        before = tree(folder)
        outcome = invoke("apply", *words, "--mask", mask, "--dry-run")
        assert (outcome.code, tree(folder) == before) == (code, True), outcome.err


@pytest.mark.parametrize("verb", ["import", "combine"])
def test_new_masks(folder: Path, verb: str) -> None:
    (folder / "hot.txt").write_text("x y\n3 2\n")
    mask = make_mask(folder / "mask.fits")
    words = {
        "import": [folder / "hot.txt", "--detector", "IRIS1", "--flag", "HOT", "--base", "1"],
        "combine": [mask, "--add", folder / "hot.txt", "--flag", "HOT", "--base", "1"],
    }[verb]
    before = tree(folder)
    outcome = invoke(verb, *words, "-o", folder / "new.fits", "--dry-run", "--json", code=0)
    assert tree(folder) == before
    report = json.loads(outcome.out)
    assert report["written"] is False
    assert report["counts"]["HOT"] == (1 if verb == "import" else 2)


@pytest.mark.usefixtures("no_crds")
def test_deliver_and_rollback(folder: Path) -> None:
    root = small_cache(folder / "cache")
    mask = deliverable(folder / "mask.fits")
    before = tree(folder)
    for words in (["--crds-path", root], ["--crds-path", folder / "new cache"]):
        outcome = invoke("deliver", mask, *words, "--create", "--dry-run", "--json")
        if words[1] == root:
            assert outcome.code == 0, outcome.err
            assert json.loads(outcome.out)["path"] is None
        assert tree(folder) == before
    receipt = deliver_mask(mask, cache=root, yes=True)
    before = tree(folder)
    outcome = invoke("rollback", receipt.path, "--dry-run")
    assert (outcome.code, "would be taken out" in outcome.out) == (0, True)
    outcome = invoke("rollback", receipt.path, "--dry-run", "--json")
    assert json.loads(outcome.out)["rolled_back"] is None
    assert tree(folder) == before
    assert invoke("rollback", receipt.path).code == 0
    before = tree(folder)
    outcome = invoke("rollback", receipt.path, "--dry-run")
    assert (outcome.code, "taken back already" in outcome.err) == (8, True)
    assert tree(folder) == before


def test_demo(folder: Path) -> None:
    before = tree(folder)
    outcome = invoke("demo", "--output-dir", folder / "a" / "b", "--dry-run", "--json")
    report = json.loads(outcome.out)
    assert report["written"] is False
    assert [Path(name).name for name in report["files"]] == [
        f"iris_demo_{name}"
        for name in ("uncal.fits", "mask.fits", "cache", "dqinit.fits", "flags.png", "flags.html")
    ]
    assert "not written" in invoke("demo", "--output-dir", folder, "--dry-run").out
    assert tree(folder) == before
