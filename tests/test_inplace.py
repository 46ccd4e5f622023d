"""DQ initialization in place: the same result as a copy, and nothing lost whatever happens."""

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import tmt_dq.io.inplace as inplace_module
import tmt_dq.io.journal as journal_module
from tmt_dq import DQInitStep
from tmt_dq.apply.apply import apply_dq
from tmt_dq.core.geometry import Window
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import ConfigError, MaskFormatError, OutputError, RampFormatError
from tmt_dq.files import syscalls
from tmt_dq.simulate import simulate_ramp

# Two reads of 64 x 64 at the detector's corner, where the mask flags the four-pixel border.
CORNER = Window(0, 0, 64, 64)
FLAGGED = 64 * 64 - 60 * 60


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _same_content(left: Path, right: Path) -> None:
    """Compare two FITS files, the checksums verified, without what names and dates a file."""
    own = {"DATE", "FILENAME", "CHECKSUM", ""}
    with fits.open(left, checksum=True) as first, fits.open(right, checksum=True) as second:
        assert [hdu.name for hdu in first] == [hdu.name for hdu in second]
        for one, other in zip(first, second, strict=True):
            if one.name == "ASDF":
                continue  # it holds the file's name
            np.testing.assert_array_equal(one.data, other.data)
            assert [tuple(card) for card in one.header.cards if card.keyword not in own] == [
                tuple(card) for card in other.header.cards if card.keyword not in own
            ]


def _with_cards(path: Path, count: int) -> None:
    with fits.open(path, mode="update") as hdus:
        for number in range(count):
            hdus[0].header[f"FILL{number:03d}"] = number


def _fill_header(path: Path) -> None:
    """Leave no room for a card in the primary header's last block of 36."""
    with fits.open(path) as hdus:
        cards = len(hdus[0].header) + 1  # END
    _with_cards(path, -cards % 36)


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def ramp(folder: Path) -> Path:
    return simulate_ramp(folder / "ramp.fits", ngroups=2, window=CORNER)


@pytest.mark.parametrize("filled", range(0, 37, 6))
def test_equals_a_copy_however_full_the_header_is(ramp: Path, folder: Path, filled: int) -> None:
    _with_cards(ramp, filled)
    apply_dq(ramp, folder / "copy.fits")
    apply_dq(ramp, in_place=True)
    _same_content(ramp, folder / "copy.fits")
    assert _names(folder) == ["copy.fits", "ramp.fits"]


def test_again_equals_a_copy_of_the_copy(ramp: Path, folder: Path) -> None:
    apply_dq(ramp, folder / "copy.fits")
    apply_dq(folder / "copy.fits", folder / "again.fits")
    apply_dq(ramp, in_place=True)
    apply_dq(ramp, in_place=True)
    _same_content(ramp, folder / "again.fits")


def test_model_with_asdf_and_existing_flags(folder: Path) -> None:
    path = folder / "model.fits"
    model = TMTRampModel((1, 2, 8, 8))
    model.meta.instrument.name = "IRIS"
    model.meta.instrument.detector = "IRIS1"
    model.meta.observation.date = "2026-11-22"
    model.meta.observation.time = "00:00:00"
    for key in ("xstart", "ystart"):
        setattr(model.meta.subarray, key, 1)
    model.pixeldq = np.full((8, 8), 4, np.uint32)
    model.groupdq = np.full((1, 2, 8, 8), 2, np.uint8)
    model.save(str(path))
    model.close()
    apply_dq(path, folder / "copy.fits", propagate_do_not_use=True)
    apply_dq(path, in_place=True, propagate_do_not_use=True)
    _same_content(path, folder / "copy.fits")
    with TMTRampModel(str(path)) as result:
        # 4 was there; the four-pixel border is 2^31.
        assert result.pixeldq[7, 7] == 4
        assert result.pixeldq[3, 7] == 4 + 2**31
        assert (np.asarray(result.groupdq) == 2).all()
        assert result.meta.cal_step.dq_init == "COMPLETE"


def test_other_integer_types_of_pixeldq(ramp: Path, folder: Path) -> None:
    with fits.open(ramp, mode="append") as hdus:
        hdus.append(fits.ImageHDU(np.full((64, 64), 8, np.int16), name="PIXELDQ"))
        hdus.append(fits.ImageHDU(np.arange(10.0), name="EXTRA"))
    apply_dq(ramp, folder / "copy.fits")
    apply_dq(ramp, in_place=True)
    _same_content(ramp, folder / "copy.fits")


KILLER = """
import os, sys, warnings
import tmt_dq.files.syscalls as syscalls, tmt_dq.files.copying as copying
from tmt_dq.apply.apply import apply_dq
import tmt_dq.references.selection

def deadly(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return call

for name in ("pwrite", "ftruncate", "fsync", "unlink", "link", "replace"):
    setattr(os, name, deadly(getattr(os, name)))
copying.WAYS = (deadly(copying._by_copy_file_range),)
syscalls._fallocate = deadly(syscalls._fallocate)
warnings.simplefilter("ignore")
for line in sys.stdin:
    left, path = int(line.split()[0]), line.split()[1]
    child = os.fork()
    if child == 0:
        apply_dq(path, in_place=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("full", [False, True], ids=["room", "no room"])
def test_killed_at_any_moment(ramp: Path, folder: Path, full: bool) -> None:
    """Kill the process before each of its writes in turn; the next run completes the work."""
    if full:
        _fill_header(ramp)
    original = _digest(ramp)
    apply_dq(ramp, folder / "expected.fits")
    victim = folder / "victim.fits"
    outcomes = {"untouched": 0, "taken back": 0, "complete": 0}
    with subprocess.Popen(
        [sys.executable, "-c", KILLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killer:
        assert killer.stdin is not None
        assert killer.stdout is not None
        status = -signal.SIGKILL
        for allowed in range(100):
            shutil.copyfile(ramp, victim)
            killer.stdin.write(f"{allowed} {victim}\n")
            killer.stdin.flush()
            status = int(killer.stdout.readline())
            assert status in {0, -signal.SIGKILL}
            if journal_module.journal_path(victim).exists():
                with pytest.raises(RampFormatError, match="interrupted"):
                    apply_dq(victim, folder / "never.fits")
                fd = os.open(victim, os.O_RDWR)
                assert journal_module.roll_back(victim, fd)
                os.close(fd)
                assert _digest(victim) == original
                outcomes["taken back"] += 1
            elif _digest(victim) == original:
                outcomes["untouched"] += 1
            else:
                _same_content(victim, folder / "expected.fits")
                outcomes["complete"] += 1
            apply_dq(victim, in_place=True)
            assert fits.getval(victim, "S_DQINIT") == "COMPLETE"
            if status == 0:
                break
        killer.stdin.close()
    assert status == 0, "killed a hundred times and never finished"
    assert all(outcomes.values()), outcomes
    assert _names(folder) == ["expected.fits", "ramp.fits", "victim.fits"]


def test_failure_while_writing_takes_everything_back(
    ramp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = _digest(ramp)

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tmt_dq.fits.writer.UnitWriter.write_zeros", full)
    with pytest.raises(OutputError, match="No space left"):
        apply_dq(ramp, in_place=True)
    assert _digest(ramp) == original
    assert _names(ramp.parent) == ["ramp.fits"]


def test_no_room_and_no_way_to_make_it(ramp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill_header(ramp)
    original = _digest(ramp)

    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(syscalls, "_fallocate", refuse)
    with pytest.raises(OutputError, match="no room"):
        apply_dq(ramp, in_place=True)
    assert _digest(ramp) == original
    assert _names(ramp.parent) == ["ramp.fits"]


def test_refuses_while_another_process_writes(ramp: Path) -> None:
    original = _digest(ramp)
    writer = subprocess.Popen(
        [sys.executable, "-c", f"import time; f = open({str(ramp)!r}, 'r+b'); time.sleep(60)"]
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            links = Path(f"/proc/{writer.pid}/fd").iterdir()
            if any(os.path.realpath(link) == str(ramp) for link in links):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(OutputError, match="open for writing"):
            apply_dq(ramp, in_place=True)
    finally:
        writer.kill()
        writer.wait()
    assert _digest(ramp) == original
    apply_dq(ramp, in_place=True)


def test_refuses_while_another_run_works(ramp: Path) -> None:
    with ramp.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run"):
            apply_dq(ramp, in_place=True)


def test_a_reader_is_no_hindrance(ramp: Path) -> None:
    with ramp.open("rb"):
        assert apply_dq(ramp, in_place=True).counts["REFERENCE_PIXEL"] == FLAGGED


def test_refuses_what_cannot_be_changed_in_place(ramp: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="both given"):
        apply_dq(ramp, folder / "out.fits", in_place=True)
    os.link(ramp, folder / "second.fits")
    with pytest.raises(OutputError, match="2 names"):
        apply_dq(ramp, in_place=True)
    with pytest.raises(RampFormatError, match="cannot be read: No such file"):
        apply_dq(folder / "missing.fits", in_place=True)


def test_bad_input_stays_as_it_is(ramp: Path) -> None:
    with fits.open(ramp, mode="update") as hdus:
        del hdus[0].header["DETECTOR"]
    original = _digest(ramp)
    with pytest.raises(RampFormatError, match="DETECTOR"):
        apply_dq(ramp, in_place=True)
    assert _digest(ramp) == original
    assert _names(ramp.parent) == ["ramp.fits"]


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"size": 0, "inserted": 0, "saved": [[0, 2880]], "probe": null}']
)
def test_damaged_journal_is_not_believed(ramp: Path, text: str) -> None:
    """The last one would cut the file to nothing, and has no bytes to put back."""
    original = _digest(ramp)
    head = b"tmt-dq journal 1\n" + text.encode()
    journal_module.journal_path(ramp).write_bytes(head.ljust(4096))
    with pytest.raises(OutputError, match="not a journal"):
        apply_dq(ramp, in_place=True)
    assert _digest(ramp) == original


def test_foreign_journal_is_not_believed(ramp: Path) -> None:
    journal_module.journal_path(ramp).write_text("my notes")
    with pytest.raises(OutputError, match="not a journal"):
        apply_dq(ramp, in_place=True)
    assert journal_module.journal_path(ramp).read_text() == "my notes"


def _leave_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change a file, and die before the journal is removed."""

    def die(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(inplace_module, "discard", die)
        with pytest.raises(KeyboardInterrupt):
            apply_dq(path, in_place=True)
    assert journal_module.pending(path)


@pytest.mark.parametrize("full", [False, True], ids=["room", "no room"])
@pytest.mark.parametrize("moment", ["copy_range", "discard"])
def test_killed_while_it_takes_a_run_back(
    ramp: Path, monkeypatch: pytest.MonkeyPatch, moment: str, full: bool
) -> None:
    if full:
        _fill_header(ramp)
    original = _digest(ramp)
    _leave_journal(ramp, monkeypatch)
    assert _digest(ramp) != original

    def die(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    fd = os.open(ramp, os.O_RDWR)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, moment, die)
        with pytest.raises(KeyboardInterrupt):
            journal_module.roll_back(ramp, fd)
    assert journal_module.roll_back(ramp, fd)
    os.close(fd)
    assert _digest(ramp) == original


def test_the_journal_is_found_through_any_link(
    ramp: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = folder / "link.fits"
    link.symlink_to(ramp)
    original = _digest(ramp)
    _leave_journal(link, monkeypatch)
    for path in (ramp, link):
        with pytest.raises(RampFormatError, match="interrupted"):
            apply_dq(path, folder / "out.fits")
    fd = os.open(ramp, os.O_RDWR)
    assert journal_module.roll_back(ramp, fd)
    os.close(fd)
    assert _digest(ramp) == original
    assert _names(folder) == ["link.fits", "ramp.fits"]


def test_a_half_changed_file_is_not_read_by_anything(
    ramp: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_journal(ramp, monkeypatch)
    with pytest.raises(RampFormatError, match="interrupted"):
        TMTRampModel(ramp)
    with pytest.raises(RampFormatError, match="interrupted"):
        DQInitStep.call(ramp)
    other = simulate_ramp(folder / "other.fits", ngroups=1, window=CORNER)
    with pytest.raises(MaskFormatError, match="interrupted"):
        apply_dq(other, user_dq=ramp)


def test_the_journal_of_another_file_is_not_used(
    ramp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_journal(ramp, monkeypatch)
    simulate_ramp(ramp.with_name("new.fits"), ngroups=3, window=CORNER, seed=7).replace(ramp)
    before = _digest(ramp)
    with pytest.raises(OutputError, match="written for another file"):
        apply_dq(ramp, in_place=True)
    assert _digest(ramp) == before
