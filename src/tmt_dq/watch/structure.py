"""How far a FITS file has come that is still being written.

`tmt_dq.fits.layout` reads files that are there; what is wrong with them is an error. Here a file
that ends too early is the usual case, and nothing that is read is trusted for more than one thing:
the number of bytes that must be there before anyone looks at it in earnest.
"""

import math
import os
from dataclasses import dataclass
from typing import Literal

__all__ = ["Structure", "read_structure"]

_BLOCK = 2880
_CARD = 80
_BLOCKS_AT_ONCE = 4
_LONGEST_HEADER = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_WANTED = frozenset(
    ["SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "EXTNAME", "COMPLETE"]
)


@dataclass(frozen=True, slots=True)
class Structure:
    """What the headers of a file say of its length.

    Parameters
    ----------
    kind : str
        "empty"; "partial": the headers announce more bytes than there are; "whole": the file ends
        where a header and data unit ends, and has its SCI; "headless": it ends at such a place, but
        SCI is not there (yet); "opaque": compressed as a whole, so that its length says nothing;
        "damaged": no number of further bytes can make it a FITS file.
    needs : int
        Bytes that must be there before it is worth looking again.
    complete : bool or None
        The keyword COMPLETE of the primary header or SCI.
    what : str
        For people: what is missing.
    """

    kind: Literal["empty", "partial", "whole", "headless", "opaque", "damaged"]
    needs: int = 0
    complete: bool | None = None
    what: str = ""


def read_structure(fd: int, size: int) -> Structure:
    """Read the headers of a file, as far as they are there.

    Parameters
    ----------
    fd : int
        The open file.
    size : int
        Its length in bytes.

    Returns
    -------
    Structure
        What they say.
    """
    if size == 0:
        return Structure("empty", 1, what="it is empty")
    if os.pread(fd, 2, 0) == _GZIP:
        return Structure("opaque", size, what="it is compressed, and does not say how long it is")
    offset = index = 0
    complete: bool | None = None
    science = False
    while offset < size:
        cards = _read_header(fd, offset, size, index)
        if isinstance(cards, Structure):
            return cards
        length, values = cards
        data = _data_size(values, index)
        if data is None:
            return Structure("damaged", what=f"the header of HDU {index} makes no sense")
        name = values.get("EXTNAME", "").strip("' ").upper()
        science = science or name == "SCI"
        if complete is None and (index == 0 or name == "SCI") and "COMPLETE" in values:
            complete = {"T": True, "F": False}.get(values["COMPLETE"])
        end = offset + length + data
        padded = -(-end // _BLOCK) * _BLOCK
        if padded > size:
            label = name or ("the primary HDU" if index == 0 else f"HDU {index}")
            said = f"{label} needs {end} bytes and the rest of a block, the file has {size}"
            return Structure("partial", padded, complete, said)
        offset, index = padded, index + 1
    if not science:
        return Structure("headless", size + 1, complete, "it has no extension SCI")
    return Structure("whole", size, complete)


def _read_header(
    fd: int, offset: int, size: int, index: int
) -> Structure | tuple[int, dict[str, str]]:
    """Return a header's length and the cards of interest; or why there is none."""
    expected = b"SIMPLE  =" if index == 0 else b"XTENSION="
    values: dict[str, str] = {}
    place = offset
    while True:
        piece = os.pread(fd, _BLOCKS_AT_ONCE * _BLOCK, place)
        if place == offset and not expected.startswith(piece[: len(expected)]):
            return _not_a_header(piece, offset, size, index)
        whole = len(piece) // _BLOCK * _BLOCK
        for first in range(0, whole, _BLOCK):
            if _take_cards(piece[first : first + _BLOCK], values):
                return place + first + _BLOCK - offset, values
        place += whole
        if len(piece) < _BLOCKS_AT_ONCE * _BLOCK:
            said = f"it ends inside the header of HDU {index}"
            return Structure("partial", place + _BLOCK, what=said)
        if place - offset > _LONGEST_HEADER:
            return Structure("damaged", what=f"the header of HDU {index} has no END card")


def _not_a_header(piece: bytes, offset: int, size: int, index: int) -> Structure:
    """Say what is there instead of a header."""
    if not piece.strip(b"\0 "):
        # Room that was made for what is to come: wait for what it will be.
        return Structure("partial", size, what=f"from byte {offset} on it has zeros")
    if index > 0:
        return Structure("damaged", what=f"after HDU {index - 1}, at byte {offset}, is no header")
    return Structure("damaged", what=f"it is no FITS file: it begins with {piece[:9]!r}")


def _take_cards(block: bytes, values: dict[str, str]) -> bool:
    """Take the cards of interest from a block; tell whether END is in it."""
    for card in range(0, _BLOCK, _CARD):
        text = block[card : card + _CARD]
        keyword = text[:8].rstrip().decode("latin-1")
        if keyword == "END":
            return True
        if keyword in _WANTED or keyword.startswith("NAXIS"):
            values.setdefault(keyword, _value(text))
    return False


def _value(card: bytes) -> str:
    """Return the text of a card's value; the cards of interest have no slash in theirs."""
    return card[10:].decode("latin-1").partition("/")[0].strip()


def _data_size(values: dict[str, str], index: int) -> int | None:
    """Return the number of bytes that a header announces; None if it makes no sense."""
    try:
        axes = [int(values[f"NAXIS{axis}"]) for axis in range(1, int(values["NAXIS"]) + 1)]
        bits = abs(int(values["BITPIX"]))
        extra = int(values.get("PCOUNT", "0")) if index > 0 else 0
        groups = int(values.get("GCOUNT", "1")) if index > 0 else 1
    except (KeyError, ValueError):
        return None
    if min([0, *axes, extra, groups]) < 0 or bits not in {8, 16, 32, 64}:
        return None
    return bits // 8 * groups * (extra + (math.prod(axes) if axes else 0))
