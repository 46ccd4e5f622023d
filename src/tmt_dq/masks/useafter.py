"""USEAFTER: the UTC time of the first exposure that a mask is for."""

import datetime as dt
import re

from tmt_dq.errors import ConfigError

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2})?")


def useafter_text(value: str | dt.date, where: object = "useafter") -> str:
    """Return a UTC date, or date and time, as USEAFTER; zones and fractions are errors."""
    if isinstance(value, dt.datetime) and value.utcoffset() == dt.timedelta(0):
        value = value.replace(tzinfo=None)
    given = str(value).strip()
    problem = "is not a date"
    try:
        moment = dt.datetime.fromisoformat(given)
        if _FORM.fullmatch(given):
            return moment.isoformat(timespec="seconds")
        problem = "has fractions of a second" if moment.microsecond else "is not in this form"
        problem = "has a time zone" if moment.tzinfo else problem
    except ValueError:
        pass
    raise ConfigError(
        f"{given!r} {problem}; expected a UTC date, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss", where=where
    )
