"""A user's own flags for one exposure, from any file that people keep them in."""

from pathlib import Path

from tmt_dq.core.dq_def import Unknown
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.masks.dq_image import open_mask_file
from tmt_dq.masks.formats import FITS, Target, format_of, read_flags
from tmt_dq.masks.mask import Mask, read_user_dq
from tmt_dq.masks.reading import Reading

__all__ = ["read_user_flags"]


def read_user_flags(
    path: Path, ramp: Ramp, *, unknown: Unknown = "error", reading: Reading | None = None
) -> Mask:
    """Read a user's own flags: an image, a list of pixels or boxes, or DS9 or CRTF regions.

    Without a `reading`, the values of a FITS image are flags of the convention or of the file's own
    DQ_DEF. Positions in lists and regions are those of the detector.

    Raises
    ------
    ConfigError
        Raised if neither the file nor `reading` gives the meaning of its numbers.
    MaskFormatError, UnknownFlagError
        Raised if the file cannot be understood.
    GeometryError
        Raised if it does not fit the data or the detector.
    """
    plain = reading is None or reading == Reading()
    if plain and format_of(path) is FITS and _has_image(path):
        return read_user_dq(path, ramp, unknown=unknown)
    return read_flags(path, Target.of(ramp.instrument, ramp.detector, ramp.window), reading)


def _has_image(path: Path) -> bool:
    with open_mask_file(path) as file:
        return any(unit.is_image and unit.shape for unit in file.units) or len(file.units) == 1
