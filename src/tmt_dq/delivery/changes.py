"""Flags that a delivery changes: the new mask compared with the one in force."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import overlap
from tmt_dq.masks.mask import Mask

__all__ = ["Changes", "compare_masks"]


@dataclass(frozen=True, slots=True)
class Changes:
    """Difference between a new mask and the mask in force from its USEAFTER on."""

    mask: str | None  # the one in force; None if there is none
    pixels: int  # those whose flags change
    fraction: float  # their share of the new mask
    flags: Mapping[str, tuple[int, int]]  # pixels that get and that lose each flag

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


def compare_masks(name: str | None, old: Mask | None, new: Mask) -> Changes:
    """Compare a new mask with the one in force, called `name`, which may be smaller or None."""
    before = np.zeros_like(new.dq)
    if old is not None:
        before[overlap(old.window, new.window)] = old.dq[overlap(new.window, old.window)]
    added, removed = PIXEL.count(new.dq & ~before), PIXEL.count(before & ~new.dq)
    flags = {
        flag.name: (added.get(flag.name, 0), removed.get(flag.name, 0))
        for flag in PIXEL.flags
        if flag.name in {*added, *removed}
    }
    pixels = int(np.count_nonzero(before != new.dq))
    return Changes(name, pixels, pixels / new.dq.size, flags)
