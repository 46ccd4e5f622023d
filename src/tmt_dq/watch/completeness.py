"""Completeness of a file: what is seen of it at one look, and what must be waited for."""

import contextlib
import errno
import fcntl
import os
import signal
import stat
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tmt_dq.errors import RampFormatError
from tmt_dq.fits.cards import Header
from tmt_dq.fits.layout import scan_file

__all__ = ["Identity", "Look", "Patience", "Structure", "identity_of", "look", "wait_for"]

_GZIP = b"\x1f\x8b"
_START = 2880
_NO_LEASE = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}
_CONFIRM_S = 0.1
"""Between two looks at a file with COMPLETE = T, where writers cannot be seen."""

Writers = Literal["none", "some", "unknown"]


class Identity(NamedTuple):
    """Size, time and inode: what shows that a name stands for another file or content."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Structure:
    """Length of a file by its headers.

    `kind` is "empty"; "partial": the headers announce more bytes than there are; "whole": the file
    ends where a header and data unit ends, and has its SCI; "headless": it ends at such a place,
    but SCI is not there (yet); "opaque": compressed as a whole, so that its length means nothing;
    "damaged": no number of further bytes can make it a FITS file. `needs` bytes must be there
    before it is worth reading again; `complete` is the keyword COMPLETE; `what` is missing.
    """

    kind: Literal["empty", "partial", "whole", "headless", "opaque", "damaged"]
    needs: int = 0
    complete: bool | None = None
    what: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """File at one moment.

    `writers` is "none": no process of this machine has it open for writing; "some"; or "unknown":
    the system does not show it, or other machines may write. `moved` tells that the last thing that
    happened to it was a change of its name or attributes, not of its content: it was moved or
    linked to where it is, or a copying program has set its times.
    """

    identity: Identity
    structure: Structure
    writers: Writers
    moved: bool


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds without a change: `settle_s` for a whole file, `stalled_s` for one that is not."""

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

    `remote` tells that other machines write to the file system. Raises `OSError` if the file is
    there and cannot be opened.
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
        final = structure.kind in {"whole", "opaque", "damaged"}
        writers: Writers = _writers(fd) if final and not remote else "unknown"
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if _identity(before) != _identity(after):
        return None
    return Look(_identity(after), structure, writers, after.st_ctime_ns > after.st_mtime_ns)


def read_structure(fd: int, size: int) -> Structure:
    """Read the headers of a file, as far as they are there."""
    if size == 0:
        return Structure("empty", 1, what="it is empty")
    start = os.pread(fd, _START, 0)
    if start.startswith(_GZIP):
        return Structure("opaque", size, what="it is compressed, and its full length is not known")
    if not start.strip(b"\0 "):
        # Room that was made for what is to come: wait for what it will be.
        return Structure("partial", size, what="it begins with zeros")
    try:
        units = list(scan_file(fd, "the file", size))
    except RampFormatError as error:
        if error.needs is None:
            return Structure("damaged", what=error.what)
        return _partial(error.needs, size)
    if units[-1].end > size:
        return _partial(units[-1].end, size)
    if units[-1].end < size:
        return Structure("partial", size, what=f"from byte {units[-1].end} on it has zeros")
    science = next((unit for unit in units if unit.name == "SCI"), None)
    if science is None:
        return Structure("headless", size + 1, what="it has no extension SCI")
    complete = _complete(units[0].header)
    return Structure("whole", size, _complete(science.header) if complete is None else complete)


def _partial(needs: int, size: int) -> Structure:
    what = f"at least {needs} bytes are needed, the file has {size}"
    return Structure("partial", needs, what=what)


def _complete(header: Header) -> bool | None:
    """Return the keyword COMPLETE; None if it is not there or no logical value."""
    try:
        value = header.get("COMPLETE")
    except ValueError:
        return None
    return value if isinstance(value, bool) else None


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


def wait_for(seen: Look, patience: Patience) -> tuple[float, str]:
    """Return for how many seconds a file must be unchanged before it is taken, and why.

    0 and no reason mean that it can be taken now.
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
