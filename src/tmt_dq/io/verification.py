"""Are the flags of a file those that its sources give? Compared in pieces, holes passed over."""

import errno
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.initialize import Initialization
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.fits.encoding import read_plane, read_rows
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit

__all__ = ["Difference", "compare_flags", "has_flags", "take_away"]

_PIECE_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Difference:
    """How the flags of a file differ from those that are expected.

    Parameters
    ----------
    more, less : dict of str to int
        Pixels per flag that only the file has, and that it lacks.
    samples_more, samples_less : dict of str to int
        The same of GROUPDQ.
    """

    more: dict[str, int] = field(default_factory=dict)
    less: dict[str, int] = field(default_factory=dict)
    samples_more: dict[str, int] = field(default_factory=dict)
    samples_less: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.more, self.less, self.samples_more, self.samples_less))

    def describe(self) -> str:
        """Say what differs, in one line."""
        parts = [
            f"{_listing(counts)} in {where} {sense}"
            for counts, where, sense in (
                (self.more, "pixels", "that they do not give"),
                (self.less, "pixels", "missing"),
                (self.samples_more, "samples", "that they do not give"),
                (self.samples_less, "samples", "missing"),
            )
            if counts
        ]
        return "; ".join(parts)

    def note_pixels(self, found: npt.NDArray[np.uint32], expected: npt.NDArray[np.uint32]) -> None:
        """Take the difference of some rows into account."""
        if not np.array_equal(found, expected):
            _add(self.more, PIXEL.count(found & ~expected))
            _add(self.less, PIXEL.count(expected & ~found))

    def note_samples(self, found: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> None:
        """Take the difference of one read into account."""
        if not np.array_equal(found, expected):
            _add(self.samples_more, GROUP.count(found & ~expected))
            _add(self.samples_less, GROUP.count(expected & ~found))


def _listing(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _add(total: dict[str, int], counts: dict[str, int]) -> None:
    for name, number in counts.items():
        if number and name != "GOOD":
            total[name] = total.get(name, 0) + number


def compare_flags(exposure: RampFile, work: Initialization) -> Difference:
    """Compare the flags of an exposure with its own of before and what sources add to them.

    Parameters
    ----------
    exposure : RampFile
        The exposure as it is; its `own` says what flags it had before.
    work : Initialization
        The sources; afterwards its reports are complete.

    Returns
    -------
    Difference
        What differs; false if nothing does.
    """
    difference = Difference()
    own = exposure if exposure.own is None else exposure.own
    if not exposure.ramp.is_image or work.needs_counts:
        _compare_samples(exposure, own, work, difference)
    ny, nx = exposure.ramp.window.shape
    for rows in _row_pieces(ny, nx):
        expected = _rows(own, rows, nx)
        work.pixels(rows, expected)
        difference.note_pixels(_rows(exposure, rows, nx), expected)
    return difference


def _compare_samples(
    exposure: RampFile, own: RampFile, work: Initialization, difference: Difference
) -> None:
    nints, ngroups, ny, nx = exposure.ramp.shape
    if not (work.touches_groups or work.needs_counts or own.groupdq is not None):
        if exposure.groupdq is not None and has_flags(exposure.file, exposure.groupdq):
            zero = np.zeros((ny, nx), np.uint8)
            for number in range(nints * ngroups):
                difference.note_samples(_plane(exposure, number) | zero, zero)
        return
    for number in range(nints * ngroups):
        counts = None
        if work.needs_counts:
            counts = read_plane(exposure.file, exposure.sci, number)
        before = None if own.groupdq is None else _plane(own, number)
        expected = work.samples(*divmod(number, ngroups), counts, before)
        if exposure.ramp.is_image:
            continue
        if expected is None:
            expected = np.zeros((ny, nx), np.uint8)
        difference.note_samples(_plane(exposure, number), expected)


def take_away(exposure: RampFile, old: Initialization, new: Initialization) -> bool:
    """Whether some pixel or sample loses a flag if new sources take the place of old ones.

    Parameters
    ----------
    exposure : RampFile
        The exposure.
    old, new : Initialization
        The sources; those of `old` have looked at the counts already.

    Returns
    -------
    bool
        Whether one does.
    """
    nints, ngroups, ny, nx = exposure.ramp.shape
    for number in range(nints * ngroups) if old.touches_groups or new.needs_counts else ():
        place = divmod(number, ngroups)
        counts = None
        if old.needs_counts or new.needs_counts:
            counts = read_plane(exposure.file, exposure.sci, number)
        before, after = (work.samples(*place, counts) for work in (old, new))
        if before is not None and np.any(before if after is None else before & ~after):
            return True
    for rows in _row_pieces(ny, nx):
        zeros = (np.zeros((rows.stop - rows.start, nx), np.uint32) for _ in range(2))
        before_rows, after_rows = (
            work.pixels(rows, plane) for work, plane in zip((old, new), zeros, strict=True)
        )
        if np.any(before_rows & ~after_rows):
            return True
    return False


def has_flags(file: FitsInput, unit: Unit | None) -> bool:
    """Whether an extension has any flag; holes of the file are not read.

    Parameters
    ----------
    file : FitsInput
        The open file.
    unit : Unit or None
        Its PIXELDQ, DQ or GROUPDQ; None where it has none.

    Returns
    -------
    bool
        Whether a pixel or sample is not GOOD.
    """
    if unit is None:
        return False
    if unit.bitpix != 8:
        ny, nx = unit.shape
        return any(
            read_rows(file, unit, rows.start, rows.stop - rows.start).any()
            for rows in _row_pieces(ny, nx)
        )
    place, end = unit.data_offset, unit.data_offset + math.prod(unit.shape)
    if file.fd < 0:  # it is elsewhere, where no holes are
        return any(
            _read_bytes(file, unit, start, end - place).any()
            for start in range(0, end - place, _PIECE_BYTES)
        )
    while place < end:
        place = _next_data(file.fd, place)
        piece = os.pread(file.fd, min(_PIECE_BYTES, end - place), place) if place < end else b""
        if not piece:
            return False
        if np.frombuffer(piece, np.uint8).any():
            return True
        place += len(piece)
    return False


def _read_bytes(file: FitsInput, unit: Unit, start: int, size: int) -> npt.NDArray[np.uint8]:
    """Return the next bytes of a unit's first `size` ones."""
    data = np.empty(min(_PIECE_BYTES, size - start), np.uint8)
    file.read_into(unit, data.data, start)
    return data


def _next_data(fd: int, place: int) -> int:
    """Return where the next bytes that are not in a hole begin."""
    try:
        return os.lseek(fd, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return os.fstat(fd).st_size  # nothing but a hole until the end
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            return place  # this file system does not know
        raise


def _row_pieces(ny: int, nx: int) -> Iterator[slice]:
    rows = max(1, _PIECE_BYTES // (4 * nx))
    for first in range(0, ny, rows):
        yield slice(first, min(ny, first + rows))


def _rows(exposure: RampFile, rows: slice, nx: int) -> npt.NDArray[np.uint32]:
    count = rows.stop - rows.start
    if exposure.pixeldq is None:
        return np.zeros((count, nx), np.uint32)
    return read_rows(exposure.file, exposure.pixeldq, rows.start, count)


def _plane(exposure: RampFile, number: int) -> npt.NDArray[np.uint8]:
    ny, nx = exposure.ramp.shape[-2:]
    plane = np.zeros((ny, nx), np.uint8)
    if exposure.groupdq is not None:
        exposure.file.read_into(exposure.groupdq, plane.data.cast("B"), number * ny * nx)
    return plane
