"""Flag and base of a list: what a file states, or else what the user gives of it."""

from pathlib import Path

import numpy as np

from tmt_dq.errors import ConfigError
from tmt_dq.masks.reading import Reading

__all__ = ["base_of", "flag_of", "refuse"]


def flag_of(reading: Reading, path: Path, what: str, own: int = 0) -> np.uint32:
    """Return the flags of `what` in a file: its `own`, 0 if it has none, or the user's."""
    given = reading.flag_value
    if own and given and own != given:
        finding = f"{what} has flags of its own, but flag is {reading.flag}"
    elif own or given:
        return np.uint32(own or given)
    else:
        finding = f"{what} does not state which flag its pixels get"
    raise ConfigError(
        finding,
        where=path,
        hint="Give a flag, for example HOT, where the file has none.",
        options=("flag",),
    )


def base_of(reading: Reading, path: Path, stated: int | None) -> int:
    """Return the number of the first pixel, as a file states it or the user gives it."""
    given = reading.base if stated is None else stated
    if given is not None and reading.base in (None, given):
        return given
    finding = "does not state whether its first pixel is 0 or 1"
    if stated is not None:
        finding = f"counts from {stated}, but base is {reading.base}"
    raise ConfigError(
        finding,
        where=path,
        hint="Give the base, or add a line '# base: 0' or '# base: 1' to the file; not both.",
        options=("base",),
    )


def refuse(reading: Reading, path: Path, why: str, *names: str) -> None:
    """Refuse options that mean nothing for a file: the user expects something of them."""
    given = [name for name in names if getattr(reading, name) is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)} cannot be used: {why}",
            where=path,
            hint="Leave it out.",
            options=given,
        )
