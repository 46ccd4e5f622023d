"""When a file is complete: no prefix of a ramp may be taken for a ramp.

What could go wrong: a cut at a block boundary, between two extensions, inside a header; room made
beforehand; a writer that has the file open; names that are moved; clocks that jump; a file that
never becomes whole.
"""

import fcntl
import gzip
import mmap
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import compress_gzip, compress_tiles, make_ramp
from tmt_dq.watch.arrivals import Arrivals
from tmt_dq.watch.completeness import (
    Identity,
    Look,
    Patience,
    Structure,
    look,
    read_structure,
    wait_for,
)
from tmt_dq.watch.options import is_remote

PATIENCE = Patience(settle_s=2, stalled_s=60)


def structure(path: Path) -> Structure:
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_structure(fd, os.fstat(fd).st_size)
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


# --- the structure ---------------------------------------------------------------------------


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
    kinds = {}
    for size in sorted(sizes):
        if 0 <= size <= len(content):
            cut.write_bytes(content[:size])
            kinds[size] = structure(cut)
    assert {size for size, one in kinds.items() if one.kind == "whole"} == set(boundaries[1:])
    assert {size for size, one in kinds.items() if one.kind == "headless"} == {boundaries[0]}
    assert {size for size, one in kinds.items() if one.kind == "empty"} == {0}
    for size, one in kinds.items():
        if one.kind == "partial":
            # It asks for no more than there will be, and for more than there is.
            assert size < one.needs <= len(content)
            assert one.what


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
    assert structure(ramp) == Structure("whole", ramp.stat().st_size, expected)


def test_room_made_beforehand(tmp_path: Path) -> None:
    """A program that makes room first and then fills it from the start."""
    content = make_ramp(tmp_path / "a.fits", (1, 2, 40, 50)).read_bytes()
    room = tmp_path / "room.fits"
    room.write_bytes(bytes(len(content)))
    assert structure(room).kind == "partial"
    with room.open("r+b") as file:
        file.write(content[:2880])
    assert structure(room).kind == "partial"


def test_what_can_never_be_fits(tmp_path: Path) -> None:
    whole = make_ramp(tmp_path / "a.fits").read_bytes()
    card = f"BITPIX  = {8:>20}".encode()
    assert card in whole
    senseless = [whole.replace(card, f"BITPIX  = {value:>20}".encode()) for value in (7, "many")]
    lfs = b"version https://git-lfs.github.com/spec/v1\n"
    for content in (b"nonsense", b"SIMPLE no", lfs, whole + b"garbage".ljust(2880), *senseless):
        (tmp_path / "a.fits").write_bytes(content)
        assert structure(tmp_path / "a.fits").kind == "damaged"


def test_compressed(tmp_path: Path) -> None:
    ramp = make_ramp(tmp_path / "a.fits", (1, 2, 40, 50))
    packed = compress_gzip(ramp, tmp_path / "a.fits.gz")
    assert structure(packed).kind == "opaque"
    tiles = compress_tiles(ramp, tmp_path / "a.fits.fz")
    assert structure(tiles).kind == "whole"
    os.truncate(tiles, tiles.stat().st_size - 2880)
    assert structure(tiles).kind == "partial"


# --- writers and moves -----------------------------------------------------------------------


def test_open_for_writing_is_seen(tmp_path: Path) -> None:
    ramp = make_ramp(tmp_path / "a.fits")
    if seen(ramp).writers == "unknown":
        pytest.skip("this file system gives no leases")
    assert seen(ramp).writers == "none"
    with ramp.open("ab"):
        assert seen(ramp).writers == "some"
        with ramp.open("rb"):
            assert seen(ramp).writers == "some"
    with ramp.open("rb"):
        assert seen(ramp).writers == "none"
    # Also where only a mapping of it is left.
    with ramp.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    assert seen(ramp).writers == "some"
    mapped.close()
    assert seen(ramp).writers == "none"
    # Elsewhere, other machines may write: nothing is known.
    assert seen(ramp, remote=True).writers == "unknown"


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


def made(
    kind: str = "whole", *, writers: str = "none", complete: bool | None = None, moved: bool = False
) -> Look:
    structure = Structure(kind, 1, complete, "what is missing")  # type: ignore[arg-type]
    return Look(Identity(1, 2, 3), structure, writers, moved)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (made(), 0),
        (made(complete=True), 0),
        (made("opaque"), 0),
        # Reads may still come, unless it was moved there as it is.
        (made(complete=False), 2),
        (made(complete=False, moved=True), 0),
        # Nobody knows who writes.
        (made(writers="unknown"), 2),
        (made(writers="unknown", complete=True), 0.1),
        (made(writers="unknown", moved=True), 0.1),
        (made("opaque", writers="unknown"), 2),
        (made("opaque", writers="unknown", complete=True), 2),
        # Somebody has it open: however whole it looks.
        (made(writers="some"), 60),
        (made(writers="some", complete=True, moved=True), 60),
        # Not whole: given up in the end.
        (made("partial"), 60),
        (made("partial", complete=True, moved=True), 60),
        (made("empty"), 60),
        (made("headless"), 60),
        (made("damaged"), 2),
        # Reads were added, and their number will be written at the end.
        (made("damaged", writers="some"), 60),
    ],
)
def test_how_long_to_wait(found: Look, seconds: float) -> None:
    assert wait_for(found, PATIENCE)[0] == seconds
    assert (wait_for(found, PATIENCE)[1] == "") == (seconds == 0)


# --- arrivals --------------------------------------------------------------------------------


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
        for arrival in arrivals.ready():
            yield round(clock.now - start, 2), Path(arrival.path).name
        due = arrivals.next_due()
        clock.now = max(clock.now + 0.001, due if due is not None else start + seconds + 1)


def test_written_slowly(tmp_path: Path, clock: Clock) -> None:
    """In bursts, the file open all the time, with pauses at each place where it looks whole."""
    content = make_ramp(tmp_path / "whole", (1, 2, 40, 50)).read_bytes()
    boundaries = ends(tmp_path / "whole")
    path = tmp_path / "a.fits"
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    with path.open("wb", buffering=0) as file:
        arrivals.notice(str(path), live=True)
        for first, last in zip([0, *boundaries], boundaries, strict=False):
            file.write(content[first : first + 1000])
            assert list(taken(arrivals, clock, 20)) == []
            file.write(content[first + 1000 : last])
            assert list(taken(arrivals, clock, 20)) == []
        assert list(taken(arrivals, clock, 20)) == []
        assert dict(arrivals.waiting()) == {str(path): "a program has it open for writing"}
    ((after, name),) = taken(arrivals, clock, 20)
    assert (name, after <= 0.5) == ("a.fits", True)
    assert len(arrivals) == 0


def test_moved_into_place(tmp_path: Path, clock: Clock) -> None:
    make_ramp(tmp_path / "a.part").rename(tmp_path / "a.fits")
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    arrivals.notice(str(tmp_path / "a.fits"), live=True)
    assert list(taken(arrivals, clock, 1)) == [(0, "a.fits")]


@pytest.mark.parametrize(("complete", "seconds"), [(None, 2), (False, 2), (True, 0.1)])
def test_another_machine_writes(
    tmp_path: Path, clock: Clock, complete: bool | None, seconds: float
) -> None:
    """Where nobody knows the writers, a whole file is taken when it has settled."""
    cards = {} if complete is None else {"COMPLETE": complete}
    ramp = make_ramp(tmp_path / "a.fits", header=cards)
    os.utime(ramp, ns=(0, 2**62))  # later than ctime: a clock of another machine that is wrong
    content = ramp.read_bytes()
    arrivals = Arrivals(PATIENCE, remote=True, clock=clock)
    arrivals.notice(str(ramp), live=True)
    ramp.write_bytes(content[:5000])
    assert list(taken(arrivals, clock, 30)) == []
    ramp.write_bytes(content)
    os.utime(ramp, ns=(0, 2**62))
    ((after, _),) = taken(arrivals, clock, 30)
    assert seconds <= after <= seconds + 0.6


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
        arrivals.notice(str(path), live=True)
        assert list(taken(arrivals, clock, 20)) == []
        file.write(content[end - 8640 :])
        assert list(taken(arrivals, clock, 20)) == []
        file.seek(0)
        file.write(content)
    assert [name for _, name in taken(arrivals, clock, 1)] == ["a.fits"]


def test_truncated_is_given_up(tmp_path: Path, clock: Clock) -> None:
    ramp = make_ramp(tmp_path / "a.fits")
    os.truncate(ramp, 6000)
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    arrivals.notice(str(ramp), live=True)
    assert list(taken(arrivals, clock, 50)) == []
    with ramp.open("ab") as file:
        file.write(b"\0")
    assert list(taken(arrivals, clock, 50)) == []  # it has grown: a new minute begins
    assert [name for _, name in taken(arrivals, clock, 50)] == ["a.fits"]


def test_jumping_clocks_do_not_matter(tmp_path: Path, clock: Clock) -> None:
    """Times of change in the past or the future are compared for equality, never with now."""
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    for name, when in (("past", 0), ("future", 2**62)):
        ramp = make_ramp(tmp_path / f"{name}.fits")
        os.utime(ramp, ns=(when, when))
        arrivals.notice(str(ramp), live=True)
    assert sorted(name for _, name in taken(arrivals, clock, 1)) == ["future.fits", "past.fits"]


def test_gone_before_it_was_complete(tmp_path: Path, clock: Clock) -> None:
    ramp = make_ramp(tmp_path / "a.fits")
    os.truncate(ramp, 6000)
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    arrivals.notice(str(ramp), live=True)
    assert list(taken(arrivals, clock, 1)) == []
    ramp.unlink()
    assert list(taken(arrivals, clock, 100)) == []
    assert len(arrivals) == 0


def test_replaced_by_another_file_while_waiting(tmp_path: Path, clock: Clock) -> None:
    ramp = make_ramp(tmp_path / "a.fits")
    size = ramp.stat().st_size
    os.truncate(ramp, 6000)
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    arrivals.notice(str(ramp), live=True)
    assert list(taken(arrivals, clock, 10)) == []
    make_ramp(tmp_path / "b.part").replace(ramp)
    assert ramp.stat().st_size == size
    assert [name for _, name in taken(arrivals, clock, 1)] == ["a.fits"]


def test_gzip_needs_its_writer_gone(tmp_path: Path, clock: Clock) -> None:
    content = gzip.compress(make_ramp(tmp_path / "a.fits").read_bytes())
    path = tmp_path / "a.fits.gz"
    arrivals = Arrivals(PATIENCE, remote=False, clock=clock)
    with path.open("wb", buffering=0) as file:
        file.write(content[:100])
        arrivals.notice(str(path), live=True)
        assert list(taken(arrivals, clock, 30)) == []
        file.write(content[100:])
    assert [name for _, name in taken(arrivals, clock, 1)] == ["a.fits.gz"]


# --- file systems ----------------------------------------------------------------------------

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /mnt/data\\040here rw shared:2 - nfs4 server:/export rw,vers=4.2
31 22 0:26 / /mnt/local rw - tmpfs tmpfs rw
32 31 0:27 / /mnt/local/sshfs rw - fuse.sshfs host: rw
33 22 0:28 / /mnt/over rw - cifs //server/share rw
34 22 0:29 / /mnt/over rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("folder", "remote"),
    [
        ("/", False),
        ("/mnt", False),
        ("/mnt/data here", True),
        ("/mnt/data here/night/1", True),
        ("/mnt/data here2", False),
        ("/mnt/local", False),
        ("/mnt/local/sshfs/x", True),
        ("/mnt/over/x", False),
    ],
)
def test_remote_file_systems(tmp_path: Path, folder: str, remote: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert is_remote(Path(folder), mounts=mounts) is remote
    assert is_remote(Path(folder), mounts=tmp_path / "none") is False
