"""USEAFTER: the UTC time of the first exposure that a mask is for."""

import datetime as dt
import re

from tmt_dq.errors import ConfigError

__all__ = ["useafter_text"]

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2})?")
_EXPECTED = "expected a UTC date, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss"


def useafter_text(value: str | dt.date, where: object = "useafter") -> str:
    """Return a date, or date and time, as the keyword holds it: ``2026-05-01T00:00:00``.

    Time zones and fractions of a second are refused, never dropped: rules know neither.
    """
    given = str(value).strip()
    try:
        moment = dt.datetime.fromisoformat(given)
    except ValueError:
        raise ConfigError(f"{given!r} is not a date; {_EXPECTED}", where=where) from None
    is_utc = isinstance(value, dt.datetime) and moment.utcoffset() == dt.timedelta(0)
    if _FORM.fullmatch(given) or (is_utc and not moment.microsecond):
        return moment.replace(tzinfo=None).isoformat(timespec="seconds")
    if moment.utcoffset() is not None:
        problem = "has a time zone"
    elif moment.microsecond:
        problem = "has fractions of a second"
    else:
        problem = "is not in this form"
    raise ConfigError(f"{given!r} {problem}; {_EXPECTED}", where=where, hint=_instead(moment))


def _instead(moment: dt.datetime) -> str | None:
    """Return what to write instead of a moment that was refused."""
    try:
        if moment.utcoffset() is not None:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        whole = moment.replace(microsecond=0)
        choices = [whole, whole + dt.timedelta(seconds=1)] if moment.microsecond else [whole]
    except OverflowError:
        return None
    return f"Write {' or '.join(choice.isoformat() for choice in choices)}."
