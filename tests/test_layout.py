"""Where headers and data units lie: against astropy, and for files that are damaged."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from builders import make_ramp, ramp_hdus, write_hdus
from tmt_dq.errors import RampFormatError
from tmt_dq.fits.layout import BLOCK, Unit, padded, scan, scan_file


def units_of(path: Path) -> list[Unit]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(scan_file(fd, path, path.stat().st_size))
    finally:
        os.close(fd)


def scan_bytes(content: bytes) -> list[Unit]:
    return list(scan(lambda at, size: content[at : at + size], "a.fits", size=len(content)))


def test_where_a_header_ends(folder: Path) -> None:
    # 36 cards fill a block: the last one is END.
    hdu = fits.PrimaryHDU()
    while len(hdu.header) < 35:
        hdu.header[f"K{len(hdu.header)}"] = 1
    path = write_hdus(folder / "a.fits", fits.HDUList([hdu]))
    assert path.stat().st_size == BLOCK
    assert units_of(path)[0].data_offset == BLOCK
    hdu = fits.PrimaryHDU()
    hdu.header["HISTORY"] = "END"
    hdu.header["COMMENT"] = "END     of the line"
    hdu.header["LAST"] = 1
    path = write_hdus(folder / "a.fits", fits.HDUList([hdu, fits.ImageHDU(name="SCI")]))
    assert len(units_of(path)) == 2
    assert units_of(path)[0].header["LAST"] == 1


@pytest.mark.parametrize("junk", [b"\0" * 100, b"\0" * 2880, b" " * 2880, b"\0" * 5000])
def test_padding_after_the_last_unit_is_ignored(folder: Path, junk: bytes) -> None:
    path = make_ramp(folder / "a.fits")
    path.write_bytes(path.read_bytes() + junk)
    assert [unit.name for unit in units_of(path)] == ["", "SCI"]


def content() -> bytes:
    hdus = ramp_hdus()
    import io

    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return buffer.getvalue()


def card(text: str) -> bytes:
    return text.ljust(80).encode("ascii")


def replaced(old: str, new: str) -> bytes:
    """Return a ramp with the first card that begins with `old` replaced."""
    whole = content()
    place = whole.index(old.encode())
    assert place % 80 == 0
    return whole[:place] + card(new) + whole[place + 80 :]


DAMAGED: dict[str, tuple[Any, str]] = {
    "empty": (b"", "not a FITS file: the file is empty"),
    "text": (b"Dear diary,\n", "it is text, which begins with 'Dear diary,\\n'"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    "zeros": (bytes(5760), "not a FITS file"),
    "extension first": (card("XTENSION= 'IMAGE   '") * 36, "not a FITS file"),
    "cut in the first header": (content()[:1000], "truncated inside the header of HDU 0"),
    "cut in the second header": (content()[:3000], "truncated inside the header of HDU 1"),
    "cut in the data": (content()[:5800], "is truncated: SCI needs 6048 bytes, the file has 5800"),
    "one byte short": (content()[:6047], "is truncated: SCI needs 6048 bytes, the file has 6047"),
    "junk behind": (content() + b"junk" * 100, "at byte 8640, expected an extension, found b'junk"),
    "no END": (content()[:160] + card("A       = 1") * 64, "truncated inside the header of HDU 0"),
    "BITPIX of text": (replaced("BITPIX", "BITPIX  = 'many'"), "header of HDU 0 is damaged"),
    "BITPIX 12": (replaced("BITPIX", "BITPIX  = 12"), "HDU 0 has BITPIX 12"),
    "negative axis": (replaced("NAXIS1", "NAXIS1  = -8"), "HDU 1 has BITPIX 16 and axes"),
    "negative PCOUNT": (replaced("PCOUNT", "PCOUNT  = -1"), "HDU 1 has BITPIX 16"),
    "negative GCOUNT": (replaced("GCOUNT", "GCOUNT  = -1"), "PCOUNT 0, GCOUNT -1"),
    "enormous GCOUNT": (replaced("GCOUNT", f"GCOUNT  = {10**30}"), "HDU 1 has BITPIX 16"),
    "NAXIS of half the planet": (replaced("NAXIS   ", "NAXIS   = 1000"), "expected 0 to 999"),
    "axis as text": (replaced("NAXIS1", "NAXIS1  = '8'"), "NAXIS1 is '8'; expected a whole number"),
    "axis as a real": (replaced("NAXIS1", "NAXIS1  = 8.0"), "NAXIS1 is 8.0; expected a whole"),
    "axis twice": (replaced("PCOUNT", "NAXIS1  = 9"), "NAXIS1 is 8 and 9"),
    "name twice": (replaced("PCOUNT", "EXTNAME = 'DQ'"), "EXTNAME is 'DQ' and 'SCI'"),
    "enormous axis": (replaced("NAXIS1", "NAXIS1  = 99999999999"), "is truncated: SCI needs"),
    "unreadable name": (
        replaced("EXTNAME", "EXTNAME = 12 34"),
        "HDU 1 is damaged: the card 'EXTNAME = 12 34' has no value that FITS knows",
    ),
    "unreadable NAXIS": (replaced("NAXIS   =                    4", "NAXIS   = ?"), "damaged"),
}


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files(case: str) -> None:
    damaged, message = DAMAGED[case]
    with pytest.raises(RampFormatError) as caught:
        scan_bytes(damaged)
    assert str(caught.value).startswith("a.fits: ")
    assert message in str(caught.value)


def test_a_header_without_end_does_not_fill_the_memory() -> None:
    asked = []

    def read_at(offset: int, size: int) -> bytes:
        asked.append(offset)
        first = card("SIMPLE  =                    T") if offset == 0 else card("A       = 1")
        return first + card("A       = 1") * 35

    with pytest.raises(RampFormatError, match="HDU 0 has no END card"):
        list(scan(read_at, "a.fits", size=10**15))
    assert max(asked) < 100_000_000


def test_a_string_over_many_cards_takes_linear_time() -> None:
    cards = [b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 0", b"LONG    = 'x&'"]
    cards += [b"CONTINUE  '" + b"y" * 56 + b"&'"] * 60_000
    text = b"".join(one.ljust(80) for one in [*cards, b"CONTINUE  'z'", b"END"])
    text = text.ljust(padded(len(text)))
    before = time.process_time()
    (unit,) = scan_bytes(text)
    assert unit.header["LONG"] == "x" + "y" * 56 * 60_000 + "z"
    assert time.process_time() - before < 5  # 20 to 60 s if joined one by one


def test_random_groups_are_refused() -> None:
    hdu = fits.PrimaryHDU()
    hdu.header["GROUPS"] = True
    hdu.header["GCOUNT"] = 1
    hdu.header["PCOUNT"] = 0
    text = hdu.header.tostring().encode()
    with pytest.raises(RampFormatError, match="random groups"):
        scan_bytes(text)
