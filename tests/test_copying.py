"""Copying in the kernel and its fallbacks: the same bytes whichever way is open."""

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import run_python
from tmt_dq.errors import RampFormatError
from tmt_dq.files import copying, syscalls
from tmt_dq.files.copying import copy_range, write_all

CONTENT = np.random.default_rng(5).bytes(100_000)
NAMES = ["mapping", "copy_file_range", "buffer"]


@pytest.fixture
def files(folder: Path) -> Iterator[tuple[int, int]]:
    (folder / "source").write_bytes(CONTENT)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files in memory by their file system's own account: tmpfs, for one, gives none."""
    monkeypatch.setattr(
        syscalls, "read_without_waiting", lambda fd, place: len(os.pread(fd, 1, place))
    )
    try:
        with mmap.mmap(-1, 4096) as window:
            syscalls.populate(window)
    except OSError:
        pytest.skip("the system populates no mappings (Linux 5.14 does)")


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Leave one way to copy."""
    monkeypatch.setattr(copying, "WAYS", (copying.WAYS[NAMES.index(name)],))


def failing(number: int) -> Any:
    def way(*arguments: int) -> int:
        raise OSError(number, os.strerror(number))

    return way


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1 << 25, 4097, 1000])
def test_each_way_copies_the_same(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, name: str, step: int
) -> None:
    only(monkeypatch, name)
    monkeypatch.setattr(copying, "_STEP", step)
    monkeypatch.setattr(copying, "_BUFFER", 777)
    source, target = files
    write_all(target, b"x" * 50, 0)
    reported: list[int] = []
    copy_range(source, 123, target, 45, 90_000, where="a", progress=reported.append)
    assert os.pread(target, 200_000, 0) == b"x" * 45 + CONTENT[123:90_123]
    assert sum(reported) == 90_000


@pytest.mark.parametrize(
    "number", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM]
)
@pytest.mark.parametrize("refusing", [1, 2])
def test_a_way_that_is_closed_gives_place_to_the_next(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, number: int, refusing: int
) -> None:
    ways = (*(failing(number) for _ in range(refusing)), *copying.WAYS[refusing:])
    monkeypatch.setattr(copying, "WAYS", ways)
    source, target = files
    copy_range(source, 0, target, 0, len(CONTENT), where="a")
    assert os.pread(target, 200_000, 0) == CONTENT


def test_a_way_that_moves_nothing_gives_place_to_the_next(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "WAYS", (lambda *_: 0, *copying.WAYS[2:]))
    source, target = files
    copy_range(source, 0, target, 0, len(CONTENT), where="a")
    assert os.pread(target, 200_000, 0) == CONTENT


def test_a_way_that_closes_half_way(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def once(source: int, start: int, target: int, place: int, size: int) -> int:
        calls.append(start)
        if len(calls) > 1:
            raise OSError(errno.EXDEV, "no more")
        return os.copy_file_range(source, target, 1000, start, place)

    monkeypatch.setattr(copying, "WAYS", (once, *copying.WAYS[1:]))
    source, target = files
    copy_range(source, 0, target, 64, len(CONTENT), where="a")
    assert calls == [0, 1000]
    assert os.pread(target, 200_000, 64) == CONTENT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_other_errors_are_not_hidden_by_another_way(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(copying, "WAYS", (failing(number), *copying.WAYS[1:]))
    source, target = files
    with pytest.raises(OSError, match=os.strerror(number)):
        copy_range(source, 0, target, 0, 10, where="a")
    assert os.fstat(target).st_size == 0


@pytest.mark.parametrize(("broken", "error"), [("pread", RampFormatError), ("pwrite", OSError)])
def test_the_file_that_a_disk_error_is_of_is_named(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, broken: str, error: type[Exception]
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    # The kernel's own copying does not say whether it could not read or not write.
    monkeypatch.setattr(copying, "WAYS", (failing(errno.EIO), copying.WAYS[-1]))
    monkeypatch.setattr(os, broken, fail)
    source, target = files
    with pytest.raises(error, match="Input/output error") as caught:
        copy_range(source, 0, target, 0, 10, where="a.fits")
    assert caught.type is error


@pytest.mark.parametrize("name", [None, *NAMES[1:]])
def test_a_source_that_ends_early(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    if name is not None:
        only(monkeypatch, name)
    source, target = files
    with pytest.raises(RampFormatError, match=r"^a\.fits: ended 7 bytes early"):
        copy_range(source, 10, target, 0, len(CONTENT) - 3, where="a.fits")


@pytest.mark.usefixtures("in_memory")
def test_what_is_not_in_memory_is_read_by_the_next_way(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = syscalls.read_without_waiting
    probed: list[int] = []

    def on_the_disk_at_first(fd: int, place: int) -> int:
        probed.append(place)
        if len(probed) < 3:
            raise BlockingIOError(errno.EAGAIN, "would block")
        return read(fd, place)

    used = []

    def noting(*arguments: int) -> int:
        used.append(arguments[1])
        return copying._by_copy_file_range(*arguments)

    monkeypatch.setattr(syscalls, "read_without_waiting", on_the_disk_at_first)
    monkeypatch.setattr(copying, "WAYS", (copying.WAYS[0], noting, *copying.WAYS[2:]))
    monkeypatch.setattr(copying, "_STEP", 30_000)
    source, target = files
    copy_range(source, 0, target, 64, len(CONTENT), where="a")
    assert os.pread(target, 200_000, 64) == CONTENT
    # Steps 1 and 2 begin on the disk; of the others both ends are in memory.
    assert used == [0, 30_000]
    assert probed == [0, 30_000, 60_000, 89_999, 90_000, 99_999]


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("left", [0, 50_000, len(CONTENT) - 1])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_source_that_becomes_shorter_while_it_is_mapped(
    files: tuple[int, int], folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str, left: int
) -> None:
    # Whoever read the lost pages of a mapping would be killed by SIGBUS; and the last page is
    # there whole, with zeros behind the end.
    populate = syscalls.populate

    def cut(window: Any) -> None:
        os.truncate(folder / "source", left)
        populate(window)

    def cut_later(window: Any) -> None:
        populate(window)
        os.truncate(folder / "source", left)

    monkeypatch.setattr(syscalls, "populate", cut if moment == "before" else cut_later)
    source, target = files
    with pytest.raises(RampFormatError, match=rf"^a: ended {len(CONTENT) - left} bytes early"):
        copy_range(source, 0, target, 64, len(CONTENT), where="a")


@pytest.mark.usefixtures("in_memory")
def test_a_source_that_becomes_shorter_between_two_windows(
    files: tuple[int, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_window = copying._write_window

    def cut(*arguments: int) -> int:
        moved = write_window(*arguments)
        os.truncate(folder / "source", 50_000)
        return moved

    monkeypatch.setattr(copying, "_write_window", cut)
    monkeypatch.setattr(copying, "_WINDOW", 1 << 16)
    source, target = files
    with pytest.raises(RampFormatError, match=r"^a: ended 34528 bytes early"):
        copy_range(source, 0, target, 64, len(CONTENT), where="a")
    assert os.pread(target, 200_000, 64) == CONTENT[: (1 << 16) - 64]


def test_without_a_descriptor_for_a_mapping_the_next_way_copies(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "WAYS", copying.WAYS[:2])
    source, target = files
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The mapping has one of its own for a moment; these two are the last.
    resource.setrlimit(resource.RLIMIT_NOFILE, (target + 1, limits[1]))
    try:
        copy_range(source, 5, target, 64, 90_000, where="a")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert os.pread(target, 200_000, 64) == CONTENT[5:90_005]


def not_here(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


CALLS = ["_preadv2", "_copy_file_range", "_fallocate", "_sync_file_range", "_madvise"]


@pytest.mark.parametrize("lacking", [[call] for call in CALLS] + [CALLS], ids=" ".join)
def test_a_system_that_lacks_calls(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, lacking: list[str]
) -> None:
    for call in lacking:
        monkeypatch.setattr(syscalls, call, not_here)
    monkeypatch.setattr(copying, "_WORTH_RESERVING", 1)
    source, target = files
    copy_range(source, 5, target, 64, 90_000, where="a")
    assert os.pread(target, 200_000, 64) == CONTENT[5:90_005]


def test_calls_that_the_c_library_lacks() -> None:
    missing = syscalls._function(ctypes.c_int, "no_such_call nor_this")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSYS)):
        missing(1)


def test_calls_answer_as_those_of_os_do(files: tuple[int, int], folder: Path) -> None:
    source, target = files
    assert syscalls.copy_file_range(source, 7, target, 100, 5000) == 5000
    assert os.pread(target, 10_000, 0) == bytes(100) + CONTENT[7:5007]
    assert syscalls.copy_file_range(source, len(CONTENT), target, 0, 10) == 0
    for wrong in (
        lambda: syscalls.copy_file_range(-1, 0, target, 0, 1),
        lambda: syscalls.read_without_waiting(-1, 0),
        lambda: syscalls.fallocate(-1, syscalls.KEEP_SIZE, 0, 1),
        lambda: syscalls.start_writeback(-1, 0, 1),
    ):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
            wrong()
        assert caught.value.errno == errno.EBADF


def test_asking_what_is_in_memory(files: tuple[int, int]) -> None:
    source, _ = files
    os.pread(source, len(CONTENT), 0)
    try:
        syscalls.read_without_waiting(source, 0)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("the file system of the temporary folder does not answer (tmpfs, say)")
        raise
    assert syscalls.read_without_waiting(source, len(CONTENT) - 1) == 1
    assert syscalls.read_without_waiting(source, len(CONTENT)) == 0


def test_python_that_was_built_for_older_systems() -> None:
    # uv's and conda's are built for glibc 2.17.
    code = (
        "import os\n"
        "for name in ('copy_file_range', 'preadv', 'RWF_NOWAIT', 'O_TMPFILE', 'posix_fallocate'):\n"
        "    delattr(os, name)\n"
        "import sys\n"
        "from pathlib import Path\n"
        "from tmt_dq.files.atomic import AtomicOutput\n"
        "from tmt_dq.files.copying import WAYS, copy_range\n"
        "assert len(WAYS) == 3\n"
        "fd = os.open(sys.executable, os.O_RDONLY)\n"
        "with AtomicOutput(Path('copy')) as out:\n"
        "    copy_range(fd, 0, out.fd, 64, 1000, where='a')\n"
        "print(Path('copy').read_bytes()[64:] == Path(sys.executable).read_bytes()[:1000])\n"
        "print(os.listdir())"
    )
    with tempfile.TemporaryDirectory() as place:
        done = run_python("-c", code, cwd=place)
    assert done.stdout.splitlines() == ["True", "['copy']"], done.stderr


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 9000),
    delta=st.sampled_from([-4096, 0, 4096, 64, 2880, 64 * 2880]),
    size=st.integers(0, 60_000),
)
def test_blocks_that_lie_alike_are_shared(
    files: tuple[int, int], start: int, delta: int, size: int
) -> None:
    source, target = files
    os.ftruncate(target, 0)
    place = max(0, start + delta)
    shared: list[int] = []

    def share(fd: int, request: int, wanted: bytes) -> int:
        # include/uapi/linux/fs.h: struct file_clone_range, and FICLONERANGE = _IOW(0x94, 13, it).
        assert request == 1 << 30 | struct.calcsize("qQQQ") << 16 | 0x94 << 8 | 13
        other, src, length, dest = struct.unpack("qQQQ", wanted)
        assert (fd, other) == (target, source)
        # What XFS and btrfs ask for.
        assert src % 4096 == dest % 4096 == length % 4096 == 0 < length
        os.pwrite(target, os.pread(source, length, src), dest)
        shared.append(length)
        return 0

    reported: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "ioctl", share)
        copy_range(source, start, target, place, size, where="a", progress=reported.append)
    expected = bytes(place) + CONTENT[start : start + size] if size else b""
    assert os.pread(target, 300_000, 0) == expected
    assert sum(reported) == size
    # All but the two ends, in one go.
    alike = (place - start) % 4096 == 0
    whole = (start + size) // 4096 - -(-start // 4096)
    assert shared == ([whole * 4096] if alike and whole > 0 else [])


def test_blocks_are_shared_where_the_file_system_can(files: tuple[int, int]) -> None:
    source, target = files
    if copying._share(source, 0, target, 0, 4096) == (4096, 0):
        pytest.skip("the file system of the temporary folder shares no blocks (XFS and btrfs do)")
    copy_range(source, 100, target, 4196, 90_000, where="a")
    assert os.pread(target, 200_000, 4196) == CONTENT[100:90_100]


def test_room_is_reserved_without_making_the_file_longer(
    files: tuple[int, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = files
    monkeypatch.setattr(copying, "_WORTH_RESERVING", 1)
    copying._reserve(target, 0, 5_000_000)
    if os.fstat(target).st_blocks == 0:
        pytest.skip("the file system of the temporary folder reserves nothing")
    assert os.fstat(target).st_size == 0
    copy_range(source, 0, target, 10, len(CONTENT), where="a")
    assert (folder / "target").read_bytes() == bytes(10) + CONTENT


@pytest.mark.parametrize(("major", "expected"), [(8, [(1, 64, 100_000)]), (0, [])])
def test_room_is_reserved_where_there_is_a_device(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, major: int, expected: Any
) -> None:
    # btrfs compresses nothing that is written into reserved room; like tmpfs and NFS it has
    # device numbers of no driver.
    asked = []
    monkeypatch.setattr(syscalls, "_fallocate", lambda _, *where: asked.append(where))
    monkeypatch.setattr(copying, "_WORTH_RESERVING", 1)
    monkeypatch.setattr(os, "major", lambda _: major)
    source, target = files
    copy_range(source, 0, target, 64, len(CONTENT), where="a")
    assert asked == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 1000), place=st.integers(0, 1000), size=st.integers(0, 5000))
def test_any_range(files: tuple[int, int], start: int, place: int, size: int) -> None:
    source, target = files
    os.ftruncate(target, 0)
    copy_range(source, start, target, place, size, where="a")
    expected = bytes(place) + CONTENT[start : start + size] if size else b""
    assert os.pread(target, 10_000, 0) == expected


def test_write_all_goes_on_after_a_short_write(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: pwrite(fd, data[:3], place))
    _, target = files
    write_all(target, b"0123456789", 5)
    assert os.pread(target, 100, 0) == bytes(5) + b"0123456789"
