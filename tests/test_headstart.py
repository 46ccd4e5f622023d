"""Science data copied before their flags are known: the same result, or none.

What could go wrong: a copy in a place where the output then has something else; a copy of an input
that changed meanwhile; an output that stays, or is written to, after somebody gave up; an error of
the thread that nobody hears of.
"""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import compress_gzip, folder_state, make_mask, make_ramp, run_cli, unit_bytes
from tmt_dq.apply.apply import apply_dq
from tmt_dq.errors import NoMatchError, OutputError, RampFormatError
from tmt_dq.exposures import record as provenance
from tmt_dq.files import copying
from tmt_dq.fits import writer as units
from tmt_dq.io import background, headstart
from tmt_dq.io.background import BackgroundCopy
from tmt_dq.io.headstart import Headstart, begin

CONTENT = np.random.default_rng(8).bytes(100_000)


@pytest.fixture(autouse=True)
def _threads_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give small files what large ones get; one moment for all outputs."""
    monkeypatch.setattr(units, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(headstart, "_WORTH_IT", 1)
    monkeypatch.setattr(provenance, "_now", lambda: "2026-11-22T00:00:00.000")


@pytest.fixture
def ramp(folder: Path) -> Path:
    sci = np.arange(1 * 3 * 60 * 80, dtype=np.uint16).reshape(1, 3, 60, 80)
    return make_ramp(folder / "ramp.fits", sci=sci)


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits", np.ones((60, 80), np.uint32))


@pytest.fixture
def plain(ramp: Path, mask: Path) -> bytes:
    """What the output is without any thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "_WORTH_A_THREAD", sys.maxsize)
        output = ramp.parent / "plain" / "out.fits"
        output.parent.mkdir()
        apply_dq(ramp, output, mask=mask)
    return output.read_bytes()


def copies(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note where bytes are copied to, and how many."""
    found: list[tuple[int, int]] = []
    real = copying.copy_range

    def noting(source: int, start: int, target: int, place: int, size: int, **options: Any) -> None:
        found.append((place, size))
        real(source, start, target, place, size, **options)

    monkeypatch.setattr(background, "copy_range", noting)
    monkeypatch.setattr(units, "copy_range", noting)
    return found


def test_the_output_is_the_same(
    folder: Path, ramp: Path, mask: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = copies(monkeypatch)
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun)
    assert (folder / "out.fits").read_bytes() == plain
    # The science data were copied once.
    assert [size for _, size in large].count(len(unit_bytes(ramp, "SCI"))) == 1


def test_a_header_that_needs_more_room(
    folder: Path, ramp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = folder.joinpath(*["a-very-long-name-of-a-folder"] * 30)
    deep.mkdir(parents=True)
    mask = make_mask(deep / "mask.fits", np.ones((60, 80), np.uint32))
    monkeypatch.setattr(headstart, "_CARDS", 3)
    large = copies(monkeypatch)
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun)
    assert len([place for place, size in large if size > 20_000]) == 2
    assert unit_bytes(folder / "out.fits", "SCI") == unit_bytes(ramp, "SCI")
    with fits.open(folder / "out.fits", checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["R_MASK"] == str(mask)
        assert (hdus["PIXELDQ"].data == 1).all()


def test_an_input_that_changed_is_copied_again(folder: Path, ramp: Path, mask: Path) -> None:
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        ramp.unlink()
        make_ramp(ramp, sci=np.full((1, 3, 60, 80), 7, np.uint16))
        apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun)
    assert (fits.getdata(folder / "out.fits", "SCI") == 7).all()


@pytest.mark.parametrize(
    "options", [{"output": "other.fits"}, {"sync": False}, {"overwrite": True}]
)
def test_a_copy_for_something_else_is_not_used(
    folder: Path, ramp: Path, mask: Path, plain: bytes, options: dict[str, Any]
) -> None:
    output = folder / options.pop("output", "out.fits")
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        apply_dq(ramp, output, mask=mask, begun=begun, **options)
    (folder / "out.fits").unlink(missing_ok=True)
    assert output.name == "other.fits" or not output.exists()
    if output.name == "other.fits":
        assert output.read_bytes().replace(b"other.fits", b"out.fits  ")[2880:] == plain[2880:]


def test_a_copy_is_used_once(folder: Path, ramp: Path, mask: Path, plain: bytes) -> None:
    with begin(ramp, folder / "out.fits", overwrite=True) or pytest.fail("nothing begun") as begun:
        for _ in range(2):
            apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun, overwrite=True)
            assert (folder / "out.fits").read_bytes() == plain


def test_a_copy_for_another_folder_is_not_used(
    folder: Path, ramp: Path, mask: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = copies(monkeypatch)
    monkeypatch.chdir(folder)
    with begin(ramp, Path("out.fits")) or pytest.fail("nothing begun") as begun:
        monkeypatch.chdir(folder / "plain")
        (folder / "plain" / "out.fits").unlink()
        apply_dq(ramp, "out.fits", mask=mask, begun=begun)
    assert (folder / "plain" / "out.fits").read_bytes() == plain
    assert [size for _, size in large].count(len(unit_bytes(ramp, "SCI"))) == 2


def test_a_process_that_was_forked_copies_itself(
    folder: Path, ramp: Path, mask: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread exists in the other process alone.
    large = copies(monkeypatch)
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun)
    assert (folder / "out.fits").read_bytes() == plain
    assert [size for _, size in large].count(len(unit_bytes(ramp, "SCI"))) == 2


def test_nothing_stays_when_the_rules_say_no(folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", header={"DATE-OBS": "1999-01-01"})
    before = folder_state(folder)
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        with pytest.raises(NoMatchError):
            apply_dq(ramp, folder / "out.fits", begun=begun)
        assert begun.output.fd >= 0
    assert begun.output.fd == -1
    assert folder_state(folder) == before


def test_padding_cuts_off_nothing_that_a_thread_writes(
    folder: Path, ramp: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fits.open(ramp) as hdus:
        small = fits.ImageHDU(np.ones(7), name="SMALL")
        fits.HDUList([hdus[0], small, hdus["SCI"]]).writeto(folder / "between.fits")
    go_on = held(monkeypatch)
    begun = begin(folder / "between.fits", folder / "out.fits")
    real = copying.zero_range

    def after_the_thread(*where: int) -> None:
        assert begun is not None
        go_on.set()
        begun.copy.wait()
        real(*where)

    monkeypatch.setattr(units, "zero_range", after_the_thread)
    with begun or pytest.fail("nothing begun"):
        apply_dq(folder / "between.fits", folder / "out.fits", mask=mask, begun=begun)
    for name in ("SMALL", "SCI"):
        assert unit_bytes(folder / "out.fits", name) == unit_bytes(folder / "between.fits", name)


def test_it_goes_without_threads(
    folder: Path, ramp: Path, mask: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = descriptors()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with begin(ramp, folder / "out.fits") or pytest.fail("nothing begun") as begun:
        apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun, progress=lambda _: None)
    assert (folder / "out.fits").read_bytes() == plain
    assert descriptors() == before


def test_without_descriptors_nothing_is_left_open(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = os.dup, []

    def once(fd: int) -> int:
        asked.append(fd)
        if len(asked) > 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(fd)

    before = descriptors()
    monkeypatch.setattr(os, "dup", once)
    with pytest.raises(OSError, match="Too many open files"):
        BackgroundCopy(files[0], 0, files[1], 0, 1000, where="a")
    assert descriptors() == before


def test_an_interrupted_wait_leaves_nothing_behind(
    folder: Path, ramp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def no_nameless_files(path: Any, flags: int, *mode: int, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *mode, **options)

    def interrupted(_: BackgroundCopy) -> None:
        raise KeyboardInterrupt

    before, open_before = folder_state(folder), descriptors()
    go_on = held(monkeypatch)
    monkeypatch.setattr(os, "open", no_nameless_files)
    monkeypatch.setattr(BackgroundCopy, "_end", interrupted)
    begun = begin(ramp, folder / "out.fits") or pytest.fail("nothing begun")
    assert len(folder_state(folder)) == len(before) + 1
    with pytest.raises(KeyboardInterrupt), begun:
        pass
    assert folder_state(folder) == before
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "copy":
            thread.join(30)
    assert descriptors() == open_before


def _truncated(ramp: Path) -> Path:
    with ramp.open("r+b") as file:
        file.truncate(20_000)
    return ramp


def _flags_first(ramp: Path) -> Path:
    with fits.open(ramp) as hdus:
        flags = fits.ImageHDU(np.zeros((60, 80), np.uint32), name="PIXELDQ")
        fits.HDUList([hdus[0], flags, hdus["SCI"]]).writeto(ramp.with_name("first.fits"))
    return ramp.with_name("first.fits")


def _absent(ramp: Path) -> Path:
    return ramp.with_name("absent.fits")


def _no_sci(ramp: Path) -> Path:
    fits.PrimaryHDU(np.zeros((9, 9))).writeto(ramp.with_name("image.fits"))
    return ramp.with_name("image.fits")


def _gzipped(ramp: Path) -> Path:
    return compress_gzip(ramp, ramp.with_name("packed.fits.gz"))


@pytest.mark.parametrize("made", [_truncated, _flags_first, _absent, _no_sci, _gzipped])
def test_where_nothing_can_be_begun(folder: Path, ramp: Path, made: Callable[[Path], Path]) -> None:
    source = made(ramp)
    before = folder_state(folder)
    assert begin(source, folder / "out.fits") is None
    assert folder_state(folder) == before


def test_an_output_that_cannot_be_written_is_not_begun(folder: Path, ramp: Path) -> None:
    assert begin(ramp, ramp, overwrite=True) is None
    assert begin(ramp, ramp) is None
    assert begin(ramp, folder / "absent" / "out.fits") is None


@pytest.fixture
def files(folder: Path) -> Iterator[tuple[int, int]]:
    (folder / "source").write_bytes(CONTENT)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Make copies go in steps of 1000 bytes, the second of which waits for the event."""
    go_on = threading.Event()
    real = copying.WAYS[-1]

    def step(source: int, start: int, target: int, place: int, size: int) -> int:
        if start >= 1000:
            assert go_on.wait(30)
        return int(real(source, start, target, place, min(size, 1000)))

    monkeypatch.setattr(copying, "WAYS", (step,))
    monkeypatch.setattr(copying, "_share", lambda *arguments: (arguments[-1], 0))
    return go_on


def test_a_copy_that_was_given_up_writes_no_more(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = held(monkeypatch)
    copy = BackgroundCopy(files[0], 0, files[1], 0, len(CONTENT), where="a")
    threading.Timer(0.05, go_on.set).start()
    copy.stop()
    size = os.fstat(files[1]).st_size
    assert size <= 2000
    copy.stop()
    assert os.fstat(files[1]).st_size == size


def test_a_copy_that_is_given_up_in_its_own_thread(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The collector of garbage runs in any thread.
    known, given_up = threading.Event(), threading.Event()

    def collecting(*arguments: int) -> int:
        assert known.wait(30)
        copy.stop()
        given_up.set()
        return copying._by_buffer(*arguments)

    monkeypatch.setattr(copying, "WAYS", (collecting,))
    monkeypatch.setattr(copying, "_STEP", 1000)
    copy = BackgroundCopy(files[0], 0, files[1], 64, 100_000, where="a")
    known.set()
    copy.wait()
    assert given_up.is_set()
    assert copy.done == 1000


def test_descriptors_that_are_closed_meanwhile_do_no_harm(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = held(monkeypatch)
    (folder / "source").write_bytes(CONTENT)
    source = os.open(folder / "source", os.O_RDONLY)
    target = os.open(folder / "target", os.O_RDWR | os.O_CREAT)
    copy = BackgroundCopy(source, 0, target, 0, 5000, where="a")
    os.close(source)
    os.close(target)
    # These get the numbers that were just given back.
    others = [os.open(folder / "other", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    go_on.set()
    copy.wait()
    for fd in others:
        os.close(fd)
    assert (folder / "other").read_bytes() == b""
    assert (folder / "target").read_bytes() == CONTENT[:5000]


def test_a_source_that_ends_early_is_heard_of(files: tuple[int, int]) -> None:
    copy = BackgroundCopy(files[0], 0, files[1], 0, len(CONTENT) + 1, where="ramp.fits")
    with pytest.raises(RampFormatError, match="ended 1 bytes early"):
        copy.wait()


def test_a_full_disk_is_heard_of(
    folder: Path, ramp: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = folder_state(folder)
    monkeypatch.setattr(copying, "WAYS", (full,))
    begun: Headstart | None = begin(ramp, folder / "out.fits")
    with (
        begun or pytest.fail("nothing begun"),
        pytest.raises(OutputError, match="No space left on device") as caught,
    ):
        apply_dq(ramp, folder / "out.fits", mask=mask, begun=begun)
    assert "disk is full" in str(caught.value.hint)
    assert folder_state(folder) == before


def test_progress_counts_every_byte_once(
    folder: Path, ramp: Path, mask: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.get_ident()
    told: dict[str, list[int]] = {"plain": [], "threads": [], "begun": []}

    def teller(kind: str) -> Callable[[int], None]:
        def tell(count: int) -> None:
            assert threading.get_ident() == main
            told[kind].append(count)

        return tell

    apply_dq(ramp, folder / "threads.fits", mask=mask, progress=teller("threads"))
    begun = begin(ramp, folder / "begun.fits")
    with begun or pytest.fail("nothing begun"):
        apply_dq(ramp, folder / "begun.fits", mask=mask, progress=teller("begun"), begun=begun)
    monkeypatch.setattr(units, "_WORTH_A_THREAD", sys.maxsize)
    apply_dq(ramp, folder / "plain.fits", mask=mask, progress=teller("plain"))
    assert sum(told["plain"]) == sum(told["threads"]) == sum(told["begun"]) > 28_800


@pytest.mark.large
def test_the_command_line_begins_early_and_gives_the_same(folder: Path) -> None:
    sci = np.arange(5 * 1024 * 1024, dtype=np.uint16).reshape(1, 5, 1024, 1024)
    ramp = make_ramp(folder / "ramp.fits", sci=sci)
    mask = make_mask(folder / "mask.fits", np.ones((1024, 1024), np.uint32))
    result = run_cli("apply", ramp, "-o", folder / "cli.fits", "--mask", mask)
    assert result.returncode == 0, result.stderr
    apply_dq(ramp, folder / "api.fits", mask=mask)
    cli, api = (folder / name for name in ("cli.fits", "api.fits"))
    assert cli.stat().st_size == api.stat().st_size
    for name in ("SCI", "PIXELDQ", "GROUPDQ", "DQ_DEF"):
        assert unit_bytes(cli, name) == unit_bytes(api, name)
