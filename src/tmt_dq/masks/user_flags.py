"""A user's own flags for one exposure, from any file that people keep them in."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.merging import hold_to_policy
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.instruments import policy_flags
from tmt_dq.masks.formats import Target, read_flags
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["read_user_flags"]


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
