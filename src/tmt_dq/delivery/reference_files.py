"""Copies of reference files with another header, and the checksums of files that carry some."""

import os
from collections.abc import Mapping
from pathlib import Path

from tmt_dq.fits import checksums
from tmt_dq.fits.cards import ascii_text
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.writer import UnitWriter

_PIECE = 8 * 1024 * 1024
_ALL_ONES = 0xFFFF_FFFF

_COMMENTS = {
    "DETECTOR": "Detector",
    "FILENAME": "Name of the file",
    "REFTYPE": "Type of reference file",
    "USEAFTER": "First observation date this file is for",
}


def write_reference(file: FitsInput, target: Path, cards: Mapping[str, str]) -> None:
    """Copy a reference, without an ASDF, which CRDS refuses, with cards of its header set."""
    primary, *others = file.units
    header = primary.header.copy()
    for keyword, value in cards.items():
        if (header.get(keyword) or "") != value:
            header.set(keyword, ascii_text(value), _COMMENTS[keyword])
    # Signed if the sum of the data is known.
    known = 0 if primary.data_size == 0 else checksums.datasum(primary.header)
    head = checksums.sign(header, known)
    with target.open("xb") as out, UnitWriter(out.fileno(), file) as writer:
        writer.write_at(writer.reserve(len(head)), head)
        writer.copy_data(primary)
        for unit in others:
            if unit.name != "ASDF":
                writer.copy(unit)
        writer.finish()


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
