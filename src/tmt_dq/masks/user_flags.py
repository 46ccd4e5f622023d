"""A user's own flags for one exposure, from any file that people keep them in."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.merging import hold_to_policy
from tmt_dq.errors import GeometryError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.instruments import policy_flags
from tmt_dq.masks.dq_image import open_mask_file, size_text
from tmt_dq.masks.formats import FITS, Target, format_of, read_flags
from tmt_dq.masks.mask import Mask, read_dq_image
from tmt_dq.masks.reading import Reading

__all__ = ["read_user_dq", "read_user_flags"]


def read_user_flags(
    path: Path,
    ramp: Ramp,
    *,
    unknown: Unknown = "error",
    reading: Reading | None = None,
    do_not_use: str | Iterable[str] = "instrument",
) -> Mask:
    """Read a user's own flags: an image, a list of pixels or boxes, or DS9 regions.

    Without a `reading`, the values of a FITS image are flags of the convention or of the file's own
    DQ_DEF. Positions in lists and regions are those of the detector. `do_not_use` is the policy by
    which flags set DO_NOT_USE, as in a mask that is made of the file.
    """
    plain = reading is None or reading == Reading()
    if plain and format_of(path) is FITS and _has_image(path):
        flags = read_user_dq(path, ramp, unknown=unknown)
    else:
        target = Target.of(ramp.instrument, ramp.detector, ramp.window)
        flags = read_flags(path, target, reading)
    policy = policy_flags(do_not_use, ramp.instrument)
    dq, added = hold_to_policy(flags.dq, policy)
    if not added:
        return flags
    dq.flags.writeable = False
    remark = f"DO_NOT_USE set in {added:,} pixels, where {', '.join(policy)}"
    return dataclasses.replace(flags, dq=dq, remarks=(*flags.remarks, remark))


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
