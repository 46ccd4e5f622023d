"""The output of DQ initialization: every unit of the input, and the flags."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.dqinit import combine
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.sources import FlagSource
from tmt_dq.io.encoding import image_header, read_rows
from tmt_dq.io.layout import Unit
from tmt_dq.io.provenance import Record, output_headers
from tmt_dq.io.ramps import RampFile
from tmt_dq.io.units import UnitWriter

__all__ = ["FlagWriter", "write_exposure"]

_PIECE_BYTES = 4 * 1024 * 1024


def write_exposure(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    plane: npt.NDArray[np.uint8] | None,
    record: Record,
    target: Path,
    writer: UnitWriter,
) -> dict[str, int]:
    """Write all units of an output.

    Parameters
    ----------
    exposure : RampFile
        The input.
    sources : sequence of FlagSource
        What is added to PIXELDQ; without any, the DQ extensions are left as they are.
    plane : ndarray of uint8, (ny, nx), or None
        What is added to every group of GROUPDQ.
    record : Record
        The outcome, for the headers.
    target : Path
        Name of the output, for the headers.
    writer : UnitWriter
        Where to write.

    Returns
    -------
    dict of str to int
        Pixels per flag in PIXELDQ, GOOD included; empty where no source ran.
    """
    headers = output_headers(exposure, record, target)
    replaced = FlagWriter(exposure, sources, plane, writer) if sources else None
    for unit in exposure.file.units:
        if unit.index == 0:
            writer.copy_data(exposure.file, unit, headers.primary)
        elif unit.name == "ASDF" or (unit.name == "DQ_DEF" and replaced):
            pass  # written anew below
        elif replaced is None or not replaced.write_instead(unit):
            writer.copy(exposure.file, unit)
    if replaced is not None:
        replaced.write_missing(pixeldq=exposure.pixeldq is None, groupdq=exposure.groupdq is None)
        writer.write(*headers.dq_def)
    if headers.asdf is not None:
        # Last, where stdatamodels puts it.
        writer.write(*headers.asdf)
    return {} if replaced is None else replaced.counts()


class FlagWriter:
    """Writes the DQ extensions of an output.

    Parameters
    ----------
    exposure : RampFile
        The exposure, whose own flags are kept.
    sources : sequence of FlagSource
        What is added to PIXELDQ.
    plane : ndarray of uint8, (ny, nx), or None
        What is added to every group of GROUPDQ.
    writer : UnitWriter
        Where to write.
    """

    def __init__(
        self,
        exposure: RampFile,
        sources: Sequence[FlagSource],
        plane: npt.NDArray[np.uint8] | None,
        writer: UnitWriter,
    ) -> None:
        self.exposure = exposure
        self.sources = sources
        self.plane = plane
        self.writer = writer
        self._counts = dict.fromkeys(("GOOD", *(flag.name for flag in PIXEL.flags)), 0)

    def counts(self) -> dict[str, int]:
        """Return the flags that occur, and GOOD."""
        return {name: n for name, n in self._counts.items() if n or name == "GOOD"}

    def write_instead(self, unit: Unit) -> bool:
        """Write the new form of an extension of the input; False where it stays as it is."""
        if unit is self.exposure.pixeldq:
            self._write_pixeldq(unit.header)
            return True
        if unit is self.exposure.groupdq and self.plane is not None:
            header = image_header("GROUPDQ", 8, self.exposure.ramp.shape, like=unit.header)
            self.writer.write_planes(header, self._groupdq_planes())
            return True
        return False

    def write_missing(self, *, pixeldq: bool, groupdq: bool) -> None:
        """Write the extensions that the exposure does not have."""
        if pixeldq:
            self._write_pixeldq(None)
        if groupdq:
            header = image_header("GROUPDQ", 8, self.exposure.ramp.shape)
            if self.plane is None:
                self.writer.write_zeros(header, math.prod(self.exposure.ramp.shape))
            else:
                self.writer.write_planes(header, self._groupdq_planes())

    def _write_pixeldq(self, old: fits.Header | None) -> None:
        header = image_header("PIXELDQ", 32, self.exposure.ramp.window.shape, like=old)
        self.writer.write_flags(header, self._pixeldq_pieces())

    def _pixeldq_pieces(self) -> Iterator[npt.NDArray[np.uint32]]:
        """Yield PIXELDQ in pieces of rows, counting its flags on the way."""
        ny, nx = self.exposure.ramp.window.shape
        rows = max(1, _PIECE_BYTES // (4 * nx))
        for first in range(0, ny, rows):
            count = min(rows, ny - first)
            if self.exposure.pixeldq is None:
                flags = np.zeros((count, nx), np.uint32)
            else:
                flags = read_rows(self.exposure.file, self.exposure.pixeldq, first, count)
            piece = slice(first, first + count)
            combine(flags, *(source.pixels[piece] for source in self.sources), out=flags)
            for name, found in PIXEL.count(flags).items():
                self._counts[name] += found
            yield flags

    def _groupdq_planes(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield GROUPDQ plane by plane."""
        nints, ngroups, ny, nx = self.exposure.ramp.shape
        old = self.exposure.groupdq
        if old is None and self.plane is not None:
            # Every group gets the same plane: it is made once.
            yield from (self.plane for _ in range(nints * ngroups))
            return
        for number in range(nints * ngroups):
            flags = np.zeros((ny, nx), np.uint8)
            if old is not None:
                self.exposure.file.read_into(old, flags.data.cast("B"), number * ny * nx)
            if self.plane is not None:
                flags |= self.plane
            yield flags
