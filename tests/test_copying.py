"""Copying in the kernel and its fallbacks: the same bytes whichever way is open."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tmt_dq.errors import RampFormatError
from tmt_dq.io import copying
from tmt_dq.io.copying import copy_range, write_all, zero_range

CONTENT = np.random.default_rng(5).bytes(100_000)
NAMES = ["copy_file_range", "sendfile", "buffer"]


@pytest.fixture
def files(folder: Path) -> Iterator[tuple[int, int]]:
    (folder / "source").write_bytes(CONTENT)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


def only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Leave one way to copy."""
    monkeypatch.setattr(copying, "WAYS", (copying.WAYS[NAMES.index(name)],))


def failing(number: int) -> Any:
    def way(*arguments: int) -> int:
        raise OSError(number, os.strerror(number))

    return way


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
    copy_range(source, 0, target, 0, len(CONTENT), where="a")
    assert calls == [0, 1000]
    assert os.pread(target, 200_000, 0) == CONTENT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_other_errors_are_not_hidden_by_another_way(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(copying, "WAYS", (failing(number), *copying.WAYS[1:]))
    source, target = files
    with pytest.raises(OSError, match=os.strerror(number)):
        copy_range(source, 0, target, 0, 10, where="a")
    assert os.fstat(target).st_size == 0


@pytest.mark.parametrize("name", [None, *NAMES])
def test_a_source_that_ends_early(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    if name is not None:
        only(monkeypatch, name)
    source, target = files
    with pytest.raises(RampFormatError, match=r"^a\.fits: ended 7 bytes early"):
        copy_range(source, 10, target, 0, len(CONTENT) - 3, where="a.fits")


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


def test_zeros_take_no_room(files: tuple[int, int]) -> None:
    _, target = files
    write_all(target, b"begin", 0)
    zero_range(target, 5, 100_000_000)
    status = os.fstat(target)
    assert status.st_size == 100_000_005
    assert status.st_blocks * 512 < 100_000
    assert os.pread(target, 10, 99_999_990) == bytes(10)


def test_without_sync_file_range_nothing_changes(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_sync_file_range", None)
    source, target = files
    copy_range(source, 0, target, 0, len(CONTENT), where="a")
    assert os.pread(target, 200_000, 0) == CONTENT
