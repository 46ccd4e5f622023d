"""Copying: the same bytes by whichever way is open, and the file that is named when none is."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import data_unit, failing, make_mask, make_ramp, run_python
from tmt_dq import apply_dq
from tmt_dq.errors import RampFormatError
from tmt_dq.files import copying
from tmt_dq.files.copying import Copier, copy_range, write_all

CONTENT = np.random.default_rng(5).bytes(100_000)


@pytest.fixture
def files(folder: Path) -> Iterator[tuple[int, int]]:
    (folder / "source").write_bytes(CONTENT)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


@pytest.fixture
def mapped(files: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy from a mapping: tmpfs, for one, does not answer whether a file is in memory."""
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    if _tries_mapping(*files) == 0:
        pytest.skip("the system populates no mappings (Linux 5.14 does)")


def _tries_mapping(source: int, target: int) -> int:
    return copying._write_mapped(source, 0, target, 0, 4096)


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("mapping", [True, False])
@pytest.mark.parametrize(("step", "piece"), [(1 << 25, 1 << 22), (4097, 4096), (30_000, 777)])
def test_each_way_copies_the_same(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, mapping: bool, step: int, piece: int
) -> None:
    # Of each way the other's function is broken.
    if mapping:
        monkeypatch.setattr(os, "pread", failing(errno.EIO))
    else:
        monkeypatch.setattr(copying, "_write_mapped", failing(errno.ENODEV))
    monkeypatch.setattr(copying, "_STEP", step)
    monkeypatch.setattr(copying, "_PIECE", piece)
    source, target = files
    write_all(target, b"x" * 50, 0)
    reported: list[int] = []
    copy_range(source, 123, target, 45, 90_000, where="a", progress=reported.append)
    monkeypatch.undo()
    assert os.pread(target, 200_000, 0)[:90_045] == b"x" * 45 + CONTENT[123:90_123]
    assert sum(reported) == 90_000


def test_a_source_that_cannot_be_read_is_named(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_write_mapped", failing(errno.EIO))
    monkeypatch.setattr(os, "pread", failing(errno.EIO))
    with pytest.raises(RampFormatError, match=r"^a\.fits: cannot be read: Input/output error"):
        copy_range(files[0], 0, files[1], 0, 10, where="a.fits")


@pytest.mark.parametrize("mapping", [True, False])
def test_a_source_that_ends_early(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, mapping: bool
) -> None:
    if not mapping:
        monkeypatch.setattr(copying, "_write_mapped", failing(errno.ENODEV))
    source, target = files
    with pytest.raises(RampFormatError, match=r"^a\.fits: ended 7 bytes early"):
        copy_range(source, 10, target, 0, len(CONTENT) - 3, where="a.fits")


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("left", [0, 50_000, len(CONTENT) - 1])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_source_that_becomes_shorter_while_it_is_mapped(
    files: tuple[int, int], folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str, left: int
) -> None:
    # Whoever read the lost pages of a mapping would be killed by SIGBUS; and the last page is
    # there whole, with zeros behind the end.
    populate = copying._populate

    def cut(window: Any) -> bool:
        if moment == "before":
            os.truncate(folder / "source", left)
        done = populate(window)
        os.truncate(folder / "source", left)
        return done

    monkeypatch.setattr(copying, "_populate", cut)
    source, target = files
    with pytest.raises(RampFormatError, match=rf"^a: ended {len(CONTENT) - left} bytes early"):
        copy_range(source, 0, target, 64, len(CONTENT), where="a")


def test_nothing_needs_linux_alone(folder: Path) -> None:
    # What macOS, or a Python that was built for older systems, does not have.
    code = """if True:
        import ctypes, fcntl, os, pathlib, sys
        import numpy  # which has C libraries of its own
        for name in ("copy_file_range", "RWF_NOWAIT", "O_TMPFILE", "posix_fallocate", "SEEK_DATA",
                     "posix_fadvise", "sched_getaffinity", "eventfd", "memfd_create", "pipe2"):
            delattr(os, name)
        def refuse(*_):
            raise OSError(25, "Inappropriate ioctl for device")
        fcntl.ioctl = refuse
        ctypes.CDLL = lambda *_, **__: object()
        real = os.open
        def opened(path, *rest, **options):
            assert not str(path).startswith("/proc"), path
            return real(path, *rest, **options)
        os.open = opened
        from tmt_dq import apply_dq
        from tmt_dq.batch.pool import Processes
        assert Processes().count >= 1
        print(apply_dq(*sys.argv[1:3], mask=sys.argv[3]).status)
    """
    ramp, mask = make_ramp(folder / "a.fits"), make_mask(folder / "mask.fits")
    done = run_python("-c", code, ramp, folder / "other.fits", mask)
    assert done.stdout.split() == ["COMPLETE"], done.stderr
    apply_dq(ramp, folder / "usual.fits", mask=mask)
    assert data_unit(folder / "other.fits", "SCI") == data_unit(folder / "usual.fits", "SCI")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["a.fits", "mask.fits", "other.fits", "usual.fits"]


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


def test_a_thread_copies_or_the_caller_where_there_is_none(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    source, target = files
    for place in (0, 200_000):
        copier = Copier(source, target, where="a")
        copier.copy(0, place, len(CONTENT))
        assert copier.wait()
        assert copier.done == len(CONTENT)
        copier.stop()
        assert os.pread(target, len(CONTENT), place) == CONTENT
        monkeypatch.setattr("threading.Thread.start", refuse)


def test_write_all_goes_on_after_a_short_write(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: pwrite(fd, data[:3], place))
    _, target = files
    write_all(target, b"0123456789", 5)
    assert os.pread(target, 100, 0) == bytes(5) + b"0123456789"
