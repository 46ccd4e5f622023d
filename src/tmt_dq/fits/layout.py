"""Where the headers and data units of a FITS file lie, found by reading headers only."""

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tmt_dq.errors import RampFormatError
from tmt_dq.files.copying import read_errors
from tmt_dq.fits.cards import Card, Header, Value

BLOCK = 2880
"""FITS files are made of blocks of this many bytes."""
STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""Types of FITS' data by BITPIX, as NumPy calls them."""

_CARD = 80
_STRUCTURAL = ("XTENSION", "EXTNAME", "ZIMAGE", "GROUPS")
"""Keywords that say what a unit is, whatever it is."""
_ONCE = re.compile(r"Z?(BITPIX|NAXIS\d*)|[PG]COUNT|XTENSION|EXTNAME|ZIMAGE|BZERO|BSCALE|BLANK")
"""Keywords from which the size and meaning of the data follow."""
_MOST_AXES = 999
_LARGEST_FILE = 2**62
_LONGEST_HEADER = 32 * 1024 * 1024
"""A larger header is taken for a damaged file: its 400,000 cards take 300 MB of memory."""
_FETCH = "Fetch the file again."

ReadAt = Callable[[int, int], bytes]
"""Returns up to some bytes from an offset; fewer at the end of the file."""


def padded(size: int) -> int:
    """Return `size` rounded up to whole FITS blocks."""
    return -(-size // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True)
class Unit:
    """One header and data unit: its number, 0 for the primary one, and where it lies in the file.

    `data_size` is without the padding.
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
    def end(self) -> int:
        """First byte after the padded data."""
        return self.data_offset + padded(self.data_size)

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
        return tuple(reversed(image_size(self.header)[1]))

    @property
    def label(self) -> str:
        """How messages call the unit."""
        return self.name or ("primary HDU" if self.index == 0 else f"HDU {self.index}")


def scan_file(fd: int, where: object, size: int) -> Iterator[Unit]:
    """Yield the units of an open FITS file of `size` bytes one by one, reading headers only."""
    return scan(lambda at, length: os.pread(fd, length, at), where, size=size)


def scan(read_at: ReadAt, where: object, *, size: int | None = None) -> Iterator[Unit]:
    """Yield the units of FITS bytes one by one, reading headers only."""
    offset = index = 0
    while size is None or offset < size:
        with read_errors(where):
            start = read_at(offset, BLOCK)
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
        text = _header_text(read_at, offset, start, where, index)
        unit = _unit(index, text, offset, where)
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
    what = f"is not a FITS file: {found}; expected 'SIMPLE  ='"
    return RampFormatError(what, where=where, hint=hint)


def _truncated(what: str, where: object, needs: int) -> RampFormatError:
    hint = "Fetch the file again, or wait until it is written completely."
    error = RampFormatError(what, where=where, hint=hint)
    error.needs = needs
    return error


def _header_text(read_at: ReadAt, offset: int, start: bytes, where: object, index: int) -> bytes:
    """Read blocks until the one with the END card."""
    blocks = [start]
    while True:
        block, size = blocks[-1], len(blocks) * BLOCK
        if len(block) < BLOCK:
            what = f"is truncated inside the header of HDU {index}"
            raise _truncated(what, where, offset + size)
        for card in range(0, BLOCK, _CARD):
            if block[card : card + _CARD].rstrip() == b"END":
                return b"".join(blocks)
        if size >= _LONGEST_HEADER:
            limit = f"{_LONGEST_HEADER >> 20} MB"
            what = f"the header of HDU {index} has no END card in its first {limit}"
            raise RampFormatError(what, where=where, hint=_FETCH)
        with read_errors(where):
            blocks.append(read_at(offset + size, BLOCK))


def _unit(index: int, text: bytes, offset: int, where: object) -> Unit:
    """Parse one header and work out the size of its data."""
    try:
        header = Header.from_bytes(text)
        for keyword in _STRUCTURAL:
            header.get(keyword)  # an error here, where the file is known
        _check_once(header)
        bitpix, axes = image_size(header)
        groups, extra = header.integer("GCOUNT", 1), header.integer("PCOUNT", 0)
    except (KeyError, ValueError) as error:
        what = f"the header of HDU {index} is damaged: {error}"
        raise RampFormatError(what, where=where, hint=_FETCH) from error
    sample = int(STORED.get(bitpix, "0")[-1])
    size = sample * groups * (extra + (math.prod(axes) if axes else 0))
    random_groups = header.get("GROUPS") is True
    valid = sample and min([0, *axes]) == 0 <= extra and groups > 0
    if not valid or offset + size >= _LARGEST_FILE or (index == 0 and random_groups):
        raise RampFormatError(
            f"HDU {index} has BITPIX {bitpix} and axes {axes}, PCOUNT {extra}, GCOUNT {groups}"
            f"{' in random groups' if random_groups else ''}, which is not an image or table of "
            "this standard",
            where=where,
            hint=_FETCH,
        )
    return Unit(index, header, offset, offset + len(text), size)


def image_size(header: Header, prefix: str = "") -> tuple[int, list[int]]:
    """Return BITPIX and the lengths of the axes, of a tiled image those with the prefix Z.

    KeyError or ValueError where they are missing, or no whole numbers.
    """
    naxis = header.integer(f"{prefix}NAXIS")
    if not 0 <= naxis <= _MOST_AXES:
        raise ValueError(f"{prefix}NAXIS is {naxis}; expected 0 to {_MOST_AXES}")
    axes = [header.integer(f"{prefix}NAXIS{axis}") for axis in range(1, naxis + 1)]
    return header.integer(f"{prefix}BITPIX"), axes


def _check_once(header: Header) -> None:
    """Raise ValueError where a keyword that tells what the data are has two values."""
    first: dict[str, Card] = {}
    for card in header.cards:
        if _ONCE.fullmatch(card.keyword):
            other = first.setdefault(card.keyword, card)
            if other is not card and other.value != card.value:
                raise ValueError(f"{card.keyword} is {other.value!r} and {card.value!r}")


class Keywords(Mapping[str, object]):
    """The keywords of headers, those without a value left out.

    Cards are read when they are asked for: what is wrong with one that nobody needs, a NaN of a
    sensor that was off, keeps nobody from the data. A keyword that is asked for decides something,
    and to guess which of two values is meant is wrong: two values in one header, or in two of them,
    are a RampFormatError, as is a card that cannot be read. HISTORY and COMMENT have many.
    """

    def __init__(self, where: object, *units: Unit) -> None:
        self._where = where
        self._cards: dict[str, list[tuple[Unit, Card]]] = {}
        for unit in units:
            for card in unit.header.cards:
                # Of commentary, the first line tells that there is some.
                if not (card.is_commentary and card.keyword in self._cards):
                    self._cards.setdefault(card.keyword, []).append((unit, card))

    def __getitem__(self, keyword: str) -> object:
        cards = self._cards.get(keyword, ())
        values = [(unit.label, self._value(unit, card)) for unit, card in cards]
        return agreed(keyword, values, self._where)

    def __iter__(self) -> Iterator[str]:
        for keyword in self._cards:
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
            what = f"the header of HDU {unit.index} is damaged: {error}"
            hint = "Correct or remove this card."
            raise RampFormatError(what, where=self._where, hint=hint) from error


def agreed(keyword: str, values: Iterable[tuple[str, object]], where: object) -> object:
    """Return the value of a keyword in several headers; KeyError where none has one.

    `values` are those of each header, after its name; RampFormatError if they contradict.
    """
    given = [(label, value) for label, value in values if value is not None]
    if not given:
        raise KeyError(keyword)
    (first, value), *others = given
    for label, other in others:
        if _comparable(other) != _comparable(value):
            raise RampFormatError(
                f"{keyword} has two values: {value!r} in {first}, {other!r} in {label}",
                where=where,
                hint="Remove the card that is wrong.",
            )
    return value


def _comparable(value: object) -> object:
    """Return a value as it is compared: FITS' texts end where their blanks begin."""
    return value.strip().upper() if isinstance(value, str) else value
