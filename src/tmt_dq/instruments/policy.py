"""Policy of an instrument: which flags also set DO_NOT_USE."""

from collections.abc import Iterable

from tmt_dq.core.flags import PIXEL
from tmt_dq.instruments.description import Instrument


def policy_flags(
    do_not_use: str | Iterable[str], instrument: Instrument | None = None
) -> tuple[str, ...]:
    """Return the flags whose pixels get DO_NOT_USE, by name.

    "instrument" stands for those of its description (none without one), "keep" for none; all else
    names them. UnknownFlagError where a name is not in the convention.
    """
    word = do_not_use.strip().lower() if isinstance(do_not_use, str) else ""
    if word == "instrument":
        return () if instrument is None else instrument.do_not_use
    return () if word == "keep" else PIXEL.decode(PIXEL.encode(do_not_use))
