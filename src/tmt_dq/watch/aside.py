"""What was set aside, and how that is written down for people."""

import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.errors import TmtDqError
from tmt_dq.watch.completeness import Identity, identity_of

__all__ = ["LIST_NAME", "Aside", "clue", "explained", "list_text", "printable", "replace_text"]

LIST_NAME = "set_aside.txt"
"""File in the output folder that names what was set aside, and why."""


@dataclass(frozen=True, slots=True)
class Aside:
    """An exposure that is left until it changes.

    Parameters
    ----------
    identity : Identity
        Its file as it was.
    error : TmtDqError
        Why.
    kind : str
        The error's class.
    at : float
        When, in seconds since 1970.
    clue : tuple
        The file that the error is about, as it was: where it changes, the exposure is tried again.
    """

    identity: Identity
    error: TmtDqError
    kind: str
    at: float
    clue: tuple[Identity | None, bool]


def list_text(asides: Mapping[str, Aside]) -> str:
    """Return the lines of the list: when, the class of the error, which exposure, what and why."""
    return "".join(
        f"{_time(aside.at)}  {aside.kind}  {explained(name, aside.error)}\n"
        for name, aside in sorted(asides.items())
    )


def replace_text(path: Path, text: str) -> None:
    """Replace a small file in one step; nobody ever reads half of it.

    Raises
    ------
    OSError
        Raised if the system refuses, or if there is something else than a file: a rename would
        replace even a device, where the user has the right to.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        temporary.write_text(text, "utf-8", errors="backslashreplace")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def explained(path: str, error: TmtDqError) -> str:
    """Say in one line what is wrong with an exposure: where, what, and what to do."""
    where = "" if error.where in {None, path} else f"{printable(str(error.where))}: "
    what = printable(" ".join(error.what.split()))
    hint = "" if error.hint is None else f". {printable(' '.join(error.hint.split()))}"
    return f"{printable(path)}: {where}{what.rstrip('.')}{hint}"


def printable(text: str) -> str:
    """Return text with line breaks and the like, which names may have, as escape sequences."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def clue(path: str, error: TmtDqError) -> tuple[Identity | None, bool]:
    """Return how the file is that an error is about, and whether it may be read."""
    place = error.where or path
    try:
        return identity_of(place), os.access(place, os.R_OK)
    except ValueError:
        return None, False  # it is no file's name
