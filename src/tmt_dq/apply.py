"""Data-quality initialization of one exposure, from file to file."""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from tmt_dq.core.detector import (
    check_guide_windows,
    guide_windows,
    inside_subarrays,
    reference_pixels,
)
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.geometry import Window
from tmt_dq.core.reads import (
    ad_limits,
    do_not_use_in_groups,
    dropouts,
    missing_reads,
    non_finite,
)
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import FlagSource, SourceReport
from tmt_dq.errors import ConfigError, NoMatchError
from tmt_dq.instruments import Instrument
from tmt_dq.io import fetched
from tmt_dq.io.atomic import AtomicOutput, check_output, output_errors
from tmt_dq.io.headstart import Headstart
from tmt_dq.io.history import NO_FLAGS_BEFORE
from tmt_dq.io.inplace import InPlaceWriter, locked, unlocked
from tmt_dq.io.inputs import FitsInput, open_input
from tmt_dq.io.masks import Mask, check_belongs, cut_out, read_mask
from tmt_dq.io.names import default_output
from tmt_dq.io.outputs import Written, write_exposure
from tmt_dq.io.provenance import Record
from tmt_dq.io.ramps import Ramp, RampFile, read_ramp
from tmt_dq.io.reading import Reading
from tmt_dq.io.readout import Readout, read_readout
from tmt_dq.io.units import UnitWriter
from tmt_dq.io.urls import Place, Url, place_of
from tmt_dq.io.verification import has_flags

if TYPE_CHECKING:
    from astropy import table as astropy_table

    from tmt_dq.references.selection import Selection

__all__ = [
    "Applied",
    "IfNoMask",
    "Initializer",
    "Recipe",
    "apply_dq",
    "choose_recipe",
    "default_output",
    "gather_sources",
]

PathLike = str | os.PathLike[str] | Url
Status = Literal["COMPLETE", "SKIPPED"]
IfNoMask = Literal["error", "skip", "continue"]

_NOT_APPLICABLE = "N/A"


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply_dq` did.

    Attributes
    ----------
    input, output : Path
        The files; a `Url` in the place of a path for one elsewhere.
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
        from tmt_dq.notebook import as_astropy

        size = self.shape[2] * self.shape[3]
        rows = [(name, count, count / size) for name, count in self.counts.items()]
        return as_astropy(rows, ("flag", "pixels", "fraction"), meta={"file": str(self.output)})

    def _repr_html_(self) -> str:
        """Show what was done in a notebook."""
        from tmt_dq.notebook import Table, as_html, count_rows

        left_out = self.left_out.items()
        context = "" if self.selection is None else f" (chosen by {self.selection.context})"
        lines = [
            f"{self.output}  {self.status}{'' if self.written else ' (dry run: not written)'}",
            f"mask {self.mask}{context}",
            *(source.describe() for source in self.sources),
            *(f"left out as asked, from {path}: bits {list(bits)}" for path, bits in left_out),
        ]
        rows = count_rows(self.counts, self.shape[2] * self.shape[3])
        tables = [Table("Pixels per flag", ("flag", "pixels", "share"), rows, (1, 2))]
        return as_html(lines, tables if rows else ())


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
    in_place: bool = False,
    dry_run: bool = False,
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
    sync: bool = True,
    progress: Callable[[int], None] | None = None,
    begun: Headstart | None = None,
    fsspec_kwargs: Mapping[str, Any] | None = None,
) -> Applied:
    """Initialize the data quality of an exposure: a raw ramp in, a flagged ramp out.

    PIXELDQ and GROUPDQ are created where the input has none; the flags of the mask, and of the
    user, are added to PIXELDQ with a bitwise OR. The science data are copied byte for byte.

    Parameters
    ----------
    ramp : path or URL
        FITS file with the reads in SCI (nints, ngroups, ny, nx); may be compressed. Names with
        ``://`` are opened with fsspec; so are `output`, `output_dir`, `mask` and `user_dq`.
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
    in_place : bool
        Whether the flags are added to the input itself instead of a copy. The file is as it was,
        or complete, whatever happens; an interrupted run is taken back by the next one.
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
    fsspec_kwargs : mapping, optional
        Arguments for fsspec's file systems of all URLs given here, as in `astropy.io.fits.open`. By
        default what fsspec's configuration says.

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
    RemoteError
        Raised if what a URL names cannot be read.

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
    source = place_of(ramp, fsspec_kwargs)
    job = Initializer(
        source,
        mask if isinstance(mask, Mask) else _place(mask, fsspec_kwargs),
        _place(user_dq, fsspec_kwargs),
        user_reading,
        subarray,
        recipe,
        propagate_do_not_use,
        if_no_mask,
        unknown,
        crds_path,
        context,
    )
    if in_place:
        if output is not None or output_dir is not None:
            raise ConfigError("in_place and an output are both given; expected one of them")
        here = _path_in_place(source)
        opened = unlocked(here) if dry_run else locked(here)
        with opened as fd, open_input(source) as file:
            if file.compressed:
                raise ConfigError(
                    "a compressed file cannot be changed in place",
                    where=source,
                    hint="Expand it first, or write an output of its own.",
                )
            if dry_run:
                from tmt_dq.io.rehearsal import rehearse_change

                return dataclasses.replace(job.run(file, source, rehearse_change), written=False)
            return job.run(file, source, InPlaceWriter(fd, progress))
    target = _target(source, _place(output, fsspec_kwargs), _place(output_dir, fsspec_kwargs))
    _check_output(target, overwrite=overwrite, inputs=[source])

    def write(
        exposure: RampFile,
        sources: Sequence[FlagSource],
        record: Record,
    ) -> Written:
        if isinstance(target, Path):
            _check_output(target, overwrite=overwrite, inputs=[source, *job.references])
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

    scratch = Path(tempfile.gettempdir())
    if isinstance(target, Path) and not dry_run:
        scratch = target.parent
    with open_input(source, scratch=scratch, progress=progress) as file:
        return dataclasses.replace(job.run(file, target, write), written=not dry_run)


def _write_output(
    exposure: RampFile,
    sources: Sequence[FlagSource],
    record: Record,
    target: Place,
    *,
    overwrite: bool,
    sync: bool,
    progress: Callable[[int], None] | None,
    begun: Headstart | None,
) -> Written:
    """Write an output of its own, here or elsewhere."""
    if isinstance(target, Url) or isinstance(exposure.file.path, Url):
        from tmt_dq.io.remote_outputs import write_elsewhere

        return write_elsewhere(
            exposure,
            sources,
            record,
            target,
            overwrite=overwrite,
            sync=sync,
            progress=progress,
        )
    output = AtomicOutput(target, overwrite=overwrite, sync=sync)
    copy = None
    if begun is not None and begun.belongs_to(exposure.file.fd, output):
        output, copy = begun.output, begun.copy
    with (
        output as out,
        output_errors(target),
        UnitWriter(
            out.fd, progress=progress, writeback=sync, begun=copy, background=True
        ) as writer,
    ):
        return write_exposure(exposure, sources, record, target, writer)


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    # Anything else would quietly be taken for the milder choice.
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}")


def _path_in_place(source: Place) -> Path:
    """Return the path of an exposure that is to be changed where it is."""
    if isinstance(source, Url):
        raise ConfigError(
            "a file elsewhere cannot be changed in place",
            where=source,
            hint="Write an output of its own: objects are only replaced as a whole.",
        )
    return source


def _check_output(target: Place, *, overwrite: bool, inputs: Sequence[Place]) -> None:
    """Make sure that an output can be written, here or elsewhere."""
    if isinstance(target, Url):
        from tmt_dq.io.remote_outputs import check_remote_output

        check_remote_output(target, overwrite=overwrite, inputs=inputs)
        return
    here = [path for path in inputs if isinstance(path, Path)]
    check_output(target, overwrite=overwrite, inputs=here)


def _place(name: PathLike | None, options: Mapping[str, Any] | None) -> Place | None:
    return None if name is None else place_of(name, options)


Writer = Callable[[RampFile, Sequence[FlagSource], Record], Written]
"""Writes an exposure with its flags."""


@dataclass(slots=True)
class Initializer:
    """What is asked for one exposure; however the result is written, the work is the same."""

    source: Place
    mask: PathLike | Mask | None
    user_dq: PathLike | None
    user_reading: Reading | None
    subarray: tuple[int, int] | None
    recipe: Recipe | Mapping[str, object] | None
    propagate: bool | None
    if_no_mask: IfNoMask
    unknown: Unknown
    crds_path: str | os.PathLike[str] | None
    context: str | None
    references: list[Path] = field(default_factory=list)

    def run(self, file: FitsInput, target: Place, write: Writer) -> Applied:
        """Look at the exposure, gather its flags, have them written."""
        with fetched.names_of_fetched():
            return self._run(file, target, write)

    def _run(self, file: FitsInput, target: Place, write: Writer) -> Applied:
        exposure = read_ramp(file, start=self.subarray)
        ramp = exposure.ramp
        recipe = choose_recipe(ramp.instrument, self.recipe, propagate_do_not_use=self.propagate)
        selection, reference, missing = self._reference(ramp)
        user = None
        if self.user_dq is not None:
            from tmt_dq.io.user_flags import read_user_flags

            user = read_user_flags(
                fetched.fetch(place_of(self.user_dq)),
                ramp,
                unknown=self.unknown,
                reading=self.user_reading,
            )
        self.references = [flags.path for flags in (reference, user) if flags is not None]
        name = _mask_name(selection, self.mask)
        sources: list[FlagSource] = []
        if missing is None or self.if_no_mask == "continue":
            readout = read_readout(exposure, recipe)
            sources = gather_sources(
                ramp, self.source, reference, name, user, recipe=recipe, readout=readout
            )
        lines = [] if missing is None else [f"no mask: {missing.what.splitlines()[0]}"]
        if sources and not any(
            has_flags(file, unit) for unit in (exposure.pixeldq, exposure.groupdq)
        ):
            lines.append(NO_FLAGS_BEFORE)
        record = Record(
            status="COMPLETE" if sources else "SKIPPED",
            mask=name,
            context=None if selection is None else selection.context,
            crds_version=None if selection is None else selection.crds_version,
            lines=tuple(lines),
        )
        written = write(exposure, sources, record)
        return Applied(
            input=cast("Path", self.source),
            output=cast("Path", target),
            status=record.status,
            mask=name,
            mask_path=None if reference is None else self._mask_path(reference),
            selection=selection,
            sources=written.reports,
            counts=written.counts,
            shape=ramp.shape,
            left_out={
                fetched.origin(m.path): m.left_out for m in (reference, user) if m and m.left_out
            },
        )

    def _mask_path(self, reference: Mask) -> Path:
        return cast("Path", self.mask) if isinstance(self.mask, Url) else reference.path

    def _reference(self, ramp: Ramp) -> tuple["Selection | None", Mask | None, NoMatchError | None]:
        """Find and read the mask, from the caller or from the rules."""
        selection = None
        if isinstance(self.mask, Mask):
            reference = self.mask
        elif self.mask is not None:
            if str(self.mask).strip().upper() == _NOT_APPLICABLE:
                return None, None, None
            reference = read_mask(fetched.fetch(place_of(self.mask)), unknown=self.unknown)
        else:
            from tmt_dq.references.selection import select_reference

            try:
                selection = select_reference(
                    ramp.selectors,
                    instrument=ramp.instrument,
                    crds_path=None if self.crds_path is None else Path(self.crds_path),
                    context=self.context,
                    where=self.source,
                )
            except NoMatchError as error:
                if self.if_no_mask == "error":
                    raise
                return None, None, error
            if selection.path is None:
                return selection, None, None
            reference = read_mask(selection.path, unknown=self.unknown)
        check_belongs(reference, ramp, where=self.source)
        return selection, reference, None


def choose_recipe(
    instrument: Instrument,
    recipe: Recipe | Mapping[str, object] | None,
    *,
    propagate_do_not_use: bool | None = None,
) -> Recipe:
    """Return the recipe to follow.

    Parameters
    ----------
    instrument : Instrument
        The exposure's instrument.
    recipe : Recipe, mapping or None
        The caller's recipe; or what is different from the instrument's, by field.
    propagate_do_not_use : bool or None
        The caller's own word on that, which wins.

    Returns
    -------
    Recipe
        The recipe.

    Raises
    ------
    ConfigError
        Raised if the mapping has a field that recipes do not have.
    """
    if isinstance(recipe, Recipe):
        chosen = recipe
    else:
        known = [entry.name for entry in dataclasses.fields(Recipe)]
        unknown = sorted(set(recipe or {}) - set(known))
        if unknown:
            raise ConfigError(
                f"a recipe has no {', '.join(unknown)}; expected some of {', '.join(known)}"
            )
        chosen = dataclasses.replace(instrument.recipe, **(recipe or {}))  # type: ignore[arg-type]
    if propagate_do_not_use is None:
        return chosen
    return dataclasses.replace(chosen, propagate_do_not_use=propagate_do_not_use)


def _target(source: Place, output: Place | None, folder: Place | None) -> Place:
    if output is not None and folder is not None:
        raise ConfigError(
            "output and output_dir are both given; expected one of them",
            hint="Give output a path with a folder, or output_dir alone.",
        )
    if output is not None:
        return output
    return default_output(source, folder)


def _mask_name(selection: "Selection | None", mask: PathLike | Mask | None) -> str:
    """Return what R_MASK says."""
    if selection is not None:
        return selection.uri
    if isinstance(mask, Mask):
        return str(mask.path)
    if isinstance(mask, Url):
        return str(mask)
    text = _NOT_APPLICABLE if mask is None else str(mask).strip()
    return _NOT_APPLICABLE if text.upper() == _NOT_APPLICABLE else str(Path(text).absolute())


def gather_sources(
    ramp: Ramp,
    where: object,
    mask: Mask | None,
    mask_name: str,
    user: Mask | None,
    *,
    recipe: Recipe | None = None,
    readout: Readout | None = None,
) -> list[FlagSource]:
    """Return the sources that apply to an exposure, in their order.

    Parameters
    ----------
    ramp : Ramp
        The exposure.
    where : object
        Its file, named in errors.
    mask : Mask or None
        The mask reference.
    mask_name : str
        What R_MASK says.
    user : Mask or None
        The user's flags.
    recipe : Recipe, optional
        Which other sources run.
    readout : Readout, optional
        What the exposure's file says of its readout.

    Returns
    -------
    list of FlagSource
        Flags of the exposure's window.

    Raises
    ------
    GeometryError
        Raised if a source does not cover the data.
    MaskFormatError
        Raised if the mask or the user's flags are for another detector.
    """
    recipe = Recipe() if recipe is None else recipe
    readout = Readout() if readout is None else readout
    frame = Window.full(*ramp.detector.shape)
    sources = []
    for flags in (mask, user):
        if flags is not None:
            check_belongs(flags, ramp, where=where)
    mask_flags = None
    if mask is not None:
        mask_flags = cut_out(mask, ramp.window)
        stored = mask.stored if mask.window == ramp.window else None
        sources.append(
            FlagSource(
                "mask",
                mask_name,
                mask_flags,
                remarks=_left_out(mask),
                counts=None if stored is None else stored.counts,
                stored=stored,
            )
        )
    if user is not None:
        with user.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        user_flags = cut_out(user, ramp.window)
        parameters = {"sha256": digest}
        remarks = _left_out(user)
        sources.append(
            FlagSource("user DQ", user.path.name, user_flags, parameters, remarks=remarks)
        )
    if readout.subarr_map is not None:
        sources.append(inside_subarrays(readout.subarr_map))
    if recipe.reference_pixels:
        border = ramp.detector.reference_border
        sources.append(reference_pixels(ramp.window, frame, border, mask_flags))
    for windows, origin in (
        (recipe.guide_windows, "caller"),
        (readout.guide_windows, readout.guide_origin),
    ):
        if windows:
            check_guide_windows(windows, frame, ramp.shape[1], where=where)
            sources.append(
                guide_windows(
                    windows,
                    ramp.window,
                    origin=origin,
                    parts=recipe.guide_parts,
                    expand=recipe.guide_expand,
                )
            )
    if recipe.propagate_do_not_use and mask_flags is not None:
        sources.append(do_not_use_in_groups(mask_flags))
    return sources + _from_reads(ramp, recipe, readout)


def _left_out(flags: Mask | None) -> tuple[str, ...]:
    """Say which bits of a file were left out on request: the output must not hide it."""
    bits = {} if flags is None else flags.left_out
    return tuple(f"bit {bit} of {number} pixels left out" for bit, number in bits.items())


def _from_reads(ramp: Ramp, recipe: Recipe, readout: Readout) -> list[FlagSource]:
    """Return the sources that look at reads."""
    sources = []
    if recipe.missing_reads and readout.read_numbers is not None:
        source = missing_reads(readout.read_numbers, ramp.shape)
        if readout.incomplete and not source.remarks:
            remark = "COMPLETE is F, but no read is missing between the groups that are there"
            source = dataclasses.replace(source, remarks=(remark,))
        sources.append(source)
    if recipe.dropout_values:
        sources.append(dropouts(recipe.dropout_values))
    if recipe.ad_floor is not None or recipe.full_scale is not None:
        sources.append(ad_limits(floor=recipe.ad_floor, full_scale=recipe.full_scale))
    if recipe.non_finite:
        sources.append(non_finite())
    return sources
