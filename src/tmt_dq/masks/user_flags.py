"""A user's own flags for one exposure, from any file that people keep them in."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from tmt_dq.core.dq_def import Unknown
from tmt_dq.errors import MaskFormatError, RampFormatError, TmtDqError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.fits.file import open_input
from tmt_dq.masks.flag_files import file_kind, read_flags
from tmt_dq.masks.mask import Mask, read_user_dq
from tmt_dq.masks.reading import Reading

__all__ = ["read_user_flags"]

_OPTION = re.compile(r"--(flag|bad|good|values|base|at|columns|extension)\b")
"""Options of the verbs that make masks; those that apply flags have them with ``user-``."""


def read_user_flags(
    path: Path, ramp: Ramp, *, unknown: Unknown = "error", reading: Reading | None = None
) -> Mask:
    """Read a user's own flags: an image, a list of pixels or boxes, or DS9 or CRTF regions.

    Parameters
    ----------
    path : Path
        The file. A FITS image is as large as the data or the detector, as `read_user_dq` takes
        it; positions in lists and regions are detector positions.
    ramp : Ramp
        The exposure that the flags are for.
    unknown : {"error", "drop"}
        What to do about names and bits without a meaning.
    reading : Reading, optional
        What the file does not say itself: the flag, which values are bad, the base of a list.

    Returns
    -------
    Mask
        The flags.

    Raises
    ------
    ConfigError
        Raised if the file does not say what its numbers mean and nobody else does.
    MaskFormatError, UnknownFlagError
        Raised if the file cannot be understood.
    GeometryError
        Raised if it does not fit the data or the detector.
    """
    plain = reading is None or reading == Reading()
    if plain and (not path.is_file() or (file_kind(path) == "fits" and _has_image(path))):
        return read_user_dq(path, ramp, unknown=unknown)
    with _options_of_apply():
        return read_flags(path, shape=ramp.detector.shape, reading=reading, data=ramp.window)


@contextlib.contextmanager
def _options_of_apply() -> Iterator[None]:
    """Let hints name the options as they are called where flags are applied."""
    try:
        yield
    except TmtDqError as error:
        if error.hint is not None:
            error.hint = _OPTION.sub(r"--user-\1", error.hint)
            error.args = (str(error),)
        raise


def _has_image(path: Path) -> bool:
    try:
        with open_input(path) as file:
            return any(unit.is_image and unit.shape for unit in file.units) or len(file.units) == 1
    except RampFormatError as error:
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error
