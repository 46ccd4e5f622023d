"""Data-quality initialization of one exposure, from file to file."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from tmt_dq.apply.output import Written, write_exposure
from tmt_dq.apply.plan import IfNoMask, PathLike, Request
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource, SourceReport
from tmt_dq.errors import ConfigError
from tmt_dq.exposures.history import NO_FLAGS_BEFORE
from tmt_dq.exposures.ramp import RampFile, read_ramp
from tmt_dq.exposures.readout import read_readout
from tmt_dq.exposures.record import Record
from tmt_dq.files.atomic import AtomicOutput, check_output, output_errors
from tmt_dq.files.names import default_output
from tmt_dq.fits.encoding import has_flags
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.writer import UnitWriter
from tmt_dq.io.headstart import Headstart
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

if TYPE_CHECKING:
    from astropy import table as astropy_table

    from tmt_dq.references.selection import Selection

__all__ = ["Applied", "Initializer", "apply_dq"]

Status = Literal["COMPLETE", "SKIPPED"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply_dq` did.

    Attributes
    ----------
    input, output : Path
        The files.
    status : str
        S_DQINIT: "COMPLETE", or "SKIPPED" where the rules or the caller said N/A.
    mask : str
        R_MASK: ``crds://`` and the reference's name, the path of an override, or "N/A".
    mask_path : Path or None
        The mask file that was read.
    selection : Selection or None
        How the rules chose it; None where the caller named the mask.
    sources : tuple of SourceReport
        What each source flagged, in the order they were applied.
    counts : mapping of str to int
        Pixels per flag in the output's PIXELDQ; "GOOD" is the number without any flag.
    shape : tuple of int
        (nints, ngroups, ny, nx) of the exposure.
    left_out : mapping of str to mapping of int to int
        Bits without a meaning that were dropped on request: file to bit to number of pixels.
    written : bool
        Whether the output was written; False for a dry run.
    """

    input: Path
    output: Path
    status: Status
    mask: str
    mask_path: Path | None
    selection: "Selection | None"
    sources: tuple[SourceReport, ...]
    counts: Mapping[str, int]
    shape: tuple[int, int, int, int]
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
            *(f"left out as asked, from {path}: bits {list(bits)}" for path, bits in left_out),
        ]
        flags = flag_table(self.counts, self.shape[2] * self.shape[3])
        return as_html(lines, [flags] if flags.rows else ())


def apply_dq(  # noqa: PLR0913 - the options of the verb, keyword-only
    ramp: PathLike,
    output: PathLike | None = None,
    *,
    output_dir: PathLike | None = None,
    mask: PathLike | Mask | None = None,
    user_dq: PathLike | None = None,
    user_reading: Reading | None = None,
    subarray: tuple[int, int] | None = None,
    propagate_do_not_use: bool | None = None,
    recipe: Recipe | Mapping[str, object] | None = None,
    if_no_mask: IfNoMask = "error",
    unknown: Unknown = "error",
    overwrite: bool = False,
    dry_run: bool = False,
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
    sync: bool = True,
    progress: Callable[[int], None] | None = None,
    begun: Headstart | None = None,
) -> Applied:
    """Initialize the data quality of an exposure: a raw ramp in, a flagged ramp out.

    PIXELDQ and GROUPDQ are created where the input has none; the flags of the mask, and of the
    user, are added to PIXELDQ with a bitwise OR. The science data are copied byte for byte.

    Parameters
    ----------
    ramp : path
        FITS file with the reads in SCI (nints, ngroups, ny, nx); may be compressed.
    output : path, optional
        The file to write. By default ``<root>_dqinit.fits`` beside the input, where a suffix
        ``_uncal`` of the input's name is left out.
    output_dir : path, optional
        Folder for the default name.
    mask : path or Mask, optional
        The mask to use instead of the one that CRDS' rules choose; "N/A" for none.
    user_dq : path, optional
        Flags of your own: a FITS image as large as the data or the detector, a list of pixels or
        boxes, or DS9 or CRTF regions.
    user_reading : Reading, optional
        What that file does not say itself: the flag, which values are bad, the base of a list.
    subarray : tuple of int, optional
        1-based x and y of the first pixel on the detector, where the header does not say.
    propagate_do_not_use : bool, optional
        Whether the mask's DO_NOT_USE pixels are flagged in every group of GROUPDQ too. By default
        as `recipe` says.
    recipe : Recipe or mapping, optional
        Which other sources flag the exposure, and how; or what is different from the instrument's
        own recipe, by field.
    if_no_mask : {"error", "skip", "continue"}
        What to do where the rules have no mask for the exposure: raise; write S_DQINIT = SKIPPED
        and nothing else; apply the other sources.
    unknown : {"error", "drop"}
        What to do about bits and DQ_DEF names without a meaning.
    overwrite : bool
        Whether an existing output is replaced.
    dry_run : bool
        Whether everything is done but the writing: the same checks, the same counts. A compressed
        input is expanded into the system's folder for temporary files.
    crds_path, context : optional
        As in `tmt_dq.select_mask`.
    sync : bool
        Whether to wait until the output is safely on the disk before it gets its name.
    progress : callable, optional
        Called with the number of bytes written since the last call.
    begun : Headstart, optional
        A copy of the ramp's science data into this output that was begun before
        (`tmt_dq.io.headstart.begin`); the caller's to give up if this raises.

    Returns
    -------
    Applied
        What was done.

    Raises
    ------
    RampFormatError, GeometryError
        Raised if the input is not a ramp, or its shapes and keywords contradict one another.
    SelectionError
        Raised if the rules give no mask.
    MaskFormatError, UnknownFlagError
        Raised if the mask or the user's flags cannot be used.
    OutputError
        Raised if the output exists, or cannot be written.

    Notes
    -----
    Nothing is left behind when an exception is raised. Memory does not grow with the ramp.

    Examples
    --------
    >>> from tmt_dq import apply_dq
    >>> applied = apply_dq("iris_0001_uncal.fits", "flagged.fits")
    >>> applied.status, applied.mask
    ('COMPLETE', 'crds://tmt_iris_mask_0101.fits')
    """
    _check_choice("if_no_mask", if_no_mask, get_args(IfNoMask))
    _check_choice("unknown", unknown, get_args(Unknown))
    source = Path(ramp)
    request = Request(
        mask=mask,
        user_dq=user_dq,
        user_reading=user_reading,
        recipe=recipe,
        propagate_do_not_use=propagate_do_not_use,
        if_no_mask=if_no_mask,
        unknown=unknown,
        crds_path=crds_path,
        context=context,
    )
    job = Initializer(source, request, subarray)
    target = _target(source, output, output_dir)
    check_output(target, overwrite=overwrite, inputs=[source])

    def write(
        exposure: RampFile,
        sources: Sequence[FlagSource],
        record: Record,
    ) -> Written:
        check_output(target, overwrite=overwrite, inputs=[source, *job.references])
        if dry_run:
            from tmt_dq.io.rehearsal import rehearse

            return rehearse(exposure, sources, record)
        return _write_output(
            exposure,
            sources,
            record,
            target,
            overwrite=overwrite,
            sync=sync,
            progress=progress,
            begun=begun,
        )

    scratch = Path(tempfile.gettempdir()) if dry_run else target.parent
    with open_input(source, scratch=scratch, progress=progress) as file:
        return dataclasses.replace(job.run(file, target, write), written=not dry_run)


def _write_output(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    record: Record,
    target: Path,
    *,
    overwrite: bool,
    sync: bool,
    progress: Callable[[int], None] | None,
    begun: Headstart | None,
) -> Written:
    """Write the output."""
    output = AtomicOutput(target, overwrite=overwrite, sync=sync)
    copy = None
    if begun is not None and begun.belongs_to(exposure.file.fd, output):
        output, copy = begun.output, begun.copy
    with output as out, output_errors(target):
        with UnitWriter(
            out.fd, progress=progress, writeback=sync, begun=copy, background=True
        ) as writer:
            written = write_exposure(exposure, sources, record, target, writer)
        exposure.file.verify()
    return written


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    # Anything else would quietly be taken for the milder choice.
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}")


Writer = Callable[[RampFile, Sequence[FlagSource], Record], Written]
"""Writes an exposure with its flags."""


@dataclass(slots=True)
class Initializer:
    """What is done to one exposure in a file; however the result is written, the work is the same.

    Parameters
    ----------
    source : Path
        The exposure.
    request : Request
        What is asked for it.
    subarray : tuple of int or None
        1-based x and y of the first pixel on the detector, where the header does not say.

    Attributes
    ----------
    references : list of Path
        The files that flags were read from, once they were.
    """

    source: Path
    request: Request
    subarray: tuple[int, int] | None = None
    references: list[Path] = field(default_factory=list)

    def run(self, file: FitsInput, target: Path, write: Writer) -> Applied:
        """Look at the exposure, gather its flags, have them written."""
        exposure = read_ramp(file, start=self.subarray)
        plan = self.request.plan(
            exposure.ramp, self.source, lambda recipe: read_readout(exposure, recipe)
        )
        given = [flags for flags in (plan.mask, plan.user) if flags is not None]
        self.references = [flags.path for flags in given]
        record = plan.record
        if plan.sources and not any(
            has_flags(file, unit) for unit in (exposure.pixeldq, exposure.groupdq)
        ):
            record = dataclasses.replace(record, lines=(*record.lines, NO_FLAGS_BEFORE))
        written = write(exposure, plan.sources, record)
        return Applied(
            input=self.source,
            output=target,
            status=record.status,
            mask=record.mask,
            mask_path=None if plan.mask is None else plan.mask.path,
            selection=plan.selection,
            sources=written.reports,
            counts=written.counts,
            shape=exposure.ramp.shape,
            left_out={str(m.path): m.left_out for m in given if m.left_out},
        )


def _target(source: Path, output: PathLike | None, folder: PathLike | None) -> Path:
    if output is not None and folder is not None:
        raise ConfigError(
            "output and output_dir are both given; expected one of them",
            hint="Give output a path with a folder, or output_dir alone.",
        )
    if output is not None:
        return Path(output)
    return default_output(source, None if folder is None else Path(folder))
