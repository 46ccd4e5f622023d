"""Formats of bad-pixel files in general: the record of a format, and the target of reading."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.errors import MaskFormatError
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["Format", "Target", "read_text", "whole_detector"]


@dataclass(frozen=True, slots=True)
class Target:
    """The detector that flags are read for."""

    shape: tuple[int, int]
    names: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    data: Window | None = None

    @classmethod
    def of(cls, instrument: Instrument, detector: Detector, data: Window | None = None) -> "Target":
        """Return the target for a detector that is described."""
        names = {
            other.name: {name.upper() for name in (other.name, *other.aliases)}
            for other in instrument.detectors.values()
        }
        own = frozenset(names.get(detector.name, {detector.name.upper()}))
        return cls(detector.shape, own, frozenset().union(*names.values()) - own, data)


@dataclass(frozen=True, slots=True)
class Format:
    """A format of bad-pixel files.

    Parameters
    ----------
    name : str
        What a file of this format is, for messages: "a DS9 region file".
    recognizes : callable
        (path, first 4096 bytes) to whether the file is of this format.
    read : callable
        (path, reading, target) to the flags of the whole detector.
    options : frozenset of str
        Fields of `Reading` that mean something to this format; the others are refused.
    positions : bool
        Whether a file holds positions (a list or regions) and not an image.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    read: Callable[[Path, Reading, Target], Mask]
    options: frozenset[str]
    positions: bool = True


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text, without a byte order mark."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MaskFormatError(
            f"is no UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
            where=path,
            hint="Save it as UTF-8 or ASCII.",
        ) from error


def whole_detector(
    path: Path, dq: npt.NDArray[np.uint32], *, remarks: tuple[str, ...] = ()
) -> Mask:
    """Return flags of a whole detector as a mask."""
    dq.flags.writeable = False
    return Mask(path=path, dq=dq, window=Window.full(*dq.shape), placed=True, remarks=remarks)
