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
    dates = {useafter, *map(datetime.fromisoformat, _RULE_DATE.findall(text))}
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
            advice = "Look at the rules' keys for this exposure."
            if subarray == "N/A":
                advice = "These rules call what serves all subarrays GENERIC: write SUBARRAY = "
                advice += "GENERIC into the mask."
            raise DeliveryError(
                f"the new rules would select {after} for an exposure of {exposure['DETECTOR']} "
                f"with SUBARRAY {subarray} at {when.isoformat()}; expected "
                f"{' or '.join(sorted(allowed))} (the old rules select {before})",
                where=new[1],
                hint=f"Nothing was delivered. {advice}",
            )
    return tuple(_remarks(answers, header["DETECTOR"], name))


def _remarks(answers: _Answers, detector: str, name: str) -> Iterator[str]:
    """Yield which exposures do not get the new reference, or no longer get another one."""
    events: dict[tuple[datetime, str], list[str]] = {}
    for subarray, found in answers.items():
        in_force = found[0][1]
        for when, before, after in found:
            if after != name:
                other = after if after.endswith(".fits") else "no mask"
                events.setdefault((when, f"get {other}, not the new mask"), []).append(subarray)
                break
            if before != in_force:
                in_force = before
                events.setdefault((when, f"no longer get {before}"), []).append(subarray)
    for (when, what), subarrays in sorted(events.items()):
        which = " or ".join(sorted(subarrays))
        yield f"from {when.isoformat()} on, exposures of {detector} with SUBARRAY {which} {what}"


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
                exposure = {
                    "INSTRUME": instrument.name,
                    "DETECTOR": detector,
                    "SUBARRAY": name,
                    "DATE-OBS": when.date().isoformat(),
                    "TIME-OBS": when.time().isoformat(),
                }
                yield exposure, when
