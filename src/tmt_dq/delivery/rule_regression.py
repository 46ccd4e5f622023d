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
    reference's own keywords from USEAFTER on; one of the two of all others.
    """
    detector, subarray = header["DETECTOR"], header["SUBARRAY"]
    useafter = datetime.fromisoformat(header["USEAFTER"])
    text = "".join(path.read_text("utf-8") for path in new[0].mappings.glob("*.rmap"))
    dates = {datetime.fromisoformat(date) for date in _RULE_DATE.findall(text)}
    kept: dict[str, set[str]] = {}
    later = _Later(name)
    for exposure, when in _exposures(instrument, subarray, dates):
        before, after = (
            applicable_name(exposure, instrument=instrument, cache=cache, context=context)
            for cache, context in (old, new)
        )
        if exposure["DETECTOR"] != detector or when < useafter:
            allowed = {before}
        elif exposure["SUBARRAY"] == subarray and when - useafter <= _SECOND:
            # A rule that starts within that second may answer with its own mask.
            allowed = {name} if when == useafter or when not in dates else {name, before}
        else:
            allowed = {name, before}
        if after not in allowed:
            raise DeliveryError(
                f"the new rules would select {after} for {_describe(exposure)}; expected "
                f"{' or '.join(sorted(allowed))} (the old rules select {before})",
                where=new[1],
                hint="Nothing was delivered. Look at the rules' keys for this exposure.",
            )
        if exposure["DETECTOR"] == detector and when == useafter and after != name:
            kept.setdefault(after, set()).add(exposure["SUBARRAY"])
        if exposure["DETECTOR"] == detector and when >= useafter:
            later.look(exposure, before, after)
    warnings = [
        _warning(other, sorted(subarrays), header) for other, subarrays in sorted(kept.items())
    ]
    return (*warnings, *later.warnings(detector))


class _Later:
    """Answers at the rules' later dates: who takes over from a new reference, and whom it hides."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start: dict[str, tuple[str, str]] = {}
        self._found: dict[tuple[str, str, str], set[str]] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def look(self, exposure: Mapping[str, str], before: str, after: str) -> None:
        """Note the answers of old and new rules; dates come in their order, USEAFTER first."""
        subarray = exposure["SUBARRAY"]
        old, new = self._start.setdefault(subarray, (before, after))
        if new != self._name:
            return  # this subarray never got the reference; another warning names it
        if after != self._name:
            event, other = "takes over", after
        elif before != old:
            event, other = "is hidden", before
        else:
            return
        if (event, other, subarray) not in self._seen:
            self._seen.add((event, other, subarray))
            date = f"{exposure['DATE-OBS']}T{exposure['TIME-OBS']}"
            self._found.setdefault((date, event, other), set()).add(subarray)

    def warnings(self, detector: str) -> list[str]:
        """Return from when on the reference gives way to another one, or another one to it."""
        return [
            (
                f"from {date} on, {other} takes over for exposures of {detector} with SUBARRAY "
                f"{' or '.join(sorted(subarrays))}: the new mask is theirs only until then"
                if event == "takes over"
                else f"from {date} on, exposures of {detector} with SUBARRAY "
                f"{' or '.join(sorted(subarrays))} do not get the newer {other} any more: the "
                "rule of the new mask comes before its rule"
            )
            for (date, event, other), subarrays in sorted(self._found.items())
        ]


def _warning(other: str, subarrays: Iterable[str], header: Mapping[str, str]) -> str:
    """Return which exposures do not get the new reference, and why."""
    which = f"exposures of {header['DETECTOR']} with SUBARRAY {' or '.join(subarrays)}"
    if other.endswith(".fits"):
        return (
            f"{which} keep {other} after {header['USEAFTER']}: a rule for their own subarray comes "
            f"before one for {header['SUBARRAY']}"
        )
    return (
        f"{which} have no mask after {header['USEAFTER']}: the new one is for SUBARRAY "
        f"{header['SUBARRAY']} only"
    )


def _exposures(
    instrument: Instrument, subarray: str, dates: Iterable[datetime]
) -> Iterator[tuple[dict[str, str], datetime]]:
    """Yield the keywords of exposures, and when they were taken."""
    whens = sorted({when for date in dates for when in _around(date)})
    for detector in instrument.detectors:
        for name in dict.fromkeys((subarray, *_SUBARRAYS)):
            for when in whens:
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


def _around(date: datetime) -> Iterator[datetime]:
    """Yield a date, and the seconds before and after it if the calendar has them."""
    yield date
    for shift in (-_SECOND, _SECOND):
        with contextlib.suppress(OverflowError):
            yield date + shift


def _describe(exposure: Mapping[str, str]) -> str:
    return (
        f"an exposure of {exposure['DETECTOR']} with SUBARRAY {exposure['SUBARRAY']} at "
        f"{exposure['DATE-OBS']}T{exposure['TIME-OBS']}"
    )
