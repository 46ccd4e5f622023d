"""When a file is complete: no prefix of a ramp may be taken for a ramp."""

import fcntl
import mmap
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import compress_gzip, compress_tiles, make_ramp
from tmt_dq.watch import completeness
from tmt_dq.watch.arrivals import Arrivals
from tmt_dq.watch.completeness import Look, Wait, look, wait_for
from tmt_dq.watch.options import is_remote

PATIENCE: dict[Wait, float] = {"no": 0, "settle": 2, "stalled": 60}


def structure(path: Path) -> tuple[str, bool | None, str]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return completeness.structure(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def seen(path: Path, *, remote: bool = False) -> Look:
    found = look(str(path), remote=remote)
    assert found is not None
    return found


def ends(path: Path) -> list[int]:
    """Return where astropy says that HDUs end."""
    with fits.open(path) as file:
        infos = [hdu.fileinfo() for hdu in file]
    return [info["datLoc"] + info["datSpan"] for info in infos]


def test_no_prefix_is_whole(tmp_path: Path) -> None:
    """Every block, and the bytes about it: whole only where SCI and all that was begun is there."""
    extra = [fits.ImageHDU(np.zeros((7, 1000), np.int32), name="EXTRA")]
    ramp = make_ramp(tmp_path / "whole.fits", (1, 2, 40, 50), extra=extra)
    content = ramp.read_bytes()
    boundaries = ends(ramp)
    assert boundaries[-1] == len(content)
    cut = tmp_path / "cut.fits"
    chance = random.Random(1)
    blocks = range(0, len(content) + 1, 2880)
    sizes = {place + step for place in blocks for step in (-1, 0, 1)}
    sizes |= {chance.randrange(len(content)) for _ in range(50)}
    sizes = {size for size in sizes if 0 <= size <= len(content)}
    kinds = {}
    for size in sorted(sizes):
        cut.write_bytes(content[:size])
        kinds[size], _, what = structure(cut)
        assert (what == "") == (kinds[size] == "whole")
    assert set(kinds.values()) == {"partial", "whole"}
    assert {size for size, kind in kinds.items() if kind == "whole"} == set(boundaries[1:])


@pytest.mark.parametrize(
    ("cards", "sci", "expected"),
    [
        ({}, {}, None),
        ({"COMPLETE": True}, {}, True),
        ({"COMPLETE": False}, {}, False),
        ({}, {"COMPLETE": False}, False),
        ({"COMPLETE": True}, {"COMPLETE": False}, True),
        ({"COMPLETE": "yes"}, {}, None),
    ],
)
def test_keyword_complete(
    tmp_path: Path, cards: dict[str, object], sci: dict[str, object], expected: bool | None
) -> None:
    ramp = make_ramp(tmp_path / "a.fits", header=cards, sci_header=sci)
    assert structure(ramp) == ("whole", expected, "")


def test_what_is_not_whole(tmp_path: Path) -> None:
    content = make_ramp(tmp_path / "a.fits", (1, 2, 40, 50)).read_bytes()
    # A program makes room first and then fills it from the start.
    room = tmp_path / "room.fits"
    room.write_bytes(bytes(len(content)))
    assert structure(room)[0] == "partial"
    with room.open("r+b") as file:
        file.write(content[:2880])
    assert structure(room)[0] == "partial"
    whole = make_ramp(tmp_path / "a.fits").read_bytes()
    card = f"BITPIX  = {8:>20}".encode()
    assert card in whole
    senseless = [whole.replace(card, f"BITPIX  = {value:>20}".encode()) for value in (7, "many")]
    lfs = b"version https://git-lfs.github.com/spec/v1\n"
    for content in (b"nonsense", b"SIMPLE no", lfs, whole + b"garbage".ljust(2880), *senseless):
        (tmp_path / "a.fits").write_bytes(content)
        assert structure(tmp_path / "a.fits")[0] == "damaged"
    ramp = make_ramp(tmp_path / "a.fits", (1, 2, 40, 50))
    packed = compress_gzip(ramp, tmp_path / "a.fits.gz")
    assert structure(packed)[0] == "opaque"
    tiles = compress_tiles(ramp, tmp_path / "a.fits.fz")
    assert structure(tiles)[0] == "whole"
    os.truncate(tiles, tiles.stat().st_size - 2880)
    assert structure(tiles)[0] == "partial"


def test_open_for_writing_is_seen(tmp_path: Path) -> None:
    """Also a program that made room first and fills it in any order, with pauses of any length."""
    ramp = make_ramp(tmp_path / "a.fits")
    if seen(ramp).wait == "settle":
        pytest.skip("this file system gives no leases")
    assert seen(ramp).wait == "no"
    with ramp.open("ab"), ramp.open("rb"):
        assert seen(ramp).wait == "stalled"
    with ramp.open("rb"):
        assert seen(ramp).wait == "no"
    # Also where only a mapping of it is left.
    with ramp.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    assert seen(ramp).wait == "stalled"
    mapped.close()
    assert seen(ramp).wait == "no"
    # Elsewhere, other machines may write: nothing is known.
    assert seen(ramp, remote=True).wait == "settle"


def test_writers_are_neither_stopped_nor_kill_us(tmp_path: Path) -> None:
    """The lease is in the way of a writer for microseconds; the signal about it ends nobody."""
    ramp = make_ramp(tmp_path / "a.fits")
    code = (
        "import sys\n"
        "for _ in range(20000): open(sys.argv[1], 'r+b', buffering=0).close()\n"
        "print('done')\n"
    )
    before = signal.getsignal(signal.SIGIO)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(ramp)], stdout=subprocess.PIPE, text=True
    ) as writer:
        while writer.poll() is None:
            look(str(ramp), remote=False)
        assert writer.stdout is not None
        assert writer.stdout.read() == "done\n"
    assert signal.getsignal(signal.SIGIO) == before
    fd = os.open(ramp, os.O_RDONLY)
    try:
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    finally:
        os.close(fd)


def test_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.fits").mkdir()
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "link.fits").symlink_to(tmp_path / "nowhere.fits")
    for name in ("folder.fits", "pipe.fits", "link.fits", "nothing.fits"):
        assert look(str(tmp_path / name), remote=False) is None


@pytest.mark.parametrize(
    ("kind", "writers", "complete", "wait"),
    [
        ("whole", "none", None, "no"),
        ("whole", "none", True, "no"),
        ("opaque", "none", None, "no"),
        # Reads may still come.
        ("whole", "none", False, "settle"),
        # Nobody knows who writes.
        ("whole", "unknown", True, "settle"),
        ("opaque", "unknown", None, "settle"),
        # Somebody has it open: however whole it looks.
        ("whole", "some", True, "stalled"),
        # Not whole: given up in the end.
        ("partial", "unknown", True, "stalled"),
        ("damaged", "none", None, "settle"),
        # Reads were added, and their number will be written at the end.
        ("damaged", "some", None, "stalled"),
    ],
)
def test_how_long_to_wait(kind: Any, writers: Any, complete: bool | None, wait: str) -> None:
    assert wait_for(kind, writers, complete=complete)[0] == wait


class Clock:
    """The monotonic clock, in our hands."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(arrivals: Arrivals, clock: Clock, seconds: float) -> Iterator[tuple[float, str]]:
    """Let time go by; yield what is taken, and after how long."""
    start = clock.now
    while clock.now - start <= seconds:
        for path, _ in arrivals.ready():
            yield round(clock.now - start, 2), Path(path).name
        clock.now += 0.02


def test_another_machine_writes(tmp_path: Path, clock: Clock) -> None:
    """Where nobody knows the writers, a whole file is taken when it has settled."""
    ramp = make_ramp(tmp_path / "a.fits", header={"COMPLETE": True})
    content = ramp.read_bytes()
    arrivals = Arrivals(PATIENCE, remote=True, clock=clock)
    arrivals.notice(str(ramp))
    ramp.write_bytes(content[:5000])
    assert list(taken(arrivals, clock, 30)) == []
    ramp.write_bytes(content)
    ((after, _),) = taken(arrivals, clock, 30)
    assert 2 <= after <= 2.6


def test_reads_are_added_before_their_number(tmp_path: Path, clock: Clock) -> None:
    """A readout that adds a read now and then, and writes at the end how many there are."""
    content = make_ramp(tmp_path / "whole", (1, 4, 40, 50)).read_bytes()
    (end,) = ends(tmp_path / "whole")[1:]
    card, early = (f"NAXIS3  = {number:>20}".encode() for number in (4, 2))
    assert content.count(card) == 1
    path = tmp_path / "a.fits"
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    with path.open("wb", buffering=0) as file:
        file.write(content.replace(card, early)[: end - 8640])
        arrivals.notice(str(path))
        assert list(taken(arrivals, clock, 20)) == []
        file.write(content[end - 8640 :])
        assert list(taken(arrivals, clock, 20)) == []
        assert arrivals.reasons() == {str(path): "a program has it open for writing"}
        file.seek(0)
        file.write(content)
    assert [name for _, name in taken(arrivals, clock, 1)] == ["a.fits"]


def test_truncated_is_given_up(tmp_path: Path, clock: Clock) -> None:
    ramp = make_ramp(tmp_path / "a.fits")
    os.truncate(ramp, 6000)
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    arrivals.notice(str(ramp))
    assert list(taken(arrivals, clock, 50)) == []
    with ramp.open("ab") as file:
        file.write(b"\0")
    assert list(taken(arrivals, clock, 50)) == []  # it has grown: a new minute begins
    assert [name for _, name in taken(arrivals, clock, 50)] == ["a.fits"]
    # One that is removed is forgotten, one that is replaced is seen at once.
    arrivals.notice(str(ramp))
    assert list(taken(arrivals, clock, 10)) == []
    ramp.unlink()
    assert list(taken(arrivals, clock, 1)) == []
    assert len(arrivals) == 0


@pytest.mark.parametrize(
    ("kind", "remote"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False), ("tmpfs", False)],
)
def test_remote_file_systems(tmp_path: Path, kind: str, remote: bool) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:999999 / / rw,relatime shared:1 - nfs4 /dev/vda rw\n"
        f"30 22 {os.major(device)}:{os.minor(device)} / /mnt/a\\040b rw shared:2 - {kind} x rw\n"
    )
    assert is_remote(tmp_path, mounts=mounts) is remote
    assert is_remote(tmp_path, mounts=tmp_path / "none") is False
