"""Data-quality initialization of one exposure, from file to file."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tmt_dq.apply.options import ApplyOptions, DQBits, FileName, IfNoMask
from tmt_dq.apply.output import Applied, open_output
from tmt_dq.apply.plan import plan_exposure
from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError
from tmt_dq.files.names import default_output
from tmt_dq.files.url_arguments import staged
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

_log = logging.getLogger(__name__)


@staged("ramp", kept=("mask", "user_dq"), output=True)
def apply_dq(  # noqa: PLR0913 - the options of the verb, keyword-only
    ramp: FileName,
    output: FileName | None = None,
    *,
    output_dir: FileName | None = None,
    mask: FileName | Mask | None = None,
    user_dq: FileName | None = None,
    user_reading: Reading | None = None,
    user_do_not_use: str | Iterable[str] = "instrument",
    subarray: tuple[int, int] | None = None,
    propagate_do_not_use: bool | None = None,
    recipe: Recipe | Mapping[str, object] | None = None,
    if_no_mask: IfNoMask = "error",
    unknown: Unknown = "error",
    dq_bits: DQBits = "all",
    again: bool = False,
    start_over: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    crds_path: FileName | None = None,
    context: str | None = None,
    sync: bool = True,
    progress: Callable[[int], None] | None = None,
    fsspec_kwargs: Mapping[str, Any] | None = None,  # noqa: ARG001 - taken by `staged`
) -> Applied:
    """Initialize the data quality of an exposure: a raw ramp in, a flagged ramp out.

    PIXELDQ and GROUPDQ are created where the input has none; the flags of the mask, and of the
    user, are added to PIXELDQ with a bitwise OR. The science data are copied byte for byte.

    Parameters
    ----------
    ramp : path or URL
        FITS file with the reads in SCI (nints, ngroups, ny, nx), or in a layout that the
        instrument's description has; may be compressed.
    output : path or URL, optional
        The file to write. By default ``<root>_dqinit.fits`` beside the input, where a suffix
        ``_uncal`` of the input's name is left out.
    output_dir : path or URL, optional
        Folder for the default name.
    mask : path, URL or Mask, optional
        The mask to use instead of the one that CRDS' rules choose; "N/A" for none.
    user_dq : path or URL, optional
        Flags of your own: a FITS image as large as the data or the detector, a list of pixels or
        boxes, or DS9 regions.
    user_reading : Reading, optional
        What that file does not state itself: the flag, which values are bad, the base of a list.
    user_do_not_use : "instrument", "keep", or names of flags
        Which flags of that file also set DO_NOT_USE: those that the instrument's description
        names, none, or these; as in `tmt_dq.import_mask`.
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
    dq_bits : {"all", "low16"}
        What to do about flags of bits 16 to 31 where the exposure's file has the layout of another
        pipeline, whose own flags have 16 bits: raise, or leave them out of these and record that;
        PIXELDQ, which is written beside them, has all.
    again : bool
        Whether an exposure that was initialized already keeps its flags and gets more.
    start_over : bool
        Whether the flags of an earlier initialization are left out: only where its record says
        that the exposure had none before, and no later step is complete.
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
    fsspec_kwargs : mapping, optional
        Arguments for fsspec, which fetches and sends URLs, as of `astropy.io.fits.open`.

    Returns
    -------
    Applied
        What was done.

    Raises
    ------
    AlreadyInitializedError
        Raised if the input was initialized already, unless `again` or `start_over`.
    RampFormatError, GeometryError
        Raised if the input is not a ramp, or its shapes and keywords contradict one another.
    SelectionError
        Raised if the rules give no mask.
    MaskFormatError, UnknownFlagError
        Raised if the mask or the user's flags cannot be used.
    OutputError
        Raised if the output exists, or cannot be written.
    RemoteError
        Raised if a URL cannot be read.

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
    options = ApplyOptions(
        output_dir=output_dir,
        overwrite=overwrite,
        sync=sync,
        dry_run=dry_run,
        mask=mask,
        if_no_mask=if_no_mask,
        unknown=unknown,
        dq_bits=dq_bits,
        subarray=subarray,
        user_dq=user_dq,
        user_reading=user_reading,
        user_do_not_use=user_do_not_use,
        again=again,
        start_over=start_over,
        propagate_do_not_use=propagate_do_not_use,
        recipe=recipe,
        crds_path=crds_path,
        context=context,
    )
    source = Path(ramp)
    target = _target(source, output, output_dir)
    with open_output(source, target, options, progress) as out:
        applied = out.write(plan_exposure(out.exposure, options))
    verb = "would be written" if dry_run else "written"
    _log.info("%s: %s, mask %s; %s %s", ramp, applied.status, applied.mask, target, verb)
    for report in applied.sources:
        _log.debug("%s: %s", ramp, report.describe())
    return applied


def _target(source: Path, output: FileName | None, folder: FileName | None) -> Path:
    if output is None:
        return default_output(source, None if folder is None else Path(folder))
    if folder is not None:
        raise ConfigError(
            "output and output_dir are both given; expected one of them",
            hint="Give output a path with a folder, or output_dir alone.",
        )
    return Path(output)
