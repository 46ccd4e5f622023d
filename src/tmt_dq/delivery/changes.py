"""Flags that a delivery changes: the new mask compared with the one in force."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window

__all__ = ["Changes", "compare_masks"]


@dataclass(frozen=True, slots=True)
class Changes:
    """Difference between a new mask and the mask in force.

    Parameters
    ----------
    mask : str or None
        The mask in force from the new one's USEAFTER on; None if there is none.
    pixels : int
        Pixels whose flags change; without a mask in force, those that have flags.
    fraction : float
        The share of them among the pixels of the new mask.
    flags : mapping of str to tuple of int
        Pixels that get, and that lose, each flag that changes anywhere, lowest bit first.
    """

    mask: str | None
    pixels: int
    fraction: float
    flags: Mapping[str, tuple[int, int]]

    def describe(self) -> str:
        """Describe the difference in one line."""
        counts = ", ".join(
            f"{name} +{added:,} -{removed:,}" for name, (added, removed) in self.flags.items()
        )
        detail = f" ({counts})" if counts else ""
        pixels = "1 pixel" if self.pixels == 1 else f"{self.pixels:,} pixels"
        if self.mask is None:
            return f"flags {pixels}{detail}, where no mask was in force"
        return f"changes the flags of {pixels}{detail} compared with {self.mask}"


def compare_masks(
    name: str | None,
    old: tuple[npt.NDArray[np.uint32], Window] | None,
    new: tuple[npt.NDArray[np.uint32], Window],
) -> Changes:
    """Compare a new mask with the one in force, called `name`; None if there is none."""
    after, window = new
    before = np.zeros_like(after) if old is None else _cut_out(*old, window)
    added, removed = PIXEL.count(after & ~before), PIXEL.count(before & ~after)
    flags = {
        flag.name: (added.get(flag.name, 0), removed.get(flag.name, 0))
        for flag in PIXEL.flags
        if flag.name in {*added, *removed}
    }
    pixels = int(np.count_nonzero(before != after))
    return Changes(name, pixels, pixels / after.size, flags)


def _cut_out(dq: npt.NDArray[np.uint32], place: Window, window: Window) -> npt.NDArray[np.uint32]:
    """Return the flags in a window; GOOD where `dq`, which lies at `place`, does not reach."""
    y, x = max(place.y, window.y), max(place.x, window.x)
    ny = min(place.y + place.ny, window.y + window.ny) - y
    nx = min(place.x + place.nx, window.x + window.nx) - x
    cut = np.zeros(window.shape, np.uint32)
    if ny > 0 and nx > 0:
        common = Window(y, x, ny, nx)
        cut[common.slices(window)] = dq[common.slices(place)]
    return cut
