"""DATASUM and CHECKSUM against astropy's."""

import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Card, Header


def image(data: bytes) -> Any:
    """Return an image extension of bytes, and its padded data."""
    hdu = fits.ImageHDU(np.frombuffer(data, np.uint8).copy(), name="X")
    return hdu, data + bytes(-len(data) % 2880)


def ours(header: fits.Header) -> Header:
    return Header.from_bytes(header.tostring().encode("ascii"))


words = st.binary(min_size=4, max_size=64) | st.integers(1, 3000).map(lambda n: b"\xff" * n)


@given(words, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_signed_unit_verifies_in_astropy(data: bytes, text: str) -> None:
    hdu, whole = image(data)
    hdu.header["TEXT"] = text
    hdu.header["HISTORY"] = text
    header = ours(hdu.header)
    before = header.to_bytes()
    signed = checksums.sign(header, checksums.sum_bytes(whole))
    assert header.to_bytes() == before
    assert len(signed) % 2880 == 0
    # The standard: a unit with a right CHECKSUM sums to all ones.
    assert checksums.add(checksums.sum_bytes(signed), checksums.sum_bytes(whole)) == 2**32 - 1
    verify(signed + whole)


def verify(unit: bytes) -> Any:
    primary = fits.PrimaryHDU().header.tostring().encode()
    with fits.open(io.BytesIO(primary + unit), checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus[1].verify_datasum() == 1
        assert hdus[1].verify_checksum() == 1
        return hdus[1].header.copy()


def test_of_two_old_sums_none_is_left() -> None:
    hdu, whole = image(b"1234")
    header = ours(hdu.header)
    for text in ("abcdefghabcdefgh", "ABCDEFGHABCDEFGH"):
        header.append(Card.of("CHECKSUM", text))
    header.append(Card.of("DATASUM", "5"))
    found = verify(checksums.sign(header, checksums.sum_bytes(whole)) + whole)
    assert list(found).count("CHECKSUM") == 1


@pytest.mark.parametrize("keyword", ["COMMENT", "HISTORY"])
def test_text_that_looks_like_a_checksum_is_left_alone(keyword: str) -> None:
    hdu, whole = image(b"1234")
    text = "CHECKSUM= '1234567890123456'"
    hdu.header[keyword] = text
    # A keyword at the very end keeps the text before whatever is added.
    hdu.header.append(("LAST", 1), end=True)
    header = verify(checksums.sign(ours(hdu.header), checksums.sum_bytes(whole)) + whole)
    assert str(header[keyword]) == text


def test_long_strings_are_signed_too() -> None:
    hdu, whole = image(b"1234")
    hdu.header["R_MASK"] = ("/" + "long/" * 60, "where it is")
    header = verify(checksums.sign(ours(hdu.header), checksums.sum_bytes(whole)) + whole)
    assert header["R_MASK"] == "/" + "long/" * 60
