"""DQ initialization of a file in place: the extensions are added to the file itself.

For those who want no second copy of 14 GB. Parts that must change are saved in a journal first
(`tmt_dq.io.journal`); an interrupted run is taken back by the next one.
"""

import contextlib
import dataclasses
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tmt_dq.apply.output import FlagWriter, Written, write_tables, write_units
from tmt_dq.core.initialize import Initialization
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import OutputError, RampFormatError
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.exposures.record import Headers, Record
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.copying import Progress, write_all
from tmt_dq.fits import checksums
from tmt_dq.fits.encoding import image_header, is_uint32
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit
from tmt_dq.fits.writer import UnitWriter
from tmt_dq.io.journal import (
    INSERT_STEP,
    Journal,
    discard,
    insert_range,
    journal_path,
    roll_back,
    write_journal,
)

__all__ = ["InPlaceWriter", "check_plan", "locked", "unlocked"]

_PROBE = 65536
"""Bytes of science data by which the journal knows its file again."""

_LARGEST_TAIL = 1 << 30
"""More than this is not moved to make room for a table: an ordinary run is as quick."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Open a file for a change in place, alone, with interrupted changes taken back.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    int
        Its descriptor, open for reading and writing.

    Raises
    ------
    OutputError
        Raised if the file cannot be written, has other names (hard links), or something else has
        it open for writing.
    RampFormatError
        Raised if it is not there, or cannot be read.
    """
    with output_errors(path):
        _refuse_writers(path)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with output_errors(path):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _in_use(path, "another run of tmt-dq is changing it") from None
        _refuse_other_names(path, os.fstat(fd).st_nlink)
        roll_back(path, fd)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def unlocked(path: Path) -> Iterator[int]:
    """Make sure that a file could be changed in place, and leave it as it is.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    int
        No descriptor: -1.

    Raises
    ------
    OutputError, RampFormatError
        Raised as by `locked`.
    """
    with output_errors(path):
        _refuse_writers(path)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _refuse_other_names(path, path.stat().st_nlink)
    yield -1


def _refuse_other_names(path: Path, count: int) -> None:
    if count > 1:
        raise OutputError(
            f"has {count} names (hard links), which would all change",
            where=path,
            hint="Process it into an output of its own.",
        )


def _refuse_writers(path: Path) -> None:
    """Refuse a file that something has open for writing.

    A read lease is granted only where nobody writes (fcntl(2), F_SETLEASE). It needs a local file
    of our own; elsewhere the descriptors of the processes that we may look at are searched.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RampFormatError(
            f"cannot be read: {error.strerror}", where=path, hint="Check the name and the rights."
        ) from error
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise _in_use(path, _writer(fd) or "something has it open for writing") from None
        writer = _writer(fd)
        if writer is not None:
            raise _in_use(path, writer) from None
    finally:
        os.close(fd)


def _writer(fd: int) -> str | None:
    """Name a process that has the same file open for writing."""
    wanted = os.fstat(fd)
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        # Processes end and descriptors close while we look; others are not ours to see.
        with contextlib.suppress(OSError):
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino):
                continue
            process = descriptor.parents[1]
            info = (process / "fdinfo" / descriptor.name).read_text()
            flags = int(next(line for line in info.splitlines() if "flags" in line).split()[1], 8)
            if flags & os.O_ACCMODE != os.O_RDONLY:
                name = (process / "comm").read_text().strip()
                return f"process {process.name} ({name}) has it open for writing"
    return None


def _in_use(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"cannot be changed in place: {reason}", where=path, hint="Try again when it is closed."
    )


class InPlaceWriter:
    """Adds flags to an exposure's own file.

    Parameters
    ----------
    fd : int
        Descriptor from `locked`.
    progress : callable, optional
        Called with the number of bytes of each step.
    """

    def __init__(self, fd: int, progress: Progress | None = None) -> None:
        self.fd = fd
        self.progress = progress

    def __call__(
        self,
        exposure: RampFile,
        sources: Sequence[FlagSource],
        record: Record,
    ) -> Written:
        """Change the file.

        Parameters
        ----------
        exposure : RampFile
            The exposure, read from the same file.
        sources, record
            As in `tmt_dq.apply.output.write_exposure`.

        Returns
        -------
        Written
            What was written.

        Raises
        ------
        OutputError
            Raised if the change is not possible in place; the file is as it was.
        """
        path = exposure.file.path
        if not os.path.samestat(os.fstat(self.fd), os.fstat(exposure.file.fd)):
            raise _in_use(path, "another file has taken its name")
        plan = _Plan(exposure, sources, record)
        size = os.fstat(self.fd).st_size
        journal = write_journal(path, self.fd, size, plan.inserted, plan.saved, plan.untouched)
        try:
            with output_errors(path):
                _make_room(self.fd, plan)
                written = _change(plan, journal, self.fd, self.progress)
                os.fsync(self.fd)
        except BaseException:
            roll_back(path, self.fd)
            raise
        discard(path)
        return written


def check_plan(exposure: RampFile, sources: Sequence[FlagSource], record: Record) -> None:
    """Make sure that a change in place is possible, as far as that can be known beforehand.

    Raises
    ------
    OutputError
        Raised if it is not.
    """
    _Plan(exposure, sources, record)


def _make_room(fd: int, plan: "_Plan") -> None:
    """Make the room that the primary header needs."""
    if plan.inserted and not insert_range(fd, plan.inserted):
        raise OutputError(
            "cannot be changed in place: its primary header has no room for the new keywords, and "
            "this file system cannot make room without moving the science data",
            where=plan.exposure.file.path,
            hint="Process it into an output of its own.",
        )


class _Plan:
    """What changes, and where."""

    def __init__(
        self,
        exposure: RampFile,
        sources: Sequence[FlagSource],
        record: Record,
    ) -> None:
        self.exposure = exposure
        self.record = record
        self.work = Initialization(sources, image=exposure.ramp.is_image)
        self.flagged = bool(sources)
        first = exposure.file.units[0]
        self.headers = Headers(exposure, exposure.file.path)
        longest = self.work.longest_reports(exposure.ramp.shape)
        needed = self.headers.primary_size(record.with_reports(longest))
        # Room is never taken away: a header that got shorter is filled with blank cards.
        room = max(0, needed - first.header_size)
        self.inserted = -(-room // INSERT_STEP) * INSERT_STEP
        self.tail = self._tail()
        self.saved = [(0, first.header_size)]
        old = exposure.pixeldq
        if self.flagged and old is not None and old not in self.tail:
            self.saved.append((old.header_offset, old.end - old.header_offset))
        self.end = self._end()
        size = os.fstat(exposure.file.fd).st_size
        if size - self.end > _LARGEST_TAIL:
            raise OutputError(
                f"cannot be changed in place: {size - self.end} bytes lie behind "
                f"{self.tail[0].label}, which changes its size",
                where=exposure.file.path,
                hint="Process it into an output of its own.",
            )
        if size > self.end:
            self.saved.append((self.end, size - self.end))

    def _tail(self) -> tuple[Unit, ...]:
        """Return the units from the first one on that changes its size."""
        for position, unit in enumerate(self.exposure.file.units):
            resized = unit.name == "ASDF" or (
                self.flagged
                and (
                    unit.name == "DQ_DEF"
                    or (unit is self.exposure.pixeldq and not self._keeps_size(unit))
                    or (unit is self.exposure.groupdq and self.work.touches_groups)
                )
            )
            if resized:
                return self.exposure.file.units[position:]
        return ()

    def _keeps_size(self, unit: Unit) -> bool:
        header = image_header(self.exposure.pixel_name, 32, unit.shape, like=unit.header)
        return is_uint32(unit) and len(checksums.sign(header, 0)) == unit.header_size

    @property
    def untouched(self) -> tuple[int, int] | None:
        """Where the file has science data that stay where they are, if it does."""
        sci = self.exposure.sci
        return None if sci in self.tail else (sci.data_offset, min(_PROBE, sci.data_size))

    def _end(self) -> int:
        """Return where the new units begin."""
        units = self.exposure.file.units
        return self.tail[0].header_offset if self.tail else units[-1].end


def _change(plan: _Plan, journal: Journal, fd: int, progress: Progress | None) -> Written:
    """Write what is new: behind everything first, the primary header last."""
    path = plan.exposure.file.path
    with journal_path(path).open("rb") as saved:
        # What is written over is read from the journal; what moved, from where it is now.
        into_journal = journal.offset_of(len(journal.saved) - 1) - plan.end
        tail = _exposure_at(plan.exposure, saved.fileno(), plan.tail, into_journal)
        kept = plan.exposure.file.units[: len(plan.exposure.file.units) - len(plan.tail)]
        here = _exposure_at(plan.exposure, fd, kept, plan.inserted)
        os.ftruncate(fd, plan.end + plan.inserted)
        writer = UnitWriter(fd, place=plan.end + plan.inserted, progress=progress)
        science = next(
            (file.file, unit)
            for file in (here, tail)
            for unit in file.file.units
            if unit.index == plan.exposure.sci.index
        )
        flags = FlagWriter(tail, plan.work, writer, science) if plan.flagged else None
        write_units(tail.file, writer, flags)
        if flags is not None:
            flags.write_missing(
                pixeldq=plan.exposure.pixeldq is None, groupdq=plan.exposure.groupdq is None
            )
            flags.finish()
            if here.pixeldq is not None:
                place = UnitWriter(fd, place=here.pixeldq.header_offset, progress=progress)
                flags = FlagWriter(here, plan.work, place, science, looked=True)
                flags.write_instead(here.pixeldq)
                flags.finish()
        final = plan.record.with_reports(plan.work.reports())
        write_tables(plan.headers.tables(final), writer, flagged=plan.flagged)
    # The header that declares the exposure initialized must not be on the disk before the flags.
    os.fsync(fd)
    room = plan.exposure.file.units[0].header_size + plan.inserted
    write_all(fd, plan.headers.primary_bytes(final, room), 0)
    return Written({} if flags is None else flags.counts(), final.reports)


def _exposure_at(exposure: RampFile, fd: int, units: Sequence[Unit], shift: int) -> RampFile:
    """Return an exposure with only some of its units, in another file or place."""
    moved = tuple(
        dataclasses.replace(
            unit,
            header_offset=unit.header_offset + shift,
            data_offset=unit.data_offset + shift,
        )
        for unit in units
    )
    file = FitsInput(exposure.file.path, fd, moved, compressed=False)
    return dataclasses.replace(
        exposure,
        file=file,
        pixeldq=next((unit for unit in moved if unit.name == exposure.pixel_name), None),
        groupdq=next((unit for unit in moved if unit.name == "GROUPDQ"), None),
    )
