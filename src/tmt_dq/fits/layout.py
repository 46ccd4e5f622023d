"""Where the headers and data units of a FITS file lie, found by reading headers only."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tmt_dq.errors import RampFormatError
from tmt_dq.files.copying import read_errors
from tmt_dq.fits.cards import Card, Header, Value

__all__ = ["BITPIX", "BLOCK", "Keywords", "Reader", "Unit", "image_size", "padded", "scan"]

BLOCK = 2880
"""FITS files are made of blocks of this many bytes."""
BITPIX = {8: 1, 16: 2, 32: 4, 64: 8, -32: 4, -64: 8}
"""Types of FITS' data, and the bytes of each."""

_CARD = 80
_DECISIVE = frozenset(
    [
        "INSTRUME",
        "DETECTOR",
        "DATE-OBS",
        "TIME-OBS",
        "SUBARRAY",
        "SUBARRID",
        "SUBSTRT1",
        "SUBSTRT2",
        "SUBSIZE1",
        "SUBSIZE2",
        "FASTAXIS",
        "SLOWAXIS",
        "COMPLETE",
        "REFTYPE",
    ]
)
"""Keywords that decide what is done to a file; to guess which of two values is meant is wrong."""
_STRUCTURAL = ("XTENSION", "EXTNAME", "ZIMAGE", "GROUPS")
"""Keywords that say what a unit is, whatever it is."""
_SIZES = re.compile(r"Z?(BITPIX|NAXIS\d*)|[PG]COUNT")
"""Keywords from which the size of the data follows."""
_MOST_AXES = 999
_LARGEST_FILE = 2**62
_LONGEST_HEADER = 32 * 1024 * 1024
"""A larger header is taken for a damaged file: its 400,000 cards take 300 MB of memory."""


def padded(size: int) -> int:
    """Return `size` rounded up to whole FITS blocks."""
    return -(-size // BLOCK) * BLOCK


class Reader(Protocol):
    """Bytes at a place: a plain file, or one that is decompressed on the way."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer at the end of the file."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One header and data unit.

    Parameters
    ----------
    index : int
        0 for the primary one.
    header : Header
        Its cards; treat as read-only.
    header_offset, data_offset : int
        First byte of the header and of the data in the file.
    data_size : int
        Bytes of data, without the padding.
    """

    index: int
    header: Header
    header_offset: int
    data_offset: int
    data_size: int

    @property
    def name(self) -> str:
        """EXTNAME in upper case, "" where there is none."""
        return str(self.header.get("EXTNAME", "")).strip().upper()

    @property
    def version(self) -> int:
        """EXTVER, 1 where there is none."""
        return self.header.integer("EXTVER", 1)

    @property
    def end(self) -> int:
        """First byte after the padded data."""
        return self.data_offset + padded(self.data_size)

    @property
    def header_size(self) -> int:
        """Bytes of the header, padding included."""
        return self.data_offset - self.header_offset

    @property
    def is_image(self) -> bool:
        """Whether the unit is the primary one or an IMAGE extension."""
        kind = str(self.header.get("XTENSION", "IMAGE")).strip().upper()
        return self.index == 0 or kind in {"IMAGE", "IUEIMAGE"}

    @property
    def is_compressed_image(self) -> bool:
        """Whether the unit is an image stored as a table of compressed tiles."""
        return self.index > 0 and bool(self.header.get("ZIMAGE", False))

    @property
    def bitpix(self) -> int:
        """BITPIX."""
        return self.header.integer("BITPIX")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stored array as NumPy counts it: slowest axis first."""
        return tuple(
            self.header.integer(f"NAXIS{axis}")
            for axis in range(self.header.integer("NAXIS"), 0, -1)
        )

    @property
    def label(self) -> str:
        """How messages call the unit."""
        return self.name or ("primary HDU" if self.index == 0 else f"HDU {self.index}")


def scan(reader: Reader, where: object, *, size: int | None = None) -> Iterator[Unit]:
    """Yield the units of a FITS file one by one, reading headers only."""
    offset = index = 0
    while size is None or offset < size:
        with read_errors(where):
            start = reader.read_at(offset, BLOCK)
        # A file that is being written may end inside these bytes.
        if index == 0 and not (start and b"SIMPLE  =".startswith(start[:9])):
            raise _not_fits(start, where)
        if index > 0 and not (start and b"XTENSION=".startswith(start[:9])):
            if start.strip(b"\0 "):
                raise RampFormatError(
                    f"after HDU {index - 1}, at byte {offset}, expected an extension, found "
                    f"{start[:16]!r}",
                    where=where,
                    hint="The file is damaged, or cut off and overwritten; fetch it again.",
                )
            return  # padding beyond the last extension, or the end of a stream
        text, header_size = _header_text(reader, offset, start, where, index)
        unit = _unit(index, text, offset, header_size, where)
        if size is not None and unit.data_offset + unit.data_size > size:
            end = unit.data_offset + unit.data_size
            what = f"is truncated: {unit.label} needs {end} bytes, the file has {size}"
            raise _truncated(what, where, unit.end)
        yield unit
        offset, index = unit.end, index + 1
    if index == 0:
        raise _not_fits(b"", where)


def _not_fits(start: bytes, where: object) -> RampFormatError:
    hint = "Name a FITS file (.fits, .fits.gz, .fits.fz), or fetch it again."
    if not start:
        found = "the file is empty"
    elif start.startswith(b"version https://git-lfs"):
        found, hint = "it is a Git LFS pointer", "Run 'git lfs pull' where it came from."
    elif start[:12].isascii() and "".join(start[:12].decode().split()).isprintable():
        found = f"it is text, which begins with {start[:12].decode()!r}"
        hint += (
            " Lists of bad pixels are taken by tmt-dq import and tmt-dq apply --user-dq, lists of "
            "ramps by tmt-dq batch @LIST."
        )
    else:
        found = f"it begins with {start[:12]!r}"
    return RampFormatError(
        f"is not a FITS file: {found}; expected 'SIMPLE  ='", where=where, hint=hint
    )


def _truncated(what: str, where: object, needs: int) -> RampFormatError:
    hint = "Fetch the file again, or wait until it is written completely."
    error = RampFormatError(what, where=where, hint=hint)
    error.needs = needs
    return error


def _header_text(
    reader: Reader, offset: int, start: bytes, where: object, index: int
) -> tuple[bytes, int]:
    """Read blocks until the one with the END card."""
    blocks = [start]
    while True:
        block = blocks[-1]
        if len(block) < BLOCK:
            what = f"is truncated inside the header of HDU {index}"
            raise _truncated(what, where, offset + len(blocks) * BLOCK)
        for card in range(0, BLOCK, _CARD):
            if block[card : card + _CARD].rstrip() == b"END":
                return b"".join(blocks), len(blocks) * BLOCK
        if len(blocks) * BLOCK >= _LONGEST_HEADER:
            raise RampFormatError(
                f"the header of HDU {index} has no END card in its first "
                f"{_LONGEST_HEADER >> 20} MB",
                where=where,
                hint="Fetch the file again.",
            )
        with read_errors(where):
            blocks.append(reader.read_at(offset + len(blocks) * BLOCK, BLOCK))


def _unit(index: int, text: bytes, offset: int, header_size: int, where: object) -> Unit:
    """Parse one header and work out the size of its data."""
    try:
        header = Header.from_bytes(text)
        for keyword in _STRUCTURAL:
            header.get(keyword)  # an error here, where the file is known
        bitpix, axes = image_size(header)
        groups, extra = _whole(header, "GCOUNT", 1), _whole(header, "PCOUNT", 0)
        size = BITPIX.get(bitpix, 0) * groups * (extra + (math.prod(axes) if axes else 0))
        valid = (
            bitpix in BITPIX
            and min([0, *axes]) == 0 <= extra
            and groups > 0
            and offset + size < _LARGEST_FILE
        )
    except (KeyError, ValueError) as error:
        raise RampFormatError(
            f"the header of HDU {index} is damaged: {error}",
            where=where,
            hint="Fetch the file again.",
        ) from error
    if not valid or (index == 0 and header.get("GROUPS") is True):
        raise RampFormatError(
            f"HDU {index} has BITPIX {bitpix} and axes {axes}, PCOUNT {extra}, GCOUNT {groups}"
            + (" in random groups" if header.get("GROUPS") is True else "")
            + ", which is not an image or table of this standard",
            where=where,
            hint="Fetch the file again.",
        )
    return Unit(index, header, offset, offset + header_size, size)


def image_size(header: Header, prefix: str = "") -> tuple[int, list[int]]:
    """Return BITPIX and the lengths of the axes, of a tiled image those with the prefix Z.

    KeyError or ValueError where they are missing, no whole numbers, or there with two values.
    """
    first: dict[str, Card] = {}
    for card in header.cards:
        if _SIZES.fullmatch(card.keyword):
            other = first.setdefault(card.keyword, card)
            if other is not card and other.value != card.value:
                raise ValueError(f"{card.keyword} is {other.value!r} and {card.value!r}")
    naxis = _whole(header, f"{prefix}NAXIS")
    if not 0 <= naxis <= _MOST_AXES:
        raise ValueError(f"{prefix}NAXIS is {naxis}; expected 0 to {_MOST_AXES}")
    axes = [_whole(header, f"{prefix}NAXIS{axis}") for axis in range(1, naxis + 1)]
    return _whole(header, f"{prefix}BITPIX"), axes


def _whole(header: Header, keyword: str, default: int | None = None) -> int:
    """Return a keyword that is a whole number as FITS writes them: neither text nor 8.0."""
    value = header[keyword] if default is None else header.get(keyword, default)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{keyword} is {value!r}; expected a whole number")


class Keywords(Mapping[str, object]):
    """The keywords of headers, those without a value left out.

    Cards are read when they are asked for: what is wrong with one that nobody needs, a NaN of a
    sensor that was off, keeps nobody from the data.

    Parameters
    ----------
    where : object
        Named in errors: the file.
    *units : Unit
        Whose headers: the first that gives a keyword a value counts. Of a keyword that is there
        twice in one, the first card counts, as for astropy.

    Raises
    ------
    RampFormatError
        Raised if a keyword that decides what is done has two values in one header; and when a
        keyword is asked for whose card cannot be read.
    """

    def __init__(self, where: object, *units: Unit) -> None:
        self._where = where
        self._found: dict[str, list[tuple[Unit, Card]]] = {}
        for unit in units:
            first: dict[str, Card] = {}
            again = [
                card
                for card in unit.header.cards
                if first.setdefault(card.keyword, card) is not card and card.keyword in _DECISIVE
            ]
            self._check_same(unit, first, again)
            for keyword, card in first.items():
                self._found.setdefault(keyword, []).append((unit, card))

    def __getitem__(self, keyword: str) -> object:
        for unit, card in self._found.get(keyword, ()):
            value = self._value(unit, card)
            if value is not None:
                return value
        raise KeyError(keyword)

    def __iter__(self) -> Iterator[str]:
        for keyword in self._found:
            try:
                self[keyword]
            except KeyError:
                continue
            except RampFormatError:
                pass  # it is there; who asks for it is told
            yield keyword

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _value(self, unit: Unit, card: Card) -> Value:
        try:
            return card.value
        except ValueError as error:
            raise RampFormatError(
                f"the header of HDU {unit.index} is damaged: {error}",
                where=self._where,
                hint="Correct or remove this card.",
            ) from error

    def _check_same(self, unit: Unit, first: Mapping[str, Card], again: Iterable[Card]) -> None:
        twice = []
        for card in again:
            one, other = self._value(unit, first[card.keyword]), self._value(unit, card)
            if one != other:
                twice.append(f"{card.keyword} {one!r} and {other!r}")
        if twice:
            raise RampFormatError(
                f"{unit.label} has keywords with two values: {', '.join(twice)}",
                where=self._where,
                hint="Remove the card that is wrong.",
            )


class FileReader:
    """A `Reader` of a plain file by its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`."""
        return os.pread(self.fd, size, offset)
