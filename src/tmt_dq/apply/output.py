"""The output of DQ initialization: every unit of the input, and the flags."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.core.initialize import Initialization
from tmt_dq.core.sources.source import FlagSource, SourceReport
from tmt_dq.exposures.planes import FileReader
from tmt_dq.exposures.ramp import RampFile
from tmt_dq.exposures.record import Headers, Record, Tables
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Header
from tmt_dq.fits.encoding import image_header
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.layout import Unit, padded
from tmt_dq.fits.writer import UnitWriter
from tmt_dq.io.headstart import room_for_keywords
from tmt_dq.masks.mask import Stored

__all__ = ["FlagWriter", "Written", "write_exposure", "write_tables", "write_units"]


@dataclass(frozen=True, slots=True)
class Written:
    """The account of what was written.

    Parameters
    ----------
    counts : mapping of str to int
        Pixels per flag in PIXELDQ, GOOD included; empty where no source ran.
    reports : tuple of SourceReport
        What each source gave.
    """

    counts: dict[str, int]
    reports: tuple[SourceReport, ...]


def write_exposure(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    record: Record,
    target: Path,
    writer: UnitWriter,
) -> Written:
    """Write all units of an output.

    Parameters
    ----------
    exposure : RampFile
        The input.
    sources : sequence of FlagSource
        What adds flags; without any, the DQ extensions are left as they are.
    record : Record
        The outcome, for the headers.
    target : Path
        Name of the output, for the headers.
    writer : UnitWriter
        Where to write.

    Returns
    -------
    Written
        What was written.
    """
    work = Initialization(sources, image=exposure.ramp.is_image)
    flags = FlagWriter(exposure, work, writer) if sources else None
    # What is counted on the way is written into the primary header, which comes first: its room
    # is made for the largest numbers that can come.
    maker = Headers(exposure, target)
    longest = record.with_reports(work.longest_reports(exposure.ramp.shape))
    size = max(maker.primary_size(longest), room_for_keywords(exposure.file.units[0]))
    head = writer.reserve(size)
    write_units(exposure.file, writer, flags)
    if flags is not None:
        flags.write_missing(pixeldq=exposure.pixeldq is None, groupdq=exposure.groupdq is None)
        flags.finish()
    final = record.with_reports(work.reports())
    write_tables(maker.tables(final), writer, flagged=flags is not None)
    writer.write_at(head, maker.primary_bytes(final, size))
    return Written({} if flags is None else flags.counts(), final.reports)


def write_units(file: FitsInput, writer: UnitWriter, flags: "FlagWriter | None") -> None:
    """Write units in their order, those with flags in their new form; not what follows below."""
    for unit in file.units:
        if unit.index == 0:
            writer.copy_data(file, unit)
        elif unit.name == "ASDF" or (unit.name == "DQ_DEF" and flags):
            pass  # written anew, by `write_tables`
        elif flags is None or not flags.write_instead(unit):
            writer.copy(file, unit)


def write_tables(tables: Tables, writer: UnitWriter, *, flagged: bool) -> None:
    """Write the tables at an output's end."""
    if flagged:
        writer.write(*tables.dq_def)
    if tables.asdf is not None:
        # Last, where stdatamodels puts it.
        writer.write(*tables.asdf)


class FlagWriter:
    """Writes the DQ extensions of an output.

    Parameters
    ----------
    exposure : RampFile
        The exposure, whose own flags are kept.
    work : Initialization
        What adds flags.
    writer : UnitWriter
        Where to write.
    """

    def __init__(self, exposure: RampFile, work: Initialization, writer: UnitWriter) -> None:
        self.exposure = exposure
        self.work = work
        self.writer = writer
        self._reader = FileReader(exposure)
        self._copied: dict[str, int] | None = None
        self._later: tuple[int, Header] | None = None

    def counts(self) -> dict[str, int]:
        """Return the flags that occur, and GOOD."""
        return self.work.counts if self._copied is None else self._copied

    def write_instead(self, unit: Unit) -> bool:
        """Write the new form of an extension of the input; False where it stays as it is."""
        if unit is self.exposure.pixeldq:
            self._reserve_pixeldq(unit.header)
            return True
        if unit is self.exposure.groupdq and self.work.touches_groups:
            header = image_header("GROUPDQ", 8, unit.shape, like=unit.header)
            self._write_groupdq(header)
            return True
        return False

    def write_missing(self, *, pixeldq: bool, groupdq: bool) -> None:
        """Write the extensions that the exposure does not have."""
        if pixeldq:
            self._reserve_pixeldq(None)
        if groupdq and not self.exposure.ramp.is_image:
            header = image_header("GROUPDQ", 8, self.exposure.sci.shape)
            if self.work.touches_groups:
                self._write_groupdq(header)
            else:
                self.writer.write_zeros(header, math.prod(self.exposure.sci.shape))

    def finish(self) -> None:
        """Write PIXELDQ into the room that was left for it.

        It comes last, for what the counts show flags pixels too.
        """
        self.work.look(self._reader)
        if self._later is not None:
            place, header = self._later
            end, self.writer.place = self.writer.place, place
            if not self._copy_stored(header):
                self.writer.write_flags(
                    header, (flags for _, flags in self.work.rows(self._reader))
                )
            self.writer.place = max(end, self.writer.place)

    def _reserve_pixeldq(self, old: Header | None) -> None:
        shape = self.exposure.ramp.window.shape
        header = image_header(self.exposure.pixel_name, 32, shape, like=old)
        size = len(checksums.sign(header, 0)) + padded(4 * math.prod(shape))
        self._later = (self.writer.reserve(size), header)

    def _copy_stored(self, header: Header) -> bool:
        """Copy PIXELDQ from the mask's file, if it is nothing but that; False where it is not."""
        source = self.work.sole_source if self.exposure.pixeldq is None else None
        if source is None or not isinstance(source.stored, Stored) or source.pixels is None:
            return False
        if not self.writer.copy_flags(header, source.stored):
            return False
        self._copied = dict(source.stored.counts)
        return True

    def _write_groupdq(self, header: Header) -> None:
        size = math.prod(self.exposure.ramp.window.shape)
        self.writer.write_planes(header, self.work.planes(self._reader), size)
