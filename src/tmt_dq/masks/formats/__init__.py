"""Formats of bad-pixel files: a format is one module and one line of `FORMATS`."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.merging import hold_to_policy
from tmt_dq.core.options import option_table
from tmt_dq.errors import GeometryError, MaskFormatError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.instruments import policy_flags
from tmt_dq.masks.formats.fits import FITS
from tmt_dq.masks.formats.format import Format, Target, refuse
from tmt_dq.masks.formats.regions import DS9
from tmt_dq.masks.formats.text import TEXT
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["FITS", "FORMATS", "Format", "Target", "format_of", "read_flags", "read_user_flags"]

FORMATS: tuple[Format, ...] = (
    FITS,
    DS9,
    TEXT,
)
"""All formats; the first one that recognizes a file reads it, so that TEXT comes last."""

_HEAD = 4096


def format_of(path: Path) -> Format:
    """Return the format of a file, which its first bytes tell, or its name."""
    try:
        if path.exists() and not path.is_file():
            what = "is a folder" if path.is_dir() else "is not a regular file"
            raise MaskFormatError(f"{what}; expected a file with bad pixels", where=path)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        what, hint = f"cannot be read: {error.strerror}", "Check the path and its permissions."
        raise MaskFormatError(what, where=path, hint=hint) from error
    for known in FORMATS:
        if known.recognizes(path, head):
            return known
    expected = "; ".join(known.name for known in FORMATS)
    raise MaskFormatError(f"has no format that is known; expected one of: {expected}", where=path)


def read_flags(path: Path, target: Target, reading: Reading | None = None) -> Mask:
    """Read bad pixels from a file of any format that people keep them in."""
    reading = Reading() if reading is None else reading
    known = format_of(path)
    refused = (name for name in option_table(Reading) if name not in known.options)
    refuse(reading, path, f"this is {known.name}", *refused)
    mask = known.read(path, reading, target)
    return _inside_exposure(mask, target) if known.positions else mask


def read_user_flags(
    path: Path,
    ramp: Ramp,
    *,
    unknown: Unknown = "error",
    reading: Reading | None = None,
    do_not_use: str | Iterable[str] = "instrument",
) -> Mask:
    """Read a user's own flags: an image, a list of pixels or boxes, or DS9 regions.

    Without a `reading` the values of an image are flags of the convention or of its own DQ_DEF.
    """
    reading = dataclasses.replace(reading or Reading(), unknown=unknown)
    flags = read_flags(path, Target.of(ramp.instrument, ramp.detector, ramp.window), reading)
    policy = policy_flags(do_not_use, ramp.instrument)
    dq, added = hold_to_policy(flags.dq, policy)
    if not added:
        return flags
    dq.flags.writeable = False
    remark = f"DO_NOT_USE set in {added:,} pixels, where {', '.join(policy)}"
    return dataclasses.replace(flags, dq=dq, remarks=(*flags.remarks, remark))


def _inside_exposure(mask: Mask, target: Target) -> Mask:
    """Refuse positions of which none lies in the exposure; note how many do not."""
    if target.data is None:
        return mask
    flagged = int(np.count_nonzero(mask.dq))
    inside = int(np.count_nonzero(mask.dq[target.data.slices(mask.window)]))
    if inside == flagged:
        return mask
    finding = (
        f"{flagged - inside:,} of {flagged:,} flagged pixels lie outside the exposure, which "
        f"covers {target.data.describe()} of the detector"
    )
    if not inside:
        raise GeometryError(
            finding,
            where=mask.path,
            hint="Positions are those of the detector. If they count from the first pixel of the "
            "exposure, give its detector position.",
            options=("at",),
        )
    return dataclasses.replace(mask, remarks=(*mask.remarks, finding))
