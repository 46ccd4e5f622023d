"""The copy of an exposure's science data, begun before anything is known of its flags.

Most of the time that the command line needs for a ramp is spent importing NumPy and crds' rule
engine. Meanwhile the kernel can copy: the science data of the output are the input's whatever the
mask, and where they will lie follows from the input's headers and the room that every output has
for new keywords. Nothing is risked: the output has no name before it is complete, and a copy that
turns out to be in the wrong place is done again. This module imports nothing that is slow.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tmt_dq.errors import TmtDqError
from tmt_dq.files.atomic import AtomicOutput, check_output
from tmt_dq.fits.layout import FileReader, Unit, padded, scan
from tmt_dq.io.background import BackgroundCopy

__all__ = ["Headstart", "begin", "room_for_keywords"]

_CARDS = 20
"""Cards that an output has room for beside its input's: ten keywords, five of HISTORY, and a few
for more sources of flags. Outputs that need more have it, too, but are copied again. No more than
23: a ramp of IRIS' readout, with 12 cards, then keeps the size of its header, and file systems
that share blocks can share its science data."""
_WORTH_IT = 8 * 1024 * 1024
_CHANGED = frozenset(["PIXELDQ", "GROUPDQ", "DQ", "DQ_DEF", "ASDF"])


def room_for_keywords(primary: Unit) -> int:
    """Return how many bytes the primary header of an output has at least."""
    cards = sum(len(card.image) // 80 for card in primary.header.cards)
    return padded(80 * (cards + _CARDS + 1))


class Headstart:
    """An output whose science data are being copied.

    Parameters
    ----------
    source : Path
        The exposure.
    output : AtomicOutput
        The output, open.
    copy : BackgroundCopy
        The copy.
    state : tuple
        State of the exposure's file when the copy began, and the process.
    """

    def __init__(
        self, source: Path, output: AtomicOutput, copy: BackgroundCopy, state: tuple[int, ...]
    ) -> None:
        self.source = source
        self.output = output
        self.copy = copy
        self._state = state
        self._path = output.path.absolute()  # the current folder may be another one later

    def belongs_to(self, fd: int, output: AtomicOutput) -> bool:
        """Whether this is a copy of that file, unchanged, for that output, not yet used."""
        wanted = (output.path, output.overwrite, output.sync)
        mine = (self.output.path, self.output.overwrite, self.output.sync)
        return (
            self.output.fd >= 0
            and wanted == mine
            and output.path.absolute() == self._path
            and _state(fd) == self._state
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()

    def give_up(self) -> None:
        """Stop, and leave nothing behind, unless the output was finished meanwhile."""
        try:
            self.copy.stop()
        finally:
            self.output.discard()


def begin(
    source: Path, target: Path, *, overwrite: bool = False, sync: bool = True
) -> Headstart | None:
    """Begin to copy an exposure's science data.

    Parameters
    ----------
    source : Path
        The exposure.
    target : Path
        The output.
    overwrite, sync : bool
        As for `tmt_dq.files.atomic.AtomicOutput`.

    Returns
    -------
    Headstart or None
        The copy; None where there is nothing that could be begun: whatever is wrong with input or
        output is found, and told, by whoever goes on.
    """
    try:
        check_output(target, overwrite=overwrite, inputs=[source])
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, TmtDqError):
        return None
    try:
        return _begin(source, fd, AtomicOutput(target, overwrite=overwrite, sync=sync))
    except (OSError, TmtDqError):
        return None
    finally:
        os.close(fd)


def _begin(source: Path, fd: int, output: AtomicOutput) -> Headstart | None:
    state = _state(fd)
    file_size = os.fstat(fd).st_size
    found = _science(scan(FileReader(fd), source, size=file_size))
    if found is None:
        return None
    first, sci = found
    start = first.end
    # With its padding, which may be missing at the file's end.
    size = max(sci.data_offset + sci.data_size, min(sci.end, file_size)) - start
    if size < _WORTH_IT:
        return None
    place = room_for_keywords(first) + padded(first.data_size)
    output.__enter__()
    try:
        copy = BackgroundCopy(
            fd, start, output.fd, place, size, where=source, writeback=output.sync
        )
    except BaseException:
        output.discard()
        raise
    return Headstart(source, output, copy, state)


def _science(units: Iterable[Unit]) -> tuple[Unit, Unit] | None:
    """Return the primary unit and SCI, if all that lies between them stays as it is."""
    first = None
    for unit in units:
        if unit.index == 0:
            first = unit
            continue
        if unit.is_compressed_image or not unit.is_image or unit.name in _CHANGED:
            return None
        if unit.name == "SCI":
            assert first is not None
            return first, unit
    return None


def _state(fd: int) -> tuple[int, ...]:
    status = os.fstat(fd)
    # Threads, and what they copy, are lost where a process forks.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, os.getpid()
