"""DATASUM and CHECKSUM, from sums gathered while the data passes by.

The algorithm is that of the FITS standard 4.0, section 4.4.2.7 and appendix J: a 32-bit ones'
complement sum, written into the header so that the whole unit sums to all ones.
"""

import numpy as np
import numpy.typing as npt

from tmt_dq.fits.cards import Header

_ALL_ONES = 0xFFFF_FFFF
_PUNCTUATION = frozenset(range(0x3A, 0x41)) | frozenset(range(0x5B, 0x61))


def add(*sums: int) -> int:
    """Add ones' complement sums."""
    total = sum(sums)
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def sum_bytes(data: bytes | memoryview | npt.NDArray[np.generic]) -> int:
    """Return the ones' complement sum of big-endian data, a multiple of four bytes long."""
    words = np.frombuffer(data, dtype=">u4")
    return add(int(np.add.reduce(words, dtype=np.uint64)))


def datasum(header: Header) -> int | None:
    """Return the DATASUM that a header declares, None where there is none."""
    text = str(header.get("DATASUM", "")).strip()
    return int(text) if text.isdecimal() else None


def sign(
    header: Header, data_sum: int | None, *, size: int | None = None, comment: str | None = None
) -> bytes:
    """Return the header as bytes, filled to a size, with DATASUM and CHECKSUM that fit the data.

    Where the sum of the data is not known (None), there is no CHECKSUM.
    """
    header = header.copy()
    if data_sum is None:
        header.remove("CHECKSUM")
        return header.to_bytes(size)
    header.set("DATASUM", str(data_sum), comment or "data unit checksum")
    # It may be there twice: only one of them can be right.
    header.remove("CHECKSUM")
    header.set("CHECKSUM", "0" * 16, comment or "HDU checksum", before="DATASUM")
    zeroed = header.to_bytes(size)
    text = _encode(_ALL_ONES - add(sum_bytes(zeroed), data_sum))
    # Only at the start of a card: a comment may hold the same text.
    cards = range(0, len(zeroed), 80)
    place = next(card for card in cards if zeroed.startswith(b"CHECKSUM= '", card)) + 11
    return zeroed[:place] + text + zeroed[place + 16 :]


def _encode(value: int) -> bytes:
    """Write a 32-bit value as the 16 letters and digits of appendix J."""
    columns = []
    for byte in value.to_bytes(4, "big"):
        quotient, remainder = divmod(byte, 4)
        letters = [quotient + 0x30] * 4
        letters[0] += remainder
        # Move pairs apart, their sum unchanged, until no letter is punctuation.
        while any(letter in _PUNCTUATION for letter in letters):
            for first in (0, 2):
                if letters[first] in _PUNCTUATION or letters[first + 1] in _PUNCTUATION:
                    letters[first] += 1
                    letters[first + 1] -= 1
        columns.append(letters)
    text = bytes(columns[byte][position] for position in range(4) for byte in range(4))
    # The value starts in column 12 of its card, one byte off a word boundary: rotate right once.
    return text[-1:] + text[:-1]
