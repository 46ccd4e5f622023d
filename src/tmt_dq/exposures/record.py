"""Record of an initialization in an output: keywords, HISTORY, DQ_SOURCES and ASDF."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tmt_dq import __version__
from tmt_dq.core.dq_def import DefinedBit, translation
from tmt_dq.core.geometry import Window
from tmt_dq.core.sources.source import SourceReport
from tmt_dq.errors import RampFormatError
from tmt_dq.exposures.dq_sources import BEFORE, MASK, RecordedSource
from tmt_dq.exposures.ramp import Ramp, RampFile
from tmt_dq.fits import checksums
from tmt_dq.fits.cards import Header, Value, ascii_text
from tmt_dq.fits.tables import read_dq_def

SOFTWARE = f"tmt-dq {__version__}"
"""CAL_VER: the software that made a file, and its version."""


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome of an initialization."""

    status: Literal["COMPLETE", "SKIPPED"]
    mask: str
    sha256: str = ""  # of the mask's file
    context: str | None = None  # None, as the next, where the rules were not asked
    crds_version: str | None = None
    lines: tuple[str, ...] = ()  # of HISTORY, beside those of the sources
    reports: tuple[SourceReport, ...] = ()
    pixels_before: int = 0  # that had flags before
    groups_before: bool = False  # whether samples had
    counts: Mapping[str, int] = field(default_factory=dict)  # pixels per flag that were written

    def with_flags(self, reports: tuple[SourceReport, ...], counts: Mapping[str, int]) -> "Record":
        """Return the record with what the sources did, and the pixels per flag."""
        return dataclasses.replace(self, reports=reports, counts=counts)

    def keywords(self, *, before: bool) -> list[tuple["Keyword", Value]]:
        """Return the keywords of the outcome, None for those of a run `before` to be removed."""
        found = [(keyword, keyword.value(self)) for keyword in _KEYWORDS]
        return [(keyword, value) for keyword, value in found if before or value is not None]

    @property
    def history(self) -> list[str]:
        """The lines of HISTORY, for people."""
        chosen = "" if self.context is None else f" (context {self.context})"
        lines = [f"{self.status}, mask {self.mask}{chosen}", *self.lines]
        if self.status == "COMPLETE" and not (self.pixels_before or self.groups_before):
            lines.append("the exposure had no flags before")
        lines += [report.describe() for report in self.reports]
        return [f"{SOFTWARE} dq_init: {line}" for line in lines]

    @property
    def sources(self) -> list[RecordedSource]:
        """The rows of DQ_SOURCES."""
        rows = []
        if self.status == "COMPLETE":
            before = {"groups": self.groups_before}
            rows.append(RecordedSource(BEFORE, "", "", self.pixels_before, before))
        context = {} if self.context is None else {"context": self.context}
        if not any(report.kind == MASK for report in self.reports):
            rows.append(RecordedSource(MASK, self.mask, self.sha256, 0, context))
        for report in self.reports:
            parameters: dict[str, Any] = dict(report.parameters)
            digest = parameters.pop("sha256", "")
            if report.kind == MASK:
                digest, parameters = self.sha256, parameters | context
            if report.samples:
                parameters["samples"] = dict(report.samples)
            if report.remarks:
                parameters["remarks"] = list(report.remarks)
            rows.append(
                RecordedSource(report.kind, report.origin, digest, report.flagged, parameters)
            )
        return rows


class Keyword(NamedTuple):
    """A keyword of outputs, the place of the same in a model and ASDF, and where it comes from."""

    name: str
    model: str
    comment: str
    source: str | Callable[[Any], Value]
    """An attribute of what the keyword describes, or a function of it."""

    def value(self, described: Any) -> Value:
        """Return the keyword's value."""
        if callable(self.source):
            return self.source(described)
        value: Value = getattr(described, self.source)
        return value


_KEYWORDS = (
    Keyword("S_DQINIT", "meta.cal_step.dq_init", "Data quality initialization", "status"),
    Keyword("R_MASK", "meta.ref_file.mask.name", "Bad-pixel mask reference file", "mask"),
    Keyword(
        "CAL_VER",
        "meta.calibration_software_version",
        "Calibration software version",
        lambda _: SOFTWARE,
    ),
    Keyword("CRDS_CTX", "meta.ref_file.crds.context_used", "CRDS context", "context"),
    Keyword("CRDS_VER", "meta.ref_file.crds.sw_version", "CRDS software version", "crds_version"),
)
"""The keywords of an outcome, from a `Record`."""

_PLACE = (
    Keyword("SUBSTRT1", "meta.subarray.xstart", "First detector pixel in x, from 1", "xstart"),
    Keyword("SUBSTRT2", "meta.subarray.ystart", "First detector pixel in y, from 1", "ystart"),
    Keyword("SUBSIZE1", "meta.subarray.xsize", "Pixels in x", "nx"),
    Keyword("SUBSIZE2", "meta.subarray.ysize", "Pixels in y", "ny"),
)
"""The keywords of a place, from a `Window`."""


def place_keywords(ramp: Ramp) -> list[tuple[Keyword, Value]]:
    """Return the keywords of a subarray's place, none for a full frame."""
    if ramp.window == Window.full(*ramp.detector.shape):
        return []
    return [(keyword, keyword.value(ramp.window)) for keyword in _PLACE]


class Headers:
    """The headers of an output: those of its input, and the record.

    RampFormatError if the input has a DQ_DEF table that contradicts the convention, or several
    extensions ASDF.
    """

    def __init__(self, exposure: RampFile, target: Path) -> None:
        for unit in exposure.file.named("DQ_DEF"):
            check_meaning(read_dq_def(exposure.file, unit), exposure.file.path)
        self._exposure = exposure
        self._target = target
        self._was_initialized = "S_DQINIT" in exposure.file.units[0].header
        units = exposure.file.named("ASDF")
        if len(units) > 1:
            raise RampFormatError(
                f"has {len(units)} extensions ASDF; expected one",
                where=exposure.file.path,
                hint="Remove those that do not belong to it: only one can be brought up to date.",
            )
        self._asdf = (units[0].header, exposure.file.read(units[0])) if units else None

    def asdf_unit(self, record: Record, digest: str) -> tuple[Header, bytes] | None:
        """Return the extension that stdatamodels keeps, brought up to date; None without one.

        `digest` is that of all headers of the output.
        """
        if self._asdf is None:
            return None
        from tmt_dq.fits.asdf_tree import ArrayNode, asdf_hdu_bytes, refresh

        header, old = self._asdf
        ramp, arrays = self._exposure.ramp, {}
        metadata: dict[str, object] = {"meta.filename": self._target.name}
        keywords = record.keywords(before=self._was_initialized)
        metadata |= {keyword.model: value for keyword, value in keywords}
        if record.status == "COMPLETE":
            # What no schema of another pipeline knows is under extra_fits.
            name = ramp.pixel_name
            place = name.lower() if ramp.layout is None else f"extra_fits.{name}.data"
            arrays[place] = ArrayNode(f"{name},1", ramp.window.shape, "uint32")
            if ramp.layout is None and not ramp.is_image:
                arrays["groupdq"] = ArrayNode("GROUPDQ,1", self._exposure.sci.shape, "uint8")
        if ramp.layout is not None and ramp.layout.status is not None:
            metadata[ramp.layout.status] = record.status
        new = refresh(
            old,
            arrays=arrays,
            metadata=metadata,
            history=record.history,
            # Ours are read by their headers; a pipeline that fails to needs the tree to be true.
            fits_hash=None if ramp.layout is None else digest,
        )
        return asdf_hdu_bytes(new, header)

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
        return checksums.sign(self._primary(record), known, size=size)

    def _primary(self, record: Record) -> Header:
        primary = self._exposure.file.units[0].header.copy()
        present = self._exposure.header
        if "DATAMODL" not in primary:
            primary["DATAMODL"] = "TMTRampModel"
        primary.set("DATE", _now(), "UTC date this file was made")
        primary.set("FILENAME", ascii_text(self._target.name), "Name of the file")
        place = [
            pair for pair in place_keywords(self._exposure.ramp) if pair[0].name not in present
        ]
        for keyword, value in (*record.keywords(before=self._was_initialized), *place):
            if value is None:
                primary.remove(keyword.name)
                continue
            shown = ascii_text(value) if isinstance(value, str) else value
            primary.set(keyword.name, shown, keyword.comment)
        for line in record.history:
            primary.add_history(ascii_text(line))
        return primary


def _now() -> str:
    now = dt.datetime.now(dt.UTC)
    return now.replace(tzinfo=None).isoformat(timespec="milliseconds")


def check_meaning(rows: Sequence[DefinedBit], where: object) -> None:
    """Refuse a ramp whose own DQ_DEF gives its bits another meaning than the convention."""
    meaning = translation(rows, where=f"{where}[DQ_DEF]")
    if any(bit != flag for bit, flag in meaning.items()):
        raise RampFormatError(
            "DQ_DEF gives the bits of this ramp another meaning than the flag convention",
            where=where,
            hint="Translate its PIXELDQ and remove the table, then try again.",
        )
