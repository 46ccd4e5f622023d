"""A user's own flags for one exposure, from any file that people keep them in."""

import dataclasses
from pathlib import Path

from tmt_dq.core.dq_def import Unknown
from tmt_dq.errors import GeometryError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.masks.dq_image import open_mask_file, size_text
from tmt_dq.masks.formats import FITS, Target, format_of, read_flags
from tmt_dq.masks.mask import Mask, read_dq_image
from tmt_dq.masks.reading import Reading

__all__ = ["read_user_dq", "read_user_flags"]


def read_user_flags(
    path: Path, ramp: Ramp, *, unknown: Unknown = "error", reading: Reading | None = None
) -> Mask:
    """Read a user's own flags: an image, a list of pixels or boxes, or DS9 or CRTF regions.

    Without a `reading`, the values of a FITS image are flags of the convention or of the file's own
    DQ_DEF. Positions in lists and regions are those of the detector.
    """
    plain = reading is None or reading == Reading()
    if plain and format_of(path) is FITS and _has_image(path):
        return read_user_dq(path, ramp, unknown=unknown)
    return read_flags(path, Target.of(ramp.instrument, ramp.detector, ramp.window), reading)


def read_user_dq(path: Path, ramp: Ramp, *, unknown: Unknown = "error") -> Mask:
    """Read a user's own flags: a FITS image as large as the data or as the detector."""
    user = read_dq_image(path, unknown=unknown)
    if user.placed or user.dq.shape == ramp.detector.shape:
        return user
    if user.dq.shape == ramp.window.shape:
        return dataclasses.replace(user, window=ramp.window)
    raise GeometryError(
        f"the user DQ image is {size_text(user.dq.shape)}; expected the size of the data, "
        f"{size_text(ramp.window.shape)}, or of the detector, {size_text(ramp.detector.shape)}",
        where=path,
        hint="Add SUBSTRT1 and SUBSTRT2 to its header if it covers another part of the detector.",
    )


def _has_image(path: Path) -> bool:
    with open_mask_file(path) as file:
        return any(unit.is_image and unit.shape for unit in file.units) or len(file.units) == 1
