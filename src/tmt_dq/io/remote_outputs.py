"""Outputs elsewhere, and outputs of inputs elsewhere: nothing of the size of a ramp is kept here.

For an output elsewhere, what is new (headers, flags) goes into a nameless sparse file, and of what
is copied only the place is noted. When all is known, the output is put together part by part, each
read from where it lies: `tmt_dq.io.uploads` sends them and gives the whole its name.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tmt_dq.apply.output import Written, write_exposure
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import OutputError, RampFormatError
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.exposures.record import Record
from tmt_dq.files.atomic import AtomicOutput, output_errors
from tmt_dq.files.copying import Progress
from tmt_dq.files.urls import Place, Url
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit
from tmt_dq.fits.writer import UnitWriter
from tmt_dq.io.remote import file_info, filesystem
from tmt_dq.io.remote_inputs import RemoteInput
from tmt_dq.io.uploads import upload

__all__ = ["Copied", "Draft", "check_remote_output", "write_elsewhere"]

_READ_ONLY = {"http", "https"}
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "memory"}


def check_remote_output(url: Url, *, overwrite: bool = False, inputs: Iterable[Place] = ()) -> None:
    """Make sure, before any work, that an output elsewhere can be written.

    Parameters
    ----------
    url : Url
        The output.
    overwrite : bool
        Whether an existing file may be replaced.
    inputs : iterable of Path or Url
        Files that must not be the output.

    Raises
    ------
    OutputError
        Raised if nothing can be written there, `url` is a folder or one of `inputs`, or exists and
        `overwrite` is false.
    RemoteError
        Raised if it cannot be asked for.
    """
    if url.protocol in _READ_ONLY:
        raise OutputError(
            f"cannot be written: {url.protocol} is for reading only",
            where=url,
            hint="Name a file here, or a URL of a store that can be written to, such as s3://.",
        )
    if not url.name or url.full.endswith("/"):
        raise OutputError(
            "is a folder; expected a file name", where=url, hint="Say --output-dir for a folder."
        )
    for source in inputs:
        if isinstance(source, Url) and _object(source) == _object(url):
            raise OutputError(
                f"output and input {source} are the same file",
                where=url,
                hint="Inputs and references are never modified: name another output.",
            )
    info = file_info(url)
    if info is not None and info.get("type") == "directory":
        if url.protocol in _WITHOUT_FOLDERS:
            return  # an object may have a name that those of others begin with
        raise OutputError("is a folder; expected a file name", where=url)
    if info is not None and not overwrite:
        raise OutputError(
            "exists already", where=url, hint="Say --overwrite (overwrite=True) to replace it."
        )


def _object(url: Url) -> tuple[type, str] | str:
    """Return what is the same for all names of an object (s3 and s3a, its versions)."""
    if url.protocol in _READ_ONLY:
        return url.full
    fs, path = filesystem(url)
    return type(fs), path.partition("?versionId=")[0]


def write_elsewhere(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    record: Record,
    target: Place,
    *,
    overwrite: bool = False,
    sync: bool = True,
    progress: Progress | None = None,
) -> Written:
    """Write an output whose input or which itself is elsewhere.

    Parameters
    ----------
    exposure, sources, record
        As in `tmt_dq.apply.output.write_exposure`.
    target : Path or Url
        The output.
    overwrite, sync, progress
        As in `tmt_dq.apply.apply_dq`.

    Returns
    -------
    Written
        What was written.

    Raises
    ------
    OutputError
        Raised if the output cannot be written; there is none then.
    RemoteError
        Raised if the input cannot be read to its end, or changed.
    """
    if isinstance(target, Path):
        with AtomicOutput(target, overwrite=overwrite, sync=sync) as out, output_errors(target):
            writer = _FromElsewhere(out.fd, progress=progress, writeback=sync)
            written = write_exposure(exposure, sources, record, target, writer)
            exposure.file.verify()
            return written
    scratch = Path(tempfile.gettempdir())
    with output_errors(scratch), tempfile.TemporaryFile(dir=scratch) as spool:
        draft = Draft(spool.fileno())
        written = write_exposure(exposure, sources, record, cast("Path", target), draft)
        verify = exposure.file.verify
        upload(draft, target, overwrite=overwrite, verify=verify, progress=progress)
        return written


def _end_of(file: FitsInput, unit: Unit) -> int:
    """Return where a unit ends in a file that may be cut off within the last padding."""
    total = file.remote.size if isinstance(file, RemoteInput) else os.fstat(file.fd).st_size
    assert total is not None
    return max(unit.data_offset + unit.data_size, min(unit.end, total))


class _FromElsewhere(UnitWriter):
    """Writes a file here; what is copied comes from elsewhere."""

    def copy(self, file: FitsInput, unit: Unit) -> None:
        """Copy a unit, header and data, byte for byte."""
        if not isinstance(file, RemoteInput):
            super().copy(file, unit)
            return
        start = unit.header_offset
        self._copy_bytes(file, start, _end_of(file, unit) - start)
        self._pad()

    def _copy_bytes(self, file: FitsInput, start: int, size: int) -> None:
        if not isinstance(file, RemoteInput):
            super()._copy_bytes(file, start, size)
            return
        file.copy_to(
            start, size, self.fd, self.place, progress=self.progress, writeback=self.writeback
        )
        self.place += size


@dataclass(frozen=True, slots=True)
class Copied:
    """A part of an output that is copied from an input.

    Parameters
    ----------
    place, size : int
        Where in the output, and how many bytes.
    file : FitsInput
        The input.
    start : int
        Where in the input.
    """

    place: int
    size: int
    file: FitsInput
    start: int

    @property
    def end(self) -> int:
        """First byte behind it in the output."""
        return self.place + self.size


class Draft(UnitWriter):
    """An output that is not put together yet.

    Parameters
    ----------
    fd : int
        Descriptor of an empty file for what is new; where the output is a copy, it has a hole.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd, writeback=False)
        self.copies: list[Copied] = []

    @property
    def size(self) -> int:
        """Bytes of the output."""
        return os.fstat(self.fd).st_size

    def copy(self, file: FitsInput, unit: Unit) -> None:
        """Note a unit to be copied, header and data, byte for byte."""
        start = unit.header_offset
        self._copy_bytes(file, start, _end_of(file, unit) - start)
        self._pad()

    def _copy_bytes(self, file: FitsInput, start: int, size: int) -> None:
        if size:
            self.copies.append(Copied(self.place, size, file, start))
        self.place += size
        if self.place > self.size:
            os.ftruncate(self.fd, self.place)

    def read(self, place: int, size: int) -> bytearray:
        """Return a part of the output, read from where it lies."""
        data = bytearray(size)
        view = memoryview(data)
        done = place
        end = place + size
        for copied in sorted(self.copies, key=lambda entry: entry.place):
            if copied.end <= done or copied.place >= end:
                continue
            if copied.place > done:
                _fill(self.fd, view[done - place : copied.place - place], done, "the draft")
                done = copied.place
            count = min(end, copied.end) - done
            _read_input(copied, done - copied.place, view[done - place : done - place + count])
            done += count
        _fill(self.fd, view[done - place :], done, "the draft")
        return data


def _read_input(copied: Copied, offset: int, buffer: memoryview) -> None:
    """Fill a buffer with bytes of an input."""
    if isinstance(copied.file, RemoteInput):
        buffer[:] = copied.file.remote.read_range(copied.start + offset, buffer.nbytes)
    else:
        _fill(copied.file.fd, buffer, copied.start + offset, copied.file.path)


def _fill(fd: int, buffer: memoryview, place: int, where: object) -> None:
    done = 0
    while done < buffer.nbytes:
        count = os.preadv(fd, [buffer[done:]], place + done)
        if count == 0:
            raise RampFormatError(
                f"ended {buffer.nbytes - done} bytes early while it was being read",
                where=where,
                hint="Something else is changing the file; try again when it is complete.",
            )
        done += count
