"""Copies of reference files with another header, and the checksums of files that carry some."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tmt_dq.files.copying import copy_range, write_all
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Value, ascii_text
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit, padded

__all__ = ["write_reference", "wrong_checksums"]

_PIECE = 8 * 1024 * 1024
_ALL_ONES = 0xFFFF_FFFF


def write_reference(
    file: FitsInput,
    target: Path,
    cards: Mapping[str, tuple[Value, str]],
    *,
    leave_out: Iterable[str] = (),
) -> None:
    """Write a copy of a reference file with cards of its primary header set.

    All other units are copied byte for byte.
    """
    unwanted = set(leave_out)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        place = 0
        for unit in file.units:
            if unit.index > 0 and unit.name in unwanted:
                continue
            start = unit.header_offset
            if unit.index == 0:
                head = _head(unit, cards)
                write_all(fd, head, 0)
                start, place = unit.data_offset, len(head)
            size = min(unit.end, os.fstat(file.fd).st_size) - start
            copy_range(file.fd, start, fd, place, size, where=file.path)
            place += padded(size)
        os.ftruncate(fd, place)
        os.fsync(fd)
    finally:
        os.close(fd)


def _head(unit: Unit, cards: Mapping[str, tuple[Value, str]]) -> bytes:
    """Return the new primary header, signed if the sum of the data is known."""
    header = unit.header.copy()
    for keyword, (value, comment) in cards.items():
        header.set(keyword, ascii_text(value) if isinstance(value, str) else value, comment)
    known = 0 if unit.data_size == 0 else checksums.datasum(unit.header)
    return checksums.sign(header, known)


def wrong_checksums(file: FitsInput) -> list[str]:
    """Return the units whose CHECKSUM or DATASUM does not fit their bytes."""
    wrong = []
    for unit in file.units:
        declared = checksums.datasum(unit.header)
        # An empty CHECKSUM is one that is not known.
        signed = bool(str(unit.header.get("CHECKSUM", "")).strip())
        if declared is None and not signed:
            continue
        data = _sum(file, unit.data_offset, unit.end)
        whole = checksums.add(_sum(file, unit.header_offset, unit.data_offset), data)
        if declared not in {None, data} or (signed and whole not in {0, _ALL_ONES}):
            wrong.append(unit.label)
    return wrong


def _sum(file: FitsInput, start: int, end: int) -> int:
    """Return the ones' complement sum of a part of a file, which may lack its padding."""
    total = 0
    for place in range(start, end, _PIECE):
        size = min(_PIECE, end - place)
        data = os.pread(file.fd, size, place)
        total = checksums.add(total, checksums.sum_bytes(data.ljust(size, b"\0")))
    return total
