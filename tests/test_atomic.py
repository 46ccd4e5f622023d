"""Outputs appear whole or not at all, whatever happens to the process that writes them."""

import contextlib
import errno
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from builders import failing, folder_state, make_mask, make_ramp, run_python
from tmt_dq.errors import OutputError
from tmt_dq.files.atomic import atomic_output, check_output, output_errors


def write_slowly(path: Path) -> None:
    """Write a file that somebody else writes meanwhile."""
    with atomic_output(path) as slow:
        os.write(slow, b"slow")
        path.write_bytes(b"quick")


@pytest.fixture(params=["nameless", "hidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Work on a file system with or without nameless files."""
    if request.param == "hidden":
        without_nameless_files(monkeypatch)
    return str(request.param)


def without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(_: object, flags: int, *__: object, **options: object) -> bool:
        return flags & os.O_TMPFILE == os.O_TMPFILE

    monkeypatch.setattr(os, "open", failing(errno.EOPNOTSUPP, os.open, nameless))


def write(path: Path, content: bytes = b"new", **options: Any) -> None:
    with atomic_output(path, **options) as out:
        os.write(out, content)


def test_a_file_appears_when_it_is_complete(way: str, folder: Path) -> None:
    path = folder / "a.fits"
    with atomic_output(path) as out:
        os.write(out, b"new")
        assert not path.exists()
        assert (list(folder.iterdir()) == []) is (way == "nameless")
    assert path.read_bytes() == b"new"
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced_only_on_request(way: str, folder: Path, sync: bool) -> None:
    path = folder / "a.fits"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="already exists"):
        write(path, sync=sync)
    assert path.read_bytes() == b"old"
    with atomic_output(path, overwrite=True, sync=sync) as out:
        os.write(out, b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(
    way: str, folder: Path, error: type[BaseException], overwrite: bool
) -> None:
    path = folder / "a.fits"
    if overwrite:
        path.write_bytes(b"old")
    before = folder_state(folder)
    output = atomic_output(path, overwrite=overwrite)

    def work() -> None:
        with output as out:
            os.write(out, b"half")
            raise error

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(error):
        work()
    assert folder_state(folder) == before
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_permissions(way: str, folder: Path) -> None:
    old = os.umask(0o027)
    try:
        write(folder / "a.fits")
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "a.fits").stat().st_mode) == 0o640
    path = folder / "a.fits"
    path.write_bytes(b"old")
    path.chmod(0o604)
    write(path, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_two_writers(way: str, folder: Path) -> None:
    path = folder / "a.fits"
    with pytest.raises(OutputError, match="appeared while it was being written"):
        write_slowly(path)
    assert path.read_bytes() == b"quick"
    assert list(folder.iterdir()) == [path]
    path = folder / "a.fits"
    with atomic_output(path, overwrite=True) as slow:
        os.write(slow, b"slow" * 1000)
        write(path, b"quick", overwrite=True)
    assert path.read_bytes() == b"slow" * 1000
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_file_systems_without_hard_links(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    without_nameless_files(monkeypatch)
    monkeypatch.setattr(os, "link", failing(number))
    path = folder / "a.fits"
    write(path)
    assert path.read_bytes() == b"new"
    with pytest.raises(OutputError, match="appeared"):
        write_slowly(folder / "b")
    assert (folder / "b").read_bytes() == b"quick"
    assert sorted(entry.name for entry in folder.iterdir()) == ["a.fits", "b"]


def test_links_are_not_followed(way: str, folder: Path) -> None:
    (folder / "precious").write_bytes(b"old")
    link = folder / "a.fits"
    link.symlink_to("precious")
    with pytest.raises(OutputError, match="already exists"):
        write(link)
    write(link, overwrite=True)
    assert (folder / "precious").read_bytes() == b"old"
    assert link.read_bytes() == b"new"
    (folder / "b.fits").symlink_to("nowhere")
    with pytest.raises(OutputError, match="already exists"):
        write(folder / "b.fits")
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    "name", ["n" * 195 + ".fits", "n" * 250 + ".fits", "ärger.fits", "名前.fits", "-a b.fits"]
)
@pytest.mark.parametrize("overwrite", [True, False])
def test_unusual_names(way: str, folder: Path, name: str, overwrite: bool) -> None:
    write(folder / name, overwrite=overwrite)
    assert [entry.name for entry in folder.iterdir()] == [name]


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_file_is_never_replaced(folder: Path, overwrite: bool) -> None:
    # Replacing a device, as root may, would break the system.
    fifo = folder / "a.fits"
    os.mkfifo(fifo)
    with pytest.raises(OutputError, match=r"not a regular file|already exists"):
        write(fifo, overwrite=overwrite)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    with pytest.raises(OutputError, match=r"not a regular file|already exists"):
        check_output(Path("/dev/null"), overwrite=overwrite)


def test_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sub").mkdir()
    (folder / "file").write_bytes(b"")
    for path, message in [
        (folder / "missing" / "a.fits", "missing does not exist"),
        (folder / "sub", "is a folder; expected a file name"),
        (folder / "file" / "a.fits", "file is not a folder"),
        (folder / ("n" * 256), "(?i)name too long"),
    ]:
        for check in (check_output, write):
            with pytest.raises(OutputError, match=message) as caught:
                check(path)
            assert caught.value.where == str(path)
    assert sorted(entry.name for entry in folder.iterdir()) == ["file", "sub"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="is not writable"):
        check_output(folder / "a.fits")


@pytest.mark.parametrize("kind", ["same", "symlink", "hard link", "through a folder"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_output_is_never_an_input(folder: Path, kind: str, overwrite: bool) -> None:
    source = folder / "input.fits"
    source.write_bytes(b"old")
    output = folder / "output.fits"
    if kind == "same":
        output = source
    elif kind == "symlink":
        output.symlink_to(source)
    elif kind == "hard link":
        output.hardlink_to(source)
    else:
        (folder / "link").symlink_to(folder)
        output = folder / "link" / "input.fits"
    with pytest.raises(OutputError, match=r"output and input .*input\.fits are the same file"):
        check_output(output, overwrite=overwrite, inputs=[source])


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EFBIG, "files of this size"),
    ],
)
def test_errors_of_the_system_name_the_output(number: int, hint: str) -> None:
    path = Path("out") / "a.fits"
    with pytest.raises(OutputError) as caught, output_errors(path):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{path}: cannot be written: {os.strerror(number)}")
    assert hint in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("step", ["fsync", "replace", "link"])
def test_errors_at_the_very_end_leave_nothing(
    way: str, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = folder / "a.fits"
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(errno.EIO))
        with pytest.raises(OutputError, match="Input/output error"):
            write(path, overwrite=step == "replace")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("exists", [True, False])
def test_killed_while_writing_leaves_no_trace(
    folder: Path, number: signal.Signals, exists: bool
) -> None:
    # The writer is killed in the middle, for certain.
    code = (
        "import os, sys\n"
        "from tmt_dq.apply.apply import apply_dq\n"
        "done = [0]\n"
        "def progress(count):\n"
        "    done[0] += count\n"
        "    if done[0] > 3000: os.kill(os.getpid(), int(sys.argv[4]))\n"
        "apply_dq(*sys.argv[1:3], mask=sys.argv[3], overwrite=True, progress=progress)\n"
    )
    ramp, mask = make_ramp(folder / "ramp.fits"), make_mask(folder / "mask.fits")
    if exists:
        (folder / "out.fits").write_bytes(b"old")
    before = folder_state(folder)
    run_python("-c", code, ramp, folder / "out.fits", mask, int(number), code=-number)
    assert folder_state(folder) == before


def test_no_space_at_any_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the first write, at the second …, until there is none that fails."""
    from tmt_dq.apply.apply import apply_dq

    ramp, mask = make_ramp(folder / "ramp.fits"), make_mask(folder / "mask.fits")
    before = folder_state(folder)
    left = 0

    def limited(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments)

        return call

    monkeypatch.setattr(os, "pwrite", limited(os.pwrite))
    for allowed in range(50):
        left = allowed
        with contextlib.suppress(OutputError):
            apply_dq(ramp, folder / "out.fits", mask=mask)
            break
        left = allowed
        with pytest.raises(OutputError, match=r"(?s)No space left on device.*The disk is full"):
            apply_dq(ramp, folder / "out.fits", mask=mask)
        assert folder_state(folder) == before
    # The primary header, SCI, PIXELDQ, GROUPDQ and DQ_DEF are five writes at least.
    assert 5 <= allowed < 49
