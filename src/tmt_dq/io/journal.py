"""What a file was before it is changed in place, kept beside it until the change is complete.

Whatever kills the process, either the change is complete, or the journal is there and says how to
take it back. The journal itself appears whole or not at all.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.errors import OutputError
from tmt_dq.files import syscalls
from tmt_dq.files.atomic import AtomicOutput, output_errors
from tmt_dq.files.copying import copy_range, write_all

__all__ = [
    "INSERT_STEP",
    "Journal",
    "collapse_range",
    "insert_range",
    "journal_path",
    "pending",
    "roll_back",
]

INSERT_STEP = 184_320
"""Room is made in steps of this many bytes: whole FITS blocks (2880) and whole file system blocks
(of up to 4096 bytes) at once."""

_MAGIC = b"tmt-dq journal 1\n"
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Journal:
    """How to undo a change.

    Parameters
    ----------
    size : int
        Size of the file before the change.
    inserted : int
        Bytes of room that the change makes at the beginning of the file.
    saved : tuple of (int, int)
        Offset and length of the parts that the change overwrites, before it makes room. Their
        bytes follow the head of the journal, in this order. The first is the primary header.
    probe : tuple of (int, int, str) or None
        Offset, before the change makes room, length and sha256 of bytes that it does not touch:
        by them the file is known.
    """

    size: int
    inserted: int
    saved: tuple[tuple[int, int], ...]
    probe: tuple[int, int, str] | None = None

    def is_of(self, fd: int) -> bool:
        """Whether an open file is the one that the journal was written for."""
        if self.probe is None:
            return True
        offset, length, digest = self.probe
        places = (offset, offset + self.inserted)
        return any(_digest(fd, place, length) == digest for place in places)

    def offset_of(self, part: int) -> int:
        """Return where in the journal the bytes of a saved part begin."""
        return _HEAD + sum(length for _, length in self.saved[:part])


def journal_path(path: Path) -> Path:
    """Return the name of a file's journal: beside the file itself, whatever link leads to it."""
    real = Path(os.path.realpath(path))
    return real.parent / f".{real.name}.tmt-dq-journal"


def pending(path: Path) -> bool:
    """Whether an earlier change of a file in place was interrupted."""
    # False where the name is too long to exist; Path.exists raises then.
    return os.path.exists(journal_path(path))  # noqa: PTH110


def _digest(fd: int, offset: int, length: int) -> str:
    return hashlib.sha256(os.pread(fd, length, offset)).hexdigest()


def write_journal(
    path: Path,
    fd: int,
    size: int,
    inserted: int,
    saved: Sequence[tuple[int, int]],
    untouched: tuple[int, int] | None = None,
) -> Journal:
    """Save the parts of a file that are about to change.

    Parameters
    ----------
    path : Path
        The file.
    fd : int
        Its descriptor.
    size, inserted, saved
        As in `Journal`.
    untouched : tuple of (int, int), optional
        Offset and length of some bytes that the change does not touch.

    Returns
    -------
    Journal
        The journal, safely on the disk.

    Raises
    ------
    OutputError
        Raised if it cannot be written; the file has not been touched.
    """
    probe = None if untouched is None else (*untouched, _digest(fd, *untouched))
    journal = Journal(size, inserted, tuple(saved), probe)
    text = json.dumps(dataclasses.asdict(journal)).encode()
    head = _MAGIC + text
    assert len(head) <= _HEAD
    target = journal_path(path)
    with AtomicOutput(target) as out, output_errors(target):
        write_all(out.fd, head.ljust(_HEAD), 0)
        for part, (offset, length) in enumerate(journal.saved):
            copy_range(fd, offset, out.fd, journal.offset_of(part), length, where=path)
    return journal


def read_journal(path: Path) -> Journal | None:
    """Return the journal of a file, None where there is none."""
    target = journal_path(path)
    try:
        with target.open("rb") as file:
            head = file.read(_HEAD)
            whole = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    try:
        journal = _parsed(head)
    except (ValueError, KeyError, TypeError):
        journal = None
    # A journal appears whole or not at all: one that is shorter was not made by us, or damaged.
    if journal is None or whole != journal.offset_of(len(journal.saved)):
        raise OutputError(
            "is not a journal that this version of tmt-dq wrote",
            where=target,
            hint=f"Move it away after making sure that {path.name} is whole.",
        )
    return journal


def _parsed(head: bytes) -> Journal | None:
    """Return what the head of a journal says; None where it is not one."""
    if not head.startswith(_MAGIC):
        return None
    table = json.loads(head[len(_MAGIC) :])
    saved = tuple((int(offset), int(length)) for offset, length in table["saved"])
    probe = None if table.get("probe") is None else tuple(table["probe"])
    return Journal(int(table["size"]), int(table["inserted"]), saved, probe)


def roll_back(path: Path, fd: int) -> bool:
    """Take back a change that was interrupted.

    Parameters
    ----------
    path : Path
        The file.
    fd : int
        Its descriptor, open for reading and writing; the caller holds the file's lock.

    Returns
    -------
    bool
        Whether there was something to take back.

    Raises
    ------
    OutputError
        Raised if the system refuses; the journal stays and the next try can succeed.
    """
    journal = read_journal(path)
    if journal is None:
        return False
    if not journal.is_of(fd):
        raise OutputError(
            f"the journal {journal_path(path).name} beside it was written for another file",
            where=path,
            hint="Move the journal away after making sure that this file is whole.",
        )
    with output_errors(path), journal_path(path).open("rb") as saved:
        offset, length = journal.saved[0]
        original = os.pread(saved.fileno(), length, journal.offset_of(0))
        # With room made, the old header no longer begins the file: it is zeros or the new header.
        if journal.inserted and os.pread(fd, length, offset) != original:
            # First to where it will begin the file: this may be killed too, and the next try must
            # see that the room is gone. To take it away twice would take away science data.
            write_all(fd, original, offset + journal.inserted)
            os.fsync(fd)
            collapse_range(fd, journal.inserted)
        os.ftruncate(fd, journal.size)
        for part, (offset, length) in enumerate(journal.saved):
            copy_range(
                saved.fileno(), journal.offset_of(part), fd, offset, length, where=saved.name
            )
        os.fsync(fd)
    discard(path)
    return True


def discard(path: Path) -> None:
    """Remove a file's journal: the change, or its undoing, is complete."""
    journal = journal_path(path)
    journal.unlink()
    folder = os.open(journal.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def insert_range(fd: int, size: int) -> bool:
    """Make room at the beginning of a file, by moving no data; False if it cannot be done here."""
    try:
        syscalls.fallocate(fd, syscalls.INSERT_RANGE, 0, size)
    except OSError:
        return False
    return True


def collapse_range(fd: int, size: int) -> None:
    """Take the room at the beginning of a file away again."""
    syscalls.fallocate(fd, syscalls.COLLAPSE_RANGE, 0, size)
