"""Deliveries that are killed, and deliveries at once: the cache is the old one or the new one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders import folder_state
from delivery_helpers import NEW, OLD, answer, default_context, deliverable, small_cache
from tmt_dq.delivery.receipts import read_receipt

SETUP = """
import json, os, sys
from tmt_dq.references import crds_tools
from tmt_dq import deliver_mask, rollback
crds_tools.certify_reference = lambda *_args, **_options: ()
"""

KILLER = (
    SETUP
    + """
left, root = None, "?"

def deadly(function):
    # Die before the nth name in the cache that appears, goes or gets another content.
    def call(*args, **options):
        global left
        if left is not None and any(root in str(argument) for argument in args):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)
        return function(*args, **options)
    return call

# Warm up: what is imported and read now need not be in each child.
deliver_mask(sys.argv[1], cache=sys.argv[2], dry_run=True)
for name in ("link", "mkdir", "rename", "replace", "unlink"):
    setattr(os, name, deadly(getattr(os, name)))
for line in sys.stdin:
    allowed, job, *arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        left, root = allowed, arguments[-1].partition("/deliveries/")[0]
        if job == "deliver":
            deliver_mask(arguments[0], cache=arguments[1], yes=True)
        else:
            rollback(arguments[0])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)

DELIVER = (
    SETUP
    + """
options = {"create": True, "force": True, "yes": True}
print(deliver_mask(sys.argv[1], cache=sys.argv[2], **options).mask)
"""
)

Run = Callable[..., int]


@pytest.fixture
def mask(folder: Path) -> Path:
    return deliverable(folder / "mask.fits")


@pytest.fixture(params=[False, True], ids=["no server_config", "server_config"])
def template(folder: Path, request: pytest.FixtureRequest) -> Path:
    """Return a cache to make copies of."""
    return small_cache(folder / "template", config=request.param)


@pytest.fixture
def run(mask: Path, template: Path, tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs a job in a process that may be allowed a number of writes."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", KILLER, str(mask), str(template)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None

        def job(allowed: int | None, *what: object) -> int:
            assert killer.stdin is not None
            assert killer.stdout is not None
            print(json.dumps([allowed, *map(str, what)]), file=killer.stdin, flush=True)
            return int(killer.stdout.readline())

        yield job
        killer.stdin.close()


def check_whole(root: Path, *, new: bool) -> None:
    """Make sure that a cache answers as the old or as the new one, and holds what it refers to."""
    number = 2 if new else 1
    assert default_context(root) == f"tmt_000{number}.pmap"
    assert answer(root, "2026-05-01T00:00:00") == (NEW if new else OLD)
    assert answer(root, "2026-04-30T23:59:59") == OLD
    if new:
        receipt = read_receipt(root / "deliveries/tmt/tmt_0002.json")
        assert all((root / file.path).stat().st_size == file.size for file in receipt.files)


def names(root: Path) -> set[str]:
    """Return the files and folders of a cache."""
    return {name for name in folder_state(root) if name != ".tmt-dq.lock"}


def test_delivery_killed_at_any_moment(run: Run, template: Path, mask: Path, folder: Path) -> None:
    """Kill it before each of its writes; the cache is the old or the new one, and goes on."""
    outcomes = {"old": 0, "new": 0}
    status = -signal.SIGKILL
    allowed = 0
    while status != 0:
        root = folder / f"victim{allowed}"
        shutil.copytree(template, root)
        status = run(allowed, "deliver", mask, root)
        assert status in {0, -signal.SIGKILL}
        new = default_context(root) == "tmt_0002.pmap"
        check_whole(root, new=new)
        outcomes["new" if new else "old"] += 1
        left = {Path(name).name for name in names(root) - names(template)}
        if not new:
            assert run(None, "deliver", mask, root) == 0
            # What was left is told, is not used, and stays.
            receipt = read_receipt(
                (root / "deliveries/tmt" / default_context(root)).with_suffix(".json")
            )
            assert answer(root, "2026-05-01T00:00:00") == receipt.mask
            left = {name for name in left if name.startswith("tmt_") and "json" not in name}
            told = f"files of interrupted or withdrawn deliveries in {root}: {len(left)}, from tmt_"
            assert any(text.startswith(told) for text in receipt.warnings) == bool(left)
            assert not left & {Path(file.path).name for file in receipt.files}
        allowed += 1
    assert outcomes["old"] > 8
    assert outcomes["new"] >= 1


def test_rollback_killed_at_any_moment(run: Run, template: Path, mask: Path, folder: Path) -> None:
    delivered = folder / "delivered"
    shutil.copytree(template, delivered)
    assert run(None, "deliver", mask, delivered) == 0
    outcomes = {"delivered": 0, "taken back": 0}
    status = -signal.SIGKILL
    allowed = 0
    while status != 0:
        root = folder / f"victim{allowed}"
        shutil.copytree(delivered, root)
        status = run(allowed, "rollback", root / "deliveries/tmt/tmt_0002.json")
        assert status in {0, -signal.SIGKILL}
        still = default_context(root) == "tmt_0002.pmap"
        check_whole(root, new=still)
        outcomes["delivered" if still else "taken back"] += 1
        # Whoever chose the mask a moment ago still finds it, and rules that name it.
        moved = {"mappings/tmt/tmt_0002.pmap"}
        assert names(delivered) - names(root) <= moved
        if not still:
            assert run(None, "deliver", mask, root) == 0
            assert default_context(root) == "tmt_0003.pmap"
            assert answer(root, "2026-05-01T00:00:00") == "tmt_iris_mask_0003.fits"
        allowed += 1
    assert min(outcomes.values()) >= 1, outcomes


def deliver_at_once(masks: list[Path], root: Path) -> list[str]:
    """Deliver each mask in a process of its own; return the names that they got."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DELIVER, str(mask), str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mask in masks
    ]
    names = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        names.append(out.strip())
    return names


def test_deliveries_at_once(template: Path, folder: Path) -> None:
    """All end up in the cache, in the order in which they got there."""
    masks = [
        deliverable(folder / f"mask{day}.fits", useafter=f"2026-05-0{day}T00:00:00")
        for day in range(1, 5)
    ]
    found = deliver_at_once(masks, template)
    assert sorted(found) == [f"tmt_iris_mask_000{number}.fits" for number in range(2, 6)]
    assert default_context(template) == "tmt_0005.pmap"
    for day, name in enumerate(found, start=1):
        assert answer(template, f"2026-05-0{day}T12:00:00") == name
    chain = [read_receipt(path) for path in sorted((template / "deliveries/tmt").glob("*.json"))]
    before = [f"tmt_000{number}.pmap" for number in range(1, 5)]
    assert [one.context_before for one in chain] == before


def test_first_deliveries_at_once(folder: Path, mask: Path) -> None:
    """Two that find no cache make one, and both end up in it."""
    root = folder / "new"
    found = deliver_at_once([mask, mask], root)
    assert sorted(found) == ["tmt_iris_mask_0106.fits", "tmt_iris_mask_0107.fits"]
    assert default_context(root) == "tmt_0102.pmap"
    assert {path.name for path in folder.iterdir()} == {"mask.fits", "new"}
