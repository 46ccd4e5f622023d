"""What the output says of how it was made: keywords, HISTORY, DQ_DEF and the ASDF extension."""

import dataclasses
import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt_dq import __version__
from tmt_dq.core.dq_def import translation
from tmt_dq.core.geometry import Window
from tmt_dq.core.sources.source import SourceReport
from tmt_dq.errors import RampFormatError
from tmt_dq.exposures.ramp import RampFile, merged_header
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Header, Value, ascii_text
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.tables import read_dq_def

__all__ = ["SOFTWARE", "Headers", "Record", "history_lines"]

SOFTWARE = f"tmt-dq {__version__}"
"""CAL_VER: what made a file, and which version of it."""


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome, for the output's headers.

    Parameters
    ----------
    status : str
        S_DQINIT.
    mask : str
        R_MASK.
    context, crds_version : str or None
        CRDS_CTX and CRDS_VER, None where CRDS was not asked.
    lines : tuple of str
        HISTORY, beside the lines of the sources.
    reports : tuple of SourceReport
        What each source did.
    """

    status: Literal["COMPLETE", "SKIPPED"]
    mask: str
    context: str | None
    crds_version: str | None
    lines: tuple[str, ...] = ()
    reports: tuple[SourceReport, ...] = ()

    def with_reports(self, reports: tuple[SourceReport, ...]) -> "Record":
        """Return the record with what the sources did."""
        return dataclasses.replace(self, reports=reports)


class Headers:
    """Makes the headers of an output, from what its input says and what was done.

    Parameters
    ----------
    exposure : RampFile
        The input.
    target : Path
        The output.

    Raises
    ------
    RampFormatError
        Raised if the input has a DQ_DEF table that contradicts the convention, or several
        extensions ASDF.
    """

    def __init__(self, exposure: RampFile, target: Path) -> None:
        _check_dq_def(exposure.file)
        self._exposure = exposure
        self._target = target
        units = exposure.file.named("ASDF")
        if len(units) > 1:
            raise RampFormatError(
                f"has {len(units)} extensions ASDF; expected one",
                where=exposure.file.path,
                hint="Remove those that do not belong to it: only one can be brought up to date.",
            )
        self._asdf = (units[0].header, exposure.file.read(units[0])) if units else None

    def asdf(self, record: Record) -> tuple[Header, bytes] | None:
        """Return the ASDF extension, brought up to date; None where the input has none."""
        if self._asdf is None:
            return None
        return _asdf_unit(*self._asdf, self._exposure, record, self._target)

    def primary_size(self, record: Record) -> int:
        """Return how many bytes the primary header takes."""
        return len(checksums.sign(self._primary(record), 0))

    def primary_bytes(self, record: Record, size: int) -> bytes:
        """Return the primary header, filled to a size.

        CHECKSUM and DATASUM are written where the sum of the data is known without reading them:
        where the input declares it, or has no data in its primary unit.
        """
        unit = self._exposure.file.units[0]
        known = 0 if unit.data_size == 0 else checksums.datasum(unit.header)
        if known is None:
            return checksums.unsigned(self._primary(record), size=size)
        return checksums.sign(self._primary(record), known, size=size)

    def _primary(self, record: Record) -> Header:
        primary = self._exposure.file.units[0].header.copy()
        cards: dict[str, tuple[Value, str]] = {
            "DATE": (_now(), "UTC date this file was made"),
            "FILENAME": (self._target.name, "Name of the file"),
            "S_DQINIT": (record.status, "Data quality initialization"),
            "R_MASK": (record.mask, "Bad-pixel mask reference file"),
            "CAL_VER": (SOFTWARE, "Calibration software version"),
        }
        if record.context is not None:
            cards["CRDS_CTX"] = (record.context, "CRDS context")
            cards["CRDS_VER"] = (record.crds_version, "CRDS software version")
        if "DATAMODL" not in primary:
            primary["DATAMODL"] = "TMTRampModel"
        cards |= self._place()
        for keyword, (value, comment) in cards.items():
            primary.set(keyword, ascii_text(value) if isinstance(value, str) else value, comment)
        for line in history_lines(record):
            primary.add_history(ascii_text(line))
        return primary

    def _place(self) -> dict[str, tuple[Value, str]]:
        """Return the keywords of a subarray's place that the caller said, not the headers."""
        ramp = self._exposure.ramp
        if ramp.window == Window.full(*ramp.detector.shape):
            return {}
        window, said = ramp.window, merged_header(self._exposure)
        cards: dict[str, tuple[Value, str]] = {
            "SUBSTRT1": (window.xstart, "First detector pixel in x, from 1"),
            "SUBSTRT2": (window.ystart, "First detector pixel in y, from 1"),
            "SUBSIZE1": (window.nx, "Pixels in x"),
            "SUBSIZE2": (window.ny, "Pixels in y"),
        }
        return {keyword: card for keyword, card in cards.items() if keyword not in said}


def history_lines(record: Record) -> list[str]:
    """Return the HISTORY lines of an outcome."""
    version = f"{SOFTWARE} dq_init"
    chosen = "" if record.context is None else f" (context {record.context})"
    first = f"{version}: {record.status}, mask {record.mask}{chosen}"
    lines = (*record.lines, *(report.describe() for report in record.reports))
    return [first, *(f"{version}: {line}" for line in lines)]


def _now() -> str:
    now = dt.datetime.now(dt.UTC)
    return now.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _check_dq_def(file: FitsInput) -> None:
    """Refuse a ramp whose own DQ_DEF gives its bits another meaning than the convention."""
    for unit in file.named("DQ_DEF"):
        rows = read_dq_def(file, unit)
        meaning = translation(rows, where=f"{file.path}[DQ_DEF]")
        if not meaning.is_identity:
            raise RampFormatError(
                "DQ_DEF gives the bits of this ramp another meaning than the flag convention",
                where=file.path,
                hint="Translate its PIXELDQ and remove the table, then try again.",
            )


def _asdf_unit(
    header: Header, old: bytes, exposure: RampFile, record: Record, target: Path
) -> tuple[Header, bytes]:
    """Return the ASDF extension that stdatamodels keeps, with what is new in the output."""
    from tmt_dq.fits.asdf_tree import ArrayNode, asdf_hdu_bytes, refresh

    arrays = {}
    if record.status == "COMPLETE":
        name = exposure.pixel_name
        arrays = {name.lower(): ArrayNode(f"{name},1", exposure.ramp.window.shape, "uint32")}
        if not exposure.ramp.is_image:
            arrays["groupdq"] = ArrayNode("GROUPDQ,1", exposure.sci.shape, "uint8")
    metadata: dict[str, object] = {
        "meta.filename": target.name,
        "meta.cal_step.dq_init": record.status,
        "meta.ref_file.mask.name": record.mask,
        "meta.calibration_software_version": SOFTWARE,
    }
    if record.context is not None:
        metadata["meta.ref_file.crds.context_used"] = record.context
        metadata["meta.ref_file.crds.sw_version"] = record.crds_version
    return asdf_hdu_bytes(
        refresh(old, arrays=arrays, metadata=metadata, history=history_lines(record)),
        header,
    )
