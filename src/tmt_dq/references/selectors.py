"""The properties of an exposure that select its references, from its FITS keywords."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from tmt_dq import instruments
from tmt_dq.errors import RampFormatError, SelectionError
from tmt_dq.instruments import Instrument
from tmt_dq.instruments.description import WILDCARDS
from tmt_dq.references import observatories

UNDEFINED = "UNDEFINED"
"""How crds calls a property that an exposure does not have; only N/A rule keys match it."""

_DETECTOR = "META.INSTRUMENT.DETECTOR"
_DATE, _TIME = "META.OBSERVATION.DATE", "META.OBSERVATION.TIME"
_CLOCK = r"\d\d:\d\d:\d\d(?:\.\d*)?"
_FORM = re.compile(rf"(\d{{4}}-\d\d-\d\d)(?:[T ]({_CLOCK}))?")
_LEAP_SECOND = "23:59:60"


def parameters(
    header: Mapping[str, object], instrument: Instrument, where: object
) -> dict[str, str]:
    """Return what selects an exposure's references, by parkey.

    These are the canonical detector, date and time as crds wants them, and the other values as they
    are; a value that rules would take for "anything" is `UNDEFINED`. `where` is the file, for error
    messages.
    """
    found = {}
    keywords = {**observatories.load(instrument.observatory).keywords, **instrument.keywords}
    for parkey, keyword in keywords.items():
        if " " in keyword:
            # Rules with a single key for date and time compare it as "YYYY-MM-DD hh:mm:ss".
            date_keyword, time_keyword = keyword.split()
            found[parkey] = " ".join(_date_and_time(header, date_keyword, time_keyword, where))
        else:
            value = _text(header, keyword)
            found[parkey] = UNDEFINED if value is None or value.upper() in WILDCARDS else value
    name = _required(header, keywords.get(_DETECTOR, "DETECTOR"), "the detector", where)
    try:
        found[_DETECTOR] = instrument.detector(name).name
    except SelectionError as error:
        raise SelectionError(error.what, where=where, hint=error.hint) from None
    found["META.INSTRUMENT.NAME"] = instrument.name
    date, time = keywords.get(_DATE, "DATE-OBS"), keywords.get(_TIME, "TIME-OBS")
    found[_DATE], found[_TIME] = _date_and_time(header, date, time, where)
    return found


def instrument_of(header: Mapping[str, object], where: object) -> Instrument:
    """Return the instrument that INSTRUME names."""
    return instruments.load(_required(header, "INSTRUME", "the instrument", where))


def _text(header: Mapping[str, object], keyword: str) -> str | None:
    """Return a keyword's value as text, or None if there is none."""
    value = header.get(keyword)
    # astropy has a class of its own for a card without a value.
    return None if value is None or type(value).__name__ == "Undefined" else str(value).strip()


def _required(header: Mapping[str, object], keyword: str, meaning: str, where: object) -> str:
    value = _text(header, keyword)
    if value is None:
        raise RampFormatError(
            f"the keyword {keyword} is missing; rules select references by {meaning}",
            where=where,
            hint=f"Add {keyword} to the file's primary header.",
        )
    return value


def _date_and_time(
    header: Mapping[str, object], date_keyword: str, time_keyword: str, where: object
) -> tuple[str, str]:
    """Return date and time; a DATE-OBS may hold both, and a TIME-OBS must not contradict it."""

    def refuse(keyword: str, value: str | None, form: str) -> NoReturn:
        found = "is missing" if value is None else f"is {value!r}"
        raise RampFormatError(
            f"the keyword {keyword} {found}; expected {form}: rules select references by date and "
            "time",
            where=where,
            hint=f"Correct {keyword} in the file's primary header.",
        )

    given, separate = _text(header, date_keyword), _text(header, time_keyword)
    date_form = "'YYYY-MM-DD' or 'YYYY-MM-DDThh:mm:ss[.sss]'"
    match = _FORM.fullmatch(given or "")
    if match is None:
        refuse(date_keyword, given, date_form)
    date, time = match.groups()
    if separate == "" and time is not None:
        separate = None
    if separate is not None and not re.fullmatch(_CLOCK, separate):
        refuse(time_keyword, separate, "'hh:mm:ss[.sss]'")
    if time is not None and separate is not None and separate[:8] != time[:8]:
        refuse(time_keyword, separate, f"the time in {date_keyword}, {given}")
    time = time or separate
    if time is None:
        refuse(time_keyword, None, f"'hh:mm:ss[.sss]', or the time within {date_keyword}")
    if time.startswith(_LEAP_SECOND):
        # Neither Python nor crds know leap seconds (FITS 4.0, 9.1.1), and no rule begins in one.
        time = "23:59:59.999999"
    # Python and crds know microseconds; more digits cannot matter to rules.
    time = time[:15].rstrip(".")
    try:
        datetime.fromisoformat(f"{date} {time[:8]}")
    except ValueError:
        refuse(date_keyword, f"{date} {time}", f"a date and time that exist, as {date_form}")
    return date, time
