"""HISTORY cards of DQ initialization: found among others, and put together again."""

import re
from collections.abc import Iterable

__all__ = ["NO_FLAGS_BEFORE", "REPLACED", "dq_init_cards", "history_entries"]

NO_FLAGS_BEFORE = "the exposure had no flags before"
"""Recorded where neither PIXELDQ nor GROUPDQ had a flag: all there are now are the sources'."""

REPLACED = "in place of "
"""Begins the entry that names an outcome whose flags were taken back."""

_CARD = 72
"""Characters of a HISTORY card."""

_ENTRY = re.compile(r"tmt-dq \S+ dq_init: (.*)", re.DOTALL)


def dq_init_cards(cards: Iterable[str]) -> list[tuple[str, list[int]]]:
    """Return what HISTORY says of DQ initialization, and in which cards.

    Parameters
    ----------
    cards : iterable of str
        HISTORY cards; an entry longer than one goes on in the next.

    Returns
    -------
    list of (str, list of int)
        Each entry, without the version, and the numbers of its cards.
    """
    entries: list[tuple[str, list[int]]] = []
    full = False
    for number, card in enumerate(cards):
        if card.startswith("tmt-dq "):
            entries.append((card, [number]))
        elif entries and full:
            # A space at the end of a card is lost in FITS.
            text, numbers = entries[-1]
            whole = text.ljust(-(-len(text) // _CARD) * _CARD) + card
            entries[-1] = (whole, [*numbers, number])
        else:
            full = False
            continue
        full = len(card) >= _CARD - 1
    found = ((_ENTRY.fullmatch(text.rstrip()), numbers) for text, numbers in entries)
    return [(match[1], numbers) for match, numbers in found if match]


def history_entries(cards: Iterable[str]) -> list[str]:
    """Return what HISTORY says of DQ initialization, an entry each, without the version.

    Parameters
    ----------
    cards : iterable of str
        HISTORY cards.

    Returns
    -------
    list of str
        The entries.
    """
    return [entry for entry, _ in dq_init_cards(cards)]
