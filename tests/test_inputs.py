"""Inputs in every wrapping, opened for their headers or for their data; and damaged at random."""

import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import (
    compress_gzip,
    compress_tiles,
    failing,
    folder_state,
    make_mask,
    make_ramp,
    ramp_hdus,
    run_python,
    write_hdus,
)
from tmt_dq.apply.apply import apply_dq
from tmt_dq.errors import ConfigError, MaskFormatError, OutputError, RampFormatError, TmtDqError
from tmt_dq.fits.file import open_input
from tmt_dq.references import select_mask


def packed(folder: Path, form: str) -> Path:
    sci = np.random.default_rng(11).integers(0, 60000, (2, 3, 6, 80), np.uint16)
    plain = make_ramp(folder / "plain.fits", sci=sci)
    if form == "gzip":
        return compress_gzip(plain, folder / "packed.fits.gz")
    if form == "tiles":
        return compress_tiles(plain, folder / "packed.fits.fz")
    if form == "both":
        return compress_gzip(
            compress_tiles(plain, folder / "tiles.fits.fz"), folder / "packed.fits.fz.gz"
        )
    return plain


FORMS = ["plain", "gzip", "tiles", "both"]


def test_the_content_decides_and_not_the_name(folder: Path) -> None:
    path = packed(folder, "gzip").rename(folder / "named_otherwise.fits")
    with open_input(path, scratch=folder) as file:
        assert file.compressed
    path = packed(folder, "plain").rename(folder / "not_packed.fits.gz")
    with open_input(path, scratch=folder) as file:
        assert not file.compressed
    content = packed(folder, "plain").read_bytes()
    path = folder / "two.fits.gz"
    path.write_bytes(gzip.compress(content[:4000]) + gzip.compress(content[4000:]))
    with open_input(path, scratch=folder) as file:
        assert file.named("SCI")[0].shape == (2, 3, 6, 80)


def test_descriptors_are_closed(folder: Path) -> None:
    paths = []
    for form in FORMS:
        (folder / form).mkdir()
        paths.append(packed(folder / form, form))
    broken = folder / "broken.fits.gz"
    broken.write_bytes(paths[1].read_bytes()[:-20])
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in paths:
        with open_input(path, scratch=folder):
            pass
    with pytest.raises(RampFormatError), open_input(broken, scratch=folder):
        pass
    assert len(set(os.listdir("/proc/self/fd"))) == len(before)  # noqa: PTH208


def test_no_room_to_expand_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(folder, "gzip")
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))
    with pytest.raises(OutputError, match="The disk is full"), open_input(path, scratch=folder):
        pass


@pytest.mark.parametrize("form", ["gzip", "tiles"])
def test_expansion_takes_little_memory(folder: Path, form: str) -> None:
    # 134 MB of science data, as zeros: 100 kB in the file.
    hdus = ramp_hdus(sci=np.zeros((1, 64, 1024, 1024), np.uint16))
    plain = write_hdus(folder / "plain.fits", hdus)
    if form == "gzip":
        path = compress_gzip(plain, folder / "packed.fits.gz")
    else:
        path = compress_tiles(plain, folder / "packed.fits.fz", rows=256)
    plain.unlink()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tmt_dq.fits.file import open_input\n"
        "with open_input(Path(sys.argv[1]), scratch=Path(sys.argv[2])) as file:\n"
        "    assert file.named('SCI')[0].data_size == 2 * 64 * 1024 * 1024\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    done = run_python("-c", code, path, folder, code=0)
    assert int(done.stdout) * 1024 < 200e6


def test_little_is_expanded_beyond_what_headers_account_for(folder: Path) -> None:
    # 800 MB of zeros behind a primary header: nothing is kept of the part that was expanded.
    header = fits.PrimaryHDU().header.tostring().encode()
    with gzip.open(folder / "bomb.fits.gz", "wb", 1) as file:
        file.write(header)
        for _ in range(200):
            file.write(bytes(4 << 20))
    before = folder_state(folder)
    with (
        pytest.raises(RampFormatError, match=r"its headers account for 2880$|account for 2880\n"),
        open_input(folder / "bomb.fits.gz", scratch=folder),
    ):
        pass
    assert folder_state(folder) == before


TILES = ["ZBITPIX = 12", "ZBITPIX = 1.5", "ZNAXIS  = 0", "ZNAXIS1 = 'a'", "ZNAXIS2 = 8.0"]
TILES += ["ZNAXIS3 = -1", f"ZNAXIS3 = {10**20}", f"ZNAXIS4 = {2**31}", "ZNAXIS4 = (1,2)"]
TILES += ["ZNAXIS3 ="]


@pytest.mark.parametrize("card", TILES)
def test_damaged_keywords_of_tiles(folder: Path, card: str) -> None:
    path = packed(folder, "tiles")
    content = path.read_bytes()
    place = content.index(f"{card[:8]}=".encode())
    path.write_bytes(content[:place] + card.ljust(80).encode() + content[place + 80 :])
    for scratch in (None, folder):
        with (
            pytest.raises(RampFormatError, match="SCI cannot be decompressed"),
            open_input(path, scratch=scratch),
        ):
            pass


@pytest.mark.parametrize("call", ["pread", "preadv"])
def test_a_disk_that_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ramp, mask = make_ramp(folder / "r.fits"), make_mask(folder / "m.fits")
    before = folder_state(folder)

    def of_victim(fd: int, *_: object) -> bool:
        return os.readlink(f"/proc/self/fd/{fd}") == str(victim)  # noqa: PTH115 - no path of a file

    monkeypatch.setattr(os, call, failing(errno.EIO, getattr(os, call), of_victim))
    for victim, error in ((ramp, RampFormatError), (mask, MaskFormatError)):
        if (victim, call) == (ramp, "preadv"):
            continue  # data of a ramp without flags are copied, not read
        with pytest.raises(error, match="cannot be read: Input/output error"):
            apply_dq(ramp, folder / "o.fits", mask=mask)
        assert folder_state(folder) == before


def test_names_with_nul(folder: Path) -> None:
    ramp, mask = make_ramp(folder / "r.fits"), make_mask(folder / "m.fits")
    nul = f"{folder}/x\0.fits"
    for source, target, flags in ((nul, None, mask), (ramp, nul, mask), (ramp, None, nul)):
        with pytest.raises(ConfigError, match="has a NUL character in its name"):
            apply_dq(source, target, mask=flags)


@pytest.mark.filterwarnings("ignore")  # astropy warns about some of the damage
@pytest.mark.parametrize("seed", range(100))
def test_random_damage_ends_in_an_error_of_ours(folder: Path, seed: int) -> None:
    """Whatever bytes are changed or missing: a result, or a TmtDqError and no output."""
    rng = np.random.default_rng(seed)
    ramp = make_ramp(folder / "ramp.fits", (1, 2, 3, 4), pixeldq=np.ones((3, 4), np.int16))
    rows = [(0, 1, "DO_NOT_USE")]
    mask = make_mask(folder / "mask.fits", np.ones((3, 4), np.uint32), rows=rows)
    victim = (ramp, mask)[seed % 2]
    content = bytearray(victim.read_bytes())
    # Blanks are most of a header and of no interest.
    places = [place for place, byte in enumerate(content) if byte != 32]
    for place in rng.choice(places, rng.integers(1, 4)):
        content[place] = rng.choice(list(b" 0123456789-+.'=TFEND/\0\xff"))
    if rng.random() < 0.2:
        del content[rng.integers(len(content)) :]
    victim.write_bytes(content)
    before = folder_state(folder)
    for work in (
        lambda: apply_dq(ramp, folder / "out.fits", mask=mask, sync=False),
        lambda: select_mask(victim),
    ):
        try:
            work()
        except TmtDqError as error:
            assert error.where  # noqa: PT017
            assert folder_state(folder) == before
        else:
            (folder / "out.fits").unlink(missing_ok=True)


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_letters_that_are_not_ascii(folder: Path) -> None:
    # The standard forbids them; observatories write them all the same.
    mask = make_mask(folder / "mask.fits")

    def named(**header: str) -> Path:
        ramp = make_ramp(folder / "ramp.fits", header=header)
        ramp.write_bytes(ramp.read_bytes().replace(b"Jose", b"Jos\xe9"))
        return ramp

    ramp = named(HISTORY="read by Jose", OBSERVER="Jose")
    apply_dq(ramp, folder / "out.fits", mask=mask)
    content = (folder / "out.fits").read_bytes()
    assert b"HISTORY read by Jos\xe9 " in content
    assert b"OBSERVER= 'Jos\xe9    '" in content
    # Where such a value is needed: astropy does not read it, and guessing it is not ours.
    with pytest.raises(RampFormatError, match="DETECTOR"):
        apply_dq(named(DETECTOR="Jose"), folder / "out3.fits", mask=mask)
