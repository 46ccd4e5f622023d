"""Whether a file is complete: what can be known of it at one look, and what must be waited for."""

import contextlib
import errno
import fcntl
import os
import signal
import stat
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tmt_dq.watch.structure import Structure, read_structure

__all__ = ["Identity", "Look", "Patience", "identity_of", "look", "wait_for"]

_NO_LEASE = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}
_CONFIRM_S = 0.1
"""Between two looks at a file that says that it is complete, where writers cannot be seen."""


class Identity(NamedTuple):
    """What tells, without reading it, that a name stands for another file or content."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Look:
    """A file at one moment.

    Parameters
    ----------
    identity : Identity
        The file.
    structure : Structure
        What its headers say.
    writers : str
        "none": no process of this machine has it open for writing; "some"; or "unknown": the system
        does not tell, or other machines may write.
    moved : bool
        Whether the last thing that happened to it was a change of its name or attributes, not of
        its content: it was moved or linked to where it is, or a copying program has set its times.
    """

    identity: Identity
    structure: Structure
    writers: Literal["none", "some", "unknown"]
    moved: bool


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what is not certain.

    Parameters
    ----------
    settle_s : float
        Seconds without a change after which a whole file is taken, where nothing better is known.
    stalled_s : float
        Seconds without a change after which a file that is not whole is given up.
    """

    settle_s: float = 2.0
    stalled_s: float = 60.0


def identity_of(path: str) -> Identity | None:
    """Return the identity of a regular file; None if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _identity(status) if stat.S_ISREG(status.st_mode) else None


def _identity(status: os.stat_result) -> Identity:
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino)


def look(path: str, *, remote: bool) -> Look | None:
    """Look at a file; None if it is not there, not a file, or changed meanwhile.

    Parameters
    ----------
    path : str
        The file.
    remote : bool
        Whether it is on a file system that other machines write to as well.

    Returns
    -------
    Look or None
        What was seen.

    Raises
    ------
    OSError
        Raised if it is there and cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return None
        structure = read_structure(fd, before.st_size)
        writers: Literal["none", "some", "unknown"] = "unknown"
        if structure.kind in {"whole", "opaque", "damaged"} and not remote:
            writers = _writers(fd)
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if _identity(before) != _identity(after):
        return None
    moved = after.st_ctime_ns > after.st_mtime_ns
    return Look(_identity(after), structure, writers, moved)


def _writers(fd: int) -> Literal["none", "some", "unknown"]:
    """Ask the system whether a file is open for writing anywhere on this machine.

    Linux gives a read lease only on a file that nobody has open for writing. It is given back at
    once: a process that wants to write meanwhile waits for these microseconds.
    """
    # Whoever opens the file while we have the lease makes the system send us a signal: one that is
    # ignored, instead of SIGIO, which ends a process.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return "some"
        if error.errno in _NO_LEASE:
            return "unknown"
        raise
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return "none"


def wait_for(seen: Look, patience: Patience) -> tuple[float, str]:
    """Return for how many seconds a file must be unchanged before it is taken, and why.

    Parameters
    ----------
    seen : Look
        The file.
    patience : Patience
        How long to wait.

    Returns
    -------
    tuple of float and str
        The seconds, 0 if it can be taken now; what is waited for, for people.
    """
    kind = seen.structure.kind
    settle, stalled = patience.settle_s, patience.stalled_s
    if kind == "damaged" and seen.writers != "some":
        return settle, seen.structure.what
    # A program that adds reads may write at the end how many there are.
    if kind not in {"whole", "opaque", "damaged"}:
        return stalled, seen.structure.what
    if seen.writers == "some":
        return stalled, "a program has it open for writing"
    if seen.structure.complete is False and not seen.moved:
        return settle, "COMPLETE is F: reads may still come"
    if seen.writers == "none":
        return 0.0, ""
    if kind == "whole" and seen.structure.complete:
        return min(_CONFIRM_S, settle), "COMPLETE is T; it is looked at once more"
    if seen.moved:
        return min(_CONFIRM_S, settle), "it was moved there; it is looked at once more"
    return settle, "it is whole, but a program may still write to it"
