"""HISTORY cards of DQ initialization: found among others, and put together again."""

import re
from collections.abc import Iterable

from tmt_dq.fits.cards import Header

__all__ = ["NO_FLAGS_BEFORE", "history_entries", "recorded_context"]

NO_FLAGS_BEFORE = "the exposure had no flags before"
"""Recorded where neither PIXELDQ nor GROUPDQ had a flag: all there are now are the sources'."""

_CARD = 72
"""Characters of a HISTORY card."""

_ENTRY = re.compile(r"tmt-dq \S+ dq_init: (.*)", re.DOTALL)
_OUTCOME = re.compile(
    r"(?P<status>COMPLETE|SKIPPED), mask (?P<mask>.+?)(?: \(context (?P<context>\S+)\))?", re.DOTALL
)


def history_entries(cards: Iterable[str]) -> list[str]:
    """Return what HISTORY says of DQ initialization, an entry each, without the version."""
    entries: list[str] = []
    full = False
    for card in cards:
        if card.startswith("tmt-dq "):
            entries.append(card)
        elif entries and full:
            # A space at the end of a card is lost in FITS.
            text = entries[-1]
            entries[-1] = text.ljust(-(-len(text) // _CARD) * _CARD) + card
        else:
            full = False
            continue
        full = len(card) >= _CARD - 1
    return [match[1] for text in entries if (match := _ENTRY.fullmatch(text.rstrip()))]


def recorded_context(header: Header) -> str | None:
    """Return the context whose rules chose the mask of an initialized exposure, None if none did.

    CRDS_CTX alone does not tell: the exposure can have it from before, and its mask by hand.
    """
    entries = history_entries(header.commentary("HISTORY"))
    outcomes = [match for entry in entries if (match := _OUTCOME.fullmatch(entry))]
    if outcomes:
        return outcomes[-1]["context"]
    found = header.get("CRDS_CTX")
    return None if found is None else str(found)
