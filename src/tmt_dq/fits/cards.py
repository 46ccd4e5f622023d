"""FITS headers as their cards: read without loss, changed card by card, written back.

A card that nobody changes is written as it was read, byte for byte. What the FITS standard 4.0
(section 4.2, and 4.2.1.2 for long strings) defines is read here. A card in any other form is
given to astropy, which knows the forms that were in use before and beside the standard; it is
imported then only, since that takes longer than to initialize a small ramp.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from tmt_dq.errors import RampFormatError

Value = str | bool | int | float | complex | None
"""Value of a card; None where it has a keyword without a value."""

_LENGTH = 80
_COMMENTARY = frozenset(["", "COMMENT", "HISTORY"])
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_TEXT = re.compile(r" *'((?:[ -&(-~]|'')*)' *(?:/([ -~]*))?")
_PLAIN = re.compile(r" *([^/' ][^/']*?)? *(?:/([ -~]*))?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[ED][+-]?[0-9]+)?")
_ROOM = 70
"""Characters of a card behind "KEYWORD = "."""
_COMMENTARY_ROOM = 72


class Card:
    """One card of 80 characters, or a string that goes on over several."""

    __slots__ = ("_parsed", "image", "keyword")

    def __init__(self, image: str) -> None:
        self.image = image
        self._parsed: tuple[Value, str] | None = None
        keyword = image[:8].rstrip().upper()
        if keyword == "HIERARCH" and "=" in image:
            keyword = image[8 : image.index("=")].strip().upper()
        elif "=" in keyword:
            keyword = self._of_astropy().keyword
        self.keyword = keyword

    @classmethod
    def of(cls, keyword: str, value: Value, comment: str = "") -> "Card":
        """Return the card of a value; a comment that does not fit beside it is left out."""
        keyword = keyword.upper()
        if _KEYWORD.fullmatch(keyword) is None or keyword in _COMMENTARY:
            raise ValueError(f"{keyword!r} is no keyword of FITS: expected up to 8 of A-Z 0-9 _ -")
        for text in (str(value), comment):
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"{keyword}: {text!r} cannot be written; expected printable ASCII")
        if isinstance(value, str):
            quoted = value.replace("'", "''")
            if len(quoted) + 2 > _ROOM:
                return cls(_long_text(keyword, quoted, comment))
            field = f"'{quoted:8}'".ljust(20)
        else:
            field = _number(value).rjust(20)
        card = f"{keyword:8}= {field}"
        if comment and len(card) + 3 + len(comment) <= _LENGTH:
            card = f"{card} / {comment}"
        return cls(card.ljust(_LENGTH))

    @property
    def value(self) -> Value:
        """Value of the card; ValueError where it has none that FITS knows."""
        return self._parse()[0]

    @property
    def comment(self) -> str:
        """Comment behind the value."""
        return self._parse()[1]

    @property
    def is_commentary(self) -> bool:
        """Whether this is HISTORY, COMMENT or a card without a keyword."""
        return self.keyword in _COMMENTARY

    def _parse(self) -> tuple[Value, str]:
        if self._parsed is None:
            self._parsed = self._read() or self._ask_astropy()
        return self._parsed

    def _read(self) -> tuple[Value, str] | None:
        """Return value and comment of a card of the standard's form, None of any other."""
        image = self.image
        if self.is_commentary:
            return image[8:].rstrip(), ""
        if image[8:10] != "= ":
            return None
        if len(image) > _LENGTH:
            return _read_long_text(image)
        field = image[10:]
        text = _TEXT.fullmatch(field)
        if text is not None:
            return text[1].replace("''", "'").rstrip(), (text[2] or "").strip()
        plain = _PLAIN.fullmatch(field)
        if plain is None:
            return None
        comment = (plain[2] or "").strip()
        if plain[1] is None:
            return None, comment
        value = _read_plain(plain[1])
        return None if value is None else (value, comment)

    def _of_astropy(self) -> Any:
        from astropy.io import fits

        return fits.Card.fromstring(self.image.encode("latin-1"))

    def _ask_astropy(self) -> tuple[Value, str]:
        from astropy.io.fits import Undefined, VerifyError

        card = self._of_astropy()
        try:
            return None if isinstance(card.value, Undefined) else card.value, card.comment
        except VerifyError as error:
            what = f"the card {self.image.rstrip()!r} has no value that FITS knows"
            raise RampFormatError(what) from error


class Header(Mapping[str, Value]):
    """The cards of a header, in their order, without END and the blank cards before it.

    Keywords are found whatever their case. Of a keyword that is there twice, the first card counts.
    """

    __slots__ = ("_cards", "_places")

    def __init__(self, cards: Iterable[Card] = ()) -> None:
        self._cards = list(cards)
        self._places: dict[str, int] | None = None

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the header that blocks of bytes hold, up to its END card."""
        text = data.decode("latin-1")
        cards: list[list[str]] = []  # joined at the end: one by one takes quadratic time
        for start in range(0, len(text), _LENGTH):
            image = text[start : start + _LENGTH]
            if image.rstrip() == "END":
                break
            if cards and image.startswith("CONTINUE") and _goes_on(cards[-1][-1]):
                cards[-1].append(image)
            else:
                cards.append([image])
        while cards and not cards[-1][0].strip():
            cards.pop()
        return cls(Card("".join(images)) for images in cards)

    @property
    def cards(self) -> tuple[Card, ...]:
        """All cards."""
        return tuple(self._cards)

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and keyword.upper() in self._index()

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())

    def __getitem__(self, keyword: str) -> Value:
        try:
            return self._cards[self._index()[keyword.upper()]].value
        except KeyError:
            raise KeyError(f"Keyword {keyword!r} not found.") from None

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return a keyword that is a whole number as FITS writes them: neither text nor 8.0."""
        value = self[keyword] if default is None else self.get(keyword, default)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError(f"{keyword} is {value!r}; expected a whole number")

    def commentary(self, keyword: str) -> list[str]:
        """Return the texts of all cards HISTORY or COMMENT."""
        return [str(card.value) for card in self._cards if card.keyword == keyword]

    def copy(self) -> "Header":
        """Return a header with the same cards."""
        return Header(self._cards)

    def set(
        self, keyword: str, value: Value, comment: str | None = None, *, before: str | None = None
    ) -> None:
        """Set a keyword's value, where it is or before the commentary at the end."""
        place = self._index().get(keyword.upper())
        if comment is None:
            comment = "" if place is None else self._cards[place].comment
        card = Card.of(keyword, value, comment)
        if place is not None and before is None:
            self._cards[place] = card
            return
        if place is not None:
            self.remove(keyword)
        self._cards.insert(self._end() if before is None else self._index()[before], card)
        self._places = None

    def __setitem__(self, keyword: str, value: Value | tuple[Value, str]) -> None:
        if isinstance(value, tuple):
            self.set(keyword, *value)
        else:
            self.set(keyword, value)

    def append(self, *cards: Card) -> None:
        """Add cards behind all others, as they are."""
        self._cards += cards
        self._places = None

    def remove(self, keyword: str) -> None:
        """Take away all cards of a keyword, if there are any."""
        self._cards = [card for card in self._cards if card.keyword != keyword.upper()]
        self._places = None

    def add_history(self, text: str) -> None:
        """Add a text as HISTORY, behind what is there, on as many cards as it needs."""
        last = [place for place, card in enumerate(self._cards) if card.keyword == "HISTORY"]
        place = last[-1] + 1 if last else len(self._cards)
        pieces = range(0, max(1, len(text)), _COMMENTARY_ROOM)
        self._cards[place:place] = [
            Card("HISTORY " + text[start : start + _COMMENTARY_ROOM].ljust(_COMMENTARY_ROOM))
            for start in pieces
        ]
        self._places = None

    def to_bytes(self, size: int | None = None) -> bytes:
        """Return the header in whole blocks of 2880 bytes, with its END card.

        With a larger `size`, blank cards, which FITS allows anywhere before END, fill it.
        """
        text = "".join(card.image for card in self._cards)
        whole = -(-(len(text) + _LENGTH) // 2880) * 2880
        if size is None or size == whole:
            return (text + "END").ljust(whole).encode("latin-1")
        if size < whole:
            raise AssertionError("a header cannot be made shorter")
        return (text.ljust(size - _LENGTH) + "END".ljust(_LENGTH)).encode("latin-1")

    def _end(self) -> int:
        """Return where the commentary at the end begins."""
        place = len(self._cards)
        while place and self._cards[place - 1].is_commentary:
            place -= 1
        return place

    def _index(self) -> dict[str, int]:
        if self._places is None:
            self._places = {}
            for place, card in enumerate(self._cards):
                self._places.setdefault(card.keyword, place)
        return self._places


def _goes_on(image: str) -> bool:
    """Whether the string of a card goes on with the next one."""
    return "&'" in image[-_LENGTH:]


def _number(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "T" if value else "F"
    text = repr(value).upper()
    if isinstance(value, int):
        return text
    if not _REAL.fullmatch(text):
        raise ValueError(f"{value!r} cannot be written: FITS has no such number")
    return text if "." in text else text.replace("E", ".0E")


def _read_plain(text: str) -> Value:
    """Return the value of a field that is not text, None for astropy to read it."""
    if text in ("T", "F"):
        return text == "T"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text.replace("D", "E")) if _REAL.fullmatch(text) else None


def _read_long_text(image: str) -> tuple[str, str] | None:
    """Return the string and the comment of a card with CONTINUE cards."""
    pieces, comments = [], []
    for start in range(0, len(image), _LENGTH):
        found = _TEXT.fullmatch(image[start + 10 : start + _LENGTH])
        if found is None:
            return None
        pieces.append(found[1].rstrip().replace("''", "'"))
        comments.append((found[2] or "").strip())
    *first, last = pieces
    if not all(piece.endswith("&") for piece in first):
        return None
    return "".join([*(piece[:-1] for piece in first), last]), " ".join(filter(None, comments))


def _long_text(keyword: str, quoted: str, comment: str) -> str:
    """Return the cards of a string that does not fit on one."""
    cards = []
    start = f"{keyword:8}= "
    while len(quoted) + 2 > _ROOM:
        length = _ROOM - 3
        # A quote is written as two: they stay together.
        length -= (length - len(quoted[:length].rstrip("'"))) % 2
        cards.append(f"{start}'{quoted[:length]}&'".ljust(_LENGTH))
        quoted = quoted[length:]
        start = "CONTINUE  "
    last = f"{start}'{quoted}'"
    if comment and len(last) + 3 + len(comment) <= _LENGTH:
        last = f"{last} / {comment}"
    return "".join([*cards, last.ljust(_LENGTH)])


def ascii_text(text: str) -> str:
    """Return text as FITS can hold it; other characters are written as escapes, not lost."""
    escaped = text.encode("ascii", "backslashreplace").decode()
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in escaped)
