"""Answers of new rules, compared with those of the old rules before anyone sees the new ones."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from tmt_dq.errors import DeliveryError
from tmt_dq.instruments import Instrument
from tmt_dq.references.cache import Cache
from tmt_dq.references.selection import applicable_name

__all__ = ["check_answers"]

_RULE_DATE = re.compile(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)'")
_SUBARRAYS = ("FULL", "CUSTOM", "GENERIC")
_SECOND = timedelta(seconds=1)

_Answers = dict[str, list[tuple[datetime, str, str]]]
"""Time, old and new answer for exposures of one detector by subarray, from USEAFTER on."""


def check_answers(
    old: tuple[Cache, str],
    new: tuple[Cache, str],
    instrument: Instrument,
    header: Mapping[str, str],
    name: str,
) -> tuple[str, ...]:
    """Make sure that new rules select a new reference where they should, and nowhere else.

    Both rules are asked about exposures of every detector, with several subarrays, from one second
    before to one second after each date of the rules. The same mask as before is demanded of all
    exposures of other detectors and of all before USEAFTER; the new one of exposures with the
    reference's own keywords from USEAFTER on; one of the two of all others. Returned is what may be
    unexpected, though it follows from the rules.
    """
    useafter = datetime.fromisoformat(header["USEAFTER"])
    text = "".join(path.read_text("utf-8") for path in new[0].mappings.glob("*.rmap"))
    dates = {datetime.fromisoformat(date) for date in _RULE_DATE.findall(text)}
    answers: _Answers = {}
    for exposure, when in _exposures(instrument, header["SUBARRAY"], dates):
        before, after = (
            applicable_name(exposure, instrument=instrument, cache=cache, context=context)
            for cache, context in (old, new)
        )
        subarray = exposure["SUBARRAY"]
        if exposure["DETECTOR"] != header["DETECTOR"] or when < useafter:
            allowed = {before}
        else:
            answers.setdefault(subarray, []).append((when, before, after))
            is_own = subarray == header["SUBARRAY"] and when - useafter <= _SECOND
            # A rule that starts within that second may answer with its own mask.
            must_be_new = is_own and (when == useafter or when not in dates)
            allowed = {name} if must_be_new else {name, before}
        if after not in allowed:
            raise DeliveryError(
                f"the new rules would select {after} for an exposure of {exposure['DETECTOR']} "
                f"with SUBARRAY {subarray} at {when.isoformat()}; expected "
                f"{' or '.join(sorted(allowed))} (the old rules select {before})",
                where=new[1],
                hint="Nothing was delivered. Look at the rules' keys for this exposure.",
            )
    return (*_kept(answers, header, name), *_later(answers, header, name))


def _kept(answers: _Answers, header: Mapping[str, str], name: str) -> Iterator[str]:
    """Yield which exposures do not get the new reference, and why."""
    kept: dict[str, list[str]] = {}
    for subarray, ((_, _, after), *_) in answers.items():
        if after != name:
            kept.setdefault(after, []).append(subarray)
    for other, subarrays in sorted(kept.items()):
        which = _describe(header, subarrays)
        if other.endswith(".fits"):
            yield (
                f"{which} keep {other} after {header['USEAFTER']}: a rule for their own subarray "
                f"comes before one for {header['SUBARRAY']}"
            )
        else:
            yield (
                f"{which} have no mask after {header['USEAFTER']}: the new one is for SUBARRAY "
                f"{header['SUBARRAY']} only"
            )


def _later(answers: _Answers, header: Mapping[str, str], name: str) -> Iterator[str]:
    """Yield from when on the reference gives way to another one, or another one to it."""
    events: dict[tuple[datetime, bool, str], list[str]] = {}
    for subarray, ((_, old, new), *rest) in answers.items():
        seen: set[tuple[bool, str]] = set()
        for when, before, after in rest if new == name else ():
            takes_over = after != name
            event = (takes_over, after if takes_over else before)
            if event not in {(False, old), *seen}:
                seen.add(event)
                events.setdefault((when, *event), []).append(subarray)
    for (when, takes_over, other), subarrays in sorted(events.items()):
        which = _describe(header, subarrays)
        if takes_over:
            yield (
                f"from {when.isoformat()} on, {other} takes over for {which}: the new mask is "
                "theirs only until then"
            )
        else:
            yield (
                f"from {when.isoformat()} on, {which} do not get the newer {other} any more: the "
                "rule of the new mask comes before its rule"
            )


def _describe(header: Mapping[str, str], subarrays: Iterable[str]) -> str:
    return f"exposures of {header['DETECTOR']} with SUBARRAY {' or '.join(sorted(subarrays))}"


def _exposures(
    instrument: Instrument, subarray: str, dates: Iterable[datetime]
) -> Iterator[tuple[dict[str, str], datetime]]:
    """Yield the keywords of exposures, and when they were taken."""
    whens = set()
    for date in dates:
        for shift in (-_SECOND, timedelta(0), _SECOND):
            with contextlib.suppress(OverflowError):  # at the ends of the calendar
                whens.add(date + shift)
    for detector in instrument.detectors:
        for name in dict.fromkeys((subarray, *_SUBARRAYS)):
            for when in sorted(whens):
                yield (
                    {
                        "INSTRUME": instrument.name,
                        "DETECTOR": detector,
                        "SUBARRAY": name,
                        "DATE-OBS": when.date().isoformat(),
                        "TIME-OBS": when.time().isoformat(),
                    },
                    when,
                )
