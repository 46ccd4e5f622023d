"""Answers of new rules, compared with those of the old rules before anyone sees the new ones."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from tmt_dq.errors import DeliveryError
from tmt_dq.instruments import Instrument
from tmt_dq.references.cache import Cache
from tmt_dq.references.selection import applicable_name

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

    Both rules are asked about all detectors, several subarrays, and a second around each date of
    the rules. Returned is which exposures do not get the new reference on its USEAFTER.
    """
    useafter, detector = datetime.fromisoformat(header["USEAFTER"]), header["DETECTOR"]
    text = "".join(path.read_text("utf-8") for path in new[0].mappings.glob("*.rmap"))
    dates = {useafter, *map(datetime.fromisoformat, _RULE_DATE.findall(text))}
    kept: dict[str, list[str]] = {}
    for exposure, when in _exposures(instrument, header["SUBARRAY"], dates):
        before, after = (
            applicable_name(exposure, instrument=instrument, cache=cache, context=context)
            for cache, context in (old, new)
        )
        subarray = exposure["SUBARRAY"]
        allowed = {before}
        if exposure["DETECTOR"] == detector and when >= useafter:
            is_own = subarray == header["SUBARRAY"] and when - useafter <= _SECOND
            # A rule that starts within that second may answer with its own mask.
            must_be_new = is_own and (when == useafter or when not in dates)
            allowed = {name} if must_be_new else {name, before}
            if when == useafter and after != name:
                kept.setdefault(after, []).append(subarray)
        if after not in allowed:
            raise DeliveryError(
                f"the new rules would select {after} for an exposure of {exposure['DETECTOR']} "
                f"with SUBARRAY {subarray} at {when.isoformat()}; expected "
                f"{' or '.join(sorted(allowed))} (the old rules select {before})",
                where=new[1],
                hint="Nothing was delivered. Look at the rules' keys for this exposure; rules that "
                "call what serves all subarrays GENERIC need SUBARRAY = GENERIC in the mask.",
            )
    return tuple(
        f"exposures of {detector} with SUBARRAY {' or '.join(subarrays)} get "
        f"{other if other.endswith('.fits') else 'no mask'}, not the new mask"
        for other, subarrays in kept.items()
    )


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
