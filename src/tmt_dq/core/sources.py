"""Flag sources: what adds flags to an exposure, and the account of what each one added."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL

__all__ = ["FlagSource", "SourceReport"]


@dataclass(frozen=True, slots=True, eq=False)
class FlagSource:
    """Flags for one exposure, and where they come from.

    Parameters
    ----------
    kind : str
        What kind of source it is: "mask", "user_dq".
    origin : str
        Which one: ``crds://tmt_iris_mask_0001.fits``, a file name.
    pixels : ndarray of uint32, (ny, nx)
        Flags of the exposure's pixels; not modified.
    """

    kind: str
    origin: str
    pixels: npt.NDArray[np.uint32]

    def report(self) -> "SourceReport":
        """Count what the source flags."""
        counts = PIXEL.count(self.pixels)
        return SourceReport(self.kind, self.origin, self.pixels.size - counts.pop("GOOD"), counts)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What one source did.

    Parameters
    ----------
    kind, origin : str
        As in `FlagSource`.
    flagged : int
        Pixels with at least one flag of the source.
    counts : mapping of str to int
        Pixels per flag.
    """

    kind: str
    origin: str
    flagged: int
    counts: Mapping[str, int]
