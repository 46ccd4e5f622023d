"""Completeness of a file: what one look at it shows, and what must be waited for."""

import contextlib
import errno
import fcntl
import os
import signal
import stat
from typing import Literal, NamedTuple

from tmt_dq.errors import RampFormatError
from tmt_dq.exposures.layouts import find_layout
from tmt_dq.files.identity import Identity
from tmt_dq.fits.cards import Header
from tmt_dq.fits.layout import BLOCK, scan_file

_GZIP = b"\x1f\x8b"
_NO_LEASE = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}

Kind = Literal["partial", "whole", "opaque", "damaged"]
Writers = Literal["none", "some", "unknown"]
Wait = Literal["no", "settle", "stalled"]


class Look(NamedTuple):
    """File at one moment.

    `wait` names how long it must be unchanged before it is taken: not at all, or as the options of
    these names say; `why` is the reason for people.
    """

    identity: Identity
    wait: Wait
    why: str = ""


def identity_of(path: str) -> Identity | None:
    """Return the identity of a regular file; None if there is none, or it cannot be examined."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return Identity.of(status) if stat.S_ISREG(status.st_mode) else None


def look(path: str, *, remote: bool) -> Look | None:
    """Look at a file; None if there is none. `remote`: other machines write to the file system."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        # The worker reports what is wrong, if it stays so.
        identity = identity_of(path)
        why = f"it cannot be read ({error.strerror})"
        return None if identity is None else Look(identity, "settle", why)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return None
        kind, complete, what = structure(fd, before.st_size)
        writers: Writers = "unknown" if remote or kind == "partial" else _writers(fd)
        after = os.fstat(fd)
    except OSError as error:
        return Look(Identity.of(before), "settle", f"it cannot be read ({error.strerror})")
    finally:
        os.close(fd)
    if Identity.of(before) != Identity.of(after):
        return Look(Identity.of(after), "stalled", "it changes just now")
    wait, why = wait_for(kind, writers, complete=complete)
    return Look(Identity.of(after), wait, why or what)


def structure(fd: int, size: int) -> tuple[Kind, bool | None, str]:
    """Read headers; return what the file is, its keyword COMPLETE, and what is missing or wrong.

    "whole": it ends where a header and data unit ends, and has its SCI; "opaque": compressed, so
    that its length means nothing; "damaged": further bytes cannot make it a FITS file.
    """
    if size == 0:
        return "partial", None, "it is empty"
    start = os.pread(fd, BLOCK, 0)
    if start.startswith(_GZIP):
        return "opaque", None, ""
    if not start.strip(b"\0 "):
        # Room that was made for what is to come: wait for what it will be.
        return "partial", None, "it begins with zeros"
    try:
        units = list(scan_file(fd, "the file", size))
    except RampFormatError as error:
        if error.needs is None:
            return "damaged", None, error.what
        needs = error.needs
    else:
        needs = units[-1].end
    if needs > size:
        return "partial", None, f"at least {needs} bytes are needed, the file has {size}"
    if needs < size:
        return "partial", None, f"from byte {needs} on it has zeros"
    science = next((unit for unit in units if unit.name == "SCI"), None) or find_layout(units)[0]
    if science is None:
        return "partial", None, "it has no extension SCI"
    found = (_complete(unit.header) for unit in (units[0], science))
    return "whole", next((value for value in found if value is not None), None), ""


def _complete(header: Header) -> bool | None:
    """Return the keyword COMPLETE; None if it is not there or no logical value."""
    with contextlib.suppress(ValueError):
        value = header.get("COMPLETE")
        return value if isinstance(value, bool) else None
    return None


def _writers(fd: int) -> Writers:
    """Find out whether a file is open for writing anywhere on this machine.

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


def wait_for(kind: Kind, writers: Writers, *, complete: bool | None) -> tuple[Wait, str]:
    """Return how long a file must be unchanged before it is taken, and why if it is not known."""
    if kind == "partial":
        return "stalled", ""
    if writers == "some":
        # A program that adds reads may write at the end how many there are.
        return "stalled", "a program has it open for writing"
    if kind == "damaged":
        return "settle", ""
    if complete is False:
        return "settle", "COMPLETE is F: reads may still come"
    if writers == "unknown":
        return "settle", "it seems whole, but a program may still write to it"
    return "no", ""
