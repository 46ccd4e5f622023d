"""Output of an initialization: every unit of the exposure's file, and the flags."""

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.apply.plan import Plan
from tmt_dq.core.initialize import Initialization
from tmt_dq.core.sources.source import SourceReport
from tmt_dq.exposures.dq_sources import EXTENSION, sources_unit
from tmt_dq.exposures.earlier import begin
from tmt_dq.exposures.planes import LayoutFlags, plane_reader
from tmt_dq.exposures.ramp import RampFile, read_ramp
from tmt_dq.exposures.record import Headers, Record
from tmt_dq.files.atomic import atomic_output, check_not_input, check_output, output_errors
from tmt_dq.files.copying import Progress
from tmt_dq.fits.cards import Header
from tmt_dq.fits.encoding import count_flagged, has_flags
from tmt_dq.fits.file import open_input
from tmt_dq.fits.headers import image_header
from tmt_dq.fits.layout import Unit, padded
from tmt_dq.fits.tables import convention_unit
from tmt_dq.fits.writer import UnitWriter

if TYPE_CHECKING:
    from astropy import table as astropy_table

    from tmt_dq.references.selection import Selection

_CARDS = 20
"""Cards that an output has room for beside its input's: ten keywords, five of HISTORY, and a few
for more sources of flags. Outputs that need more have it, too, but are copied again. No more than
23: a ramp of IRIS' readout, with 12 cards, then keeps the size of its header, and file systems
that share blocks can share its science data."""
_WRITTEN_ANEW = frozenset({"DQ_DEF", "ASDF", EXTENSION})


@dataclass(frozen=True, slots=True)
class Applied:
    """What `tmt_dq.apply_dq` did.

    Attributes
    ----------
    input, output : Path or str
        The files; text for a URL, without what is secret in it.
    status : str
        S_DQINIT: "COMPLETE", or "SKIPPED" where the rules or the caller said N/A.
    mask : str
        R_MASK: ``crds://`` and the reference's name, the path of an override, or "N/A".
    mask_path : Path, str or None
        The mask file that was read.
    selection : Selection or None
        How the rules chose it; None where the caller named the mask.
    sources : tuple of SourceReport
        What each source flagged, in the order they were applied.
    counts : mapping of str to int
        Pixels per flag in the output's PIXELDQ; "GOOD" is the number without any flag.
    shape : tuple of int
        (nints, ngroups, ny, nx) of the exposure.
    pixels_before : int
        Pixels that the exposure had flags of before; they are kept.
    left_out : mapping of str to mapping of int to int
        Bits without a meaning that were dropped on request: file to bit to number of pixels.
    written : bool
        Whether the output was written; False for a dry run.
    """

    input: Path | str
    output: Path | str
    status: Literal["COMPLETE", "SKIPPED"]
    mask: str
    mask_path: Path | str | None
    selection: "Selection | None"
    sources: tuple[SourceReport, ...]
    counts: Mapping[str, int]
    shape: tuple[int, int, int, int]
    pixels_before: int = 0
    left_out: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    written: bool = True

    def to_table(self) -> "astropy_table.Table":
        """Return the pixels per flag as a table of astropy: flag, pixels, fraction."""
        from tmt_dq.tables import as_astropy

        size = self.shape[2] * self.shape[3]
        rows = [(name, count, count / size) for name, count in self.counts.items()]
        return as_astropy(rows, ("flag", "pixels", "fraction"), meta={"file": str(self.output)})

    def _repr_html_(self) -> str:
        """Show what was done in a notebook."""
        from tmt_dq.tables import as_html, flag_table

        left_out = self.left_out.items()
        context = "" if self.selection is None else f" (chosen by {self.selection.context})"
        lines = [
            f"{self.output}  {self.status}{'' if self.written else ' (dry run: not written)'}",
            f"mask {self.mask}{context}",
            *(source.describe() for source in self.sources),
            *([f"flags from before: {self.pixels_before:,} pixels"] if self.pixels_before else ()),
            *(f"left out as asked, from {path}: bits {list(bits)}" for path, bits in left_out),
        ]
        flags = flag_table(self.counts, self.shape[2] * self.shape[3])
        return as_html(lines, [flags] if flags.rows else ())


@dataclass(frozen=True, slots=True)
class Output:
    """The output of one exposure, open, with its science data on their way."""

    source: Path
    target: Path
    options: ApplyOptions
    exposure: RampFile
    writer: UnitWriter

    def write(self, plan: Plan) -> Applied:
        """Write all units; afterwards the output is complete."""
        check_not_input(self.target, plan.files)
        with output_errors(self.target):
            record = _write(self.exposure, plan, self.writer, self.target)
        self.exposure.file.verify()
        return Applied(
            input=self.source,
            output=self.target,
            status=record.status,
            mask=record.mask,
            mask_path=None if plan.mask is None else plan.mask.path,
            selection=plan.selection,
            sources=record.reports,
            counts=record.counts,
            shape=plan.ramp.shape,
            pixels_before=record.pixels_before,
            left_out=plan.left_out,
            written=not self.options.dry_run,
        )


@contextlib.contextmanager
def open_output(
    source: Path, target: Path, options: ApplyOptions, progress: Progress | None = None
) -> Iterator[Output]:
    """Open an exposure and its output, which gets its name at the end; a dry run writes nothing."""
    inputs = [source, *options.named_files()]
    with contextlib.ExitStack() as stack:
        scratch, fd = Path(tempfile.gettempdir()), None
        if options.dry_run:
            check_output(target, overwrite=options.overwrite, inputs=inputs)
        else:
            output = atomic_output(
                target, overwrite=options.overwrite, sync=options.sync, inputs=inputs
            )
            scratch, fd = target.parent, stack.enter_context(output)
        file = stack.enter_context(open_input(source, scratch=scratch, progress=progress))
        exposure = begin(
            read_ramp(file, start=options.subarray),
            again=options.again,
            start_over=options.start_over,
        )
        file = exposure.file
        writer = stack.enter_context(
            UnitWriter(fd, file, progress=progress, writeback=options.sync)
        )
        # The science data are the input's, whatever the flags: they are copied meanwhile.
        last = _last_unchanged(exposure)
        if last is not None:
            with output_errors(target):
                writer.copy_ahead(last, _room(file.units[0]))
        yield Output(source, target, options, exposure, writer)


def _write(exposure: RampFile, plan: Plan, writer: UnitWriter, target: Path) -> Record:
    """Write all units; return the record of what was done."""
    work = Initialization(plan.sources, image=exposure.ramp.is_image)
    headers = Headers(exposure, target)
    record = dataclasses.replace(
        plan.record,
        pixels_before=count_flagged(exposure.file, exposure.pixeldq),
        groups_before=exposure.ramp.layout is None and has_flags(exposure.file, exposure.groupdq),
    )
    # What is counted on the way is written into the primary header, which comes first: its room
    # is made for the largest numbers that can come.
    longest = record.with_flags(work.longest_reports(exposure.ramp.shape), {})
    head_size = max(headers.primary_size(longest), _room(exposure.file.units[0]))
    writer.reserve(head_size)
    if plan.sources:
        if exposure.ramp.layout is None:
            _write_flagged(exposure, work, writer)
        else:
            before = _write_in_layout(exposure, work, writer)
            record = dataclasses.replace(record, groups_before=before)
        writer.write(*convention_unit())
        record = record.with_flags(work.reports(), work.counts)
    else:
        for unit in exposure.file.units:
            _copy(unit, writer)
    writer.write(*sources_unit(record.sources))
    writer.write_head(0, headers.primary_bytes(record, head_size))
    asdf = headers.asdf_unit(record, writer.digest_of_headers())
    if asdf is not None:  # last, where stdatamodels puts it
        writer.write(*asdf)
    writer.finish()
    return record


def _write_flagged(exposure: RampFile, work: Initialization, writer: UnitWriter) -> None:
    """Write the units in their order, those with flags in their new form, then those missing."""
    reader = plane_reader(exposure)
    shape = exposure.sci.shape

    pixeldq = None
    for unit in exposure.file.units:
        if unit is exposure.pixeldq:
            pixeldq = _reserve_pixels(exposure, writer, unit.header)
        elif unit is exposure.groupdq and work.touches_groups:
            header = image_header("GROUPDQ", 8, shape, like=unit.header)
            writer.write_planes(header, work.planes(reader), shape)
        elif unit.name != "DQ_DEF":
            _copy(unit, writer)
    if pixeldq is None:
        pixeldq = _reserve_pixels(exposure, writer)
    if exposure.groupdq is None and not exposure.ramp.is_image:
        planes = work.planes(reader) if work.touches_groups else ()
        writer.write_planes(image_header("GROUPDQ", 8, shape), planes, shape)
    # It comes last, for what the counts show flags pixels too.
    writer.write_flags(*pixeldq, (flags for _, flags in work.rows(reader)))


def _write_in_layout(exposure: RampFile, work: Initialization, writer: UnitWriter) -> bool:
    """Write the units of another pipeline's layout, its flags filled; tell whether it had any."""
    own = LayoutFlags(exposure)
    pixeldq = place = None
    for unit in exposure.file.units:
        if unit is exposure.pixeldq:
            pixeldq = _reserve_pixels(exposure, writer, unit.header)
        elif unit is own.unit:
            place = writer.reserve_image(unit.header, unit.data_size)
        elif unit.name != "DQ_DEF":
            _copy(unit, writer)
    assert place is not None
    # They are needed twice: encoded in PIXELDQ, and for each sample.
    flags = np.empty(exposure.ramp.window.shape, np.uint32)
    for rows, piece in work.rows(plane_reader(exposure)):
        flags[rows] = piece
    pieces = own.pieces(flags, work.samples)
    writer.write_flags(place, own.unit.header, pieces)
    writer.write_flags(*(pixeldq or _reserve_pixels(exposure, writer)), [flags])
    return own.before


def _reserve_pixels(
    exposure: RampFile, writer: UnitWriter, old: Header | None = None
) -> tuple[int, Header]:
    """Leave room for PIXELDQ, or the DQ of an image; return the place and the header."""
    shape = exposure.ramp.window.shape
    header = image_header(exposure.ramp.pixel_name, 32, shape, like=old)
    return writer.reserve_image(header, 4 * math.prod(shape)), header


def _copy(unit: Unit, writer: UnitWriter) -> None:
    if unit.index == 0:
        writer.copy_data(unit)
    elif unit.name not in {"ASDF", EXTENSION}:
        writer.copy(unit)


def _last_unchanged(exposure: RampFile) -> Unit | None:
    """Return the last unit before the first that is written anew."""
    last = None
    for unit in exposure.file.units:
        anew = unit.index > 0 and unit.name in _WRITTEN_ANEW
        if anew or unit is exposure.pixeldq or unit is exposure.groupdq:
            break
        if last is not None and unit.header_offset != last.end:
            break  # an extension between them is left out
        last = unit
    return last


def _room(primary: Unit) -> int:
    """Return how many bytes the primary header of an output has at least."""
    cards = sum(len(card.image) // 80 for card in primary.header.cards)
    return padded(80 * (cards + _CARDS + 1))
