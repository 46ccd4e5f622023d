"""Flag, base and meanings of bits: what a file states, or else what the user gives of it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import translate
from tmt_dq.errors import ConfigError, UnknownFlagError
from tmt_dq.masks.reading import Reading

__all__ = ["base_of", "flag_of", "refuse", "translated"]


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


def translated(
    reading: Reading, numbers: npt.NDArray[np.uint32], path: Path
) -> npt.NDArray[np.uint32]:
    """Return numbers of a file, of any shape, as flags by the meanings that the user gives."""
    meanings = reading.meanings
    assert meanings is not None
    undeclared = meanings.undeclared(numbers)
    if undeclared:
        listing = ", ".join(f"{1 << bit} ({n:,} times)" for bit, n in undeclared.items())
        raise UnknownFlagError(
            f"has bits without a meaning: {listing}",
            where=path,
            hint="Give the meaning of each bit, for example 16 for HOT.",
            options=("values",),
        )
    return translate(numbers, meanings)[0]


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
