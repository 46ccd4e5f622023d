"""DO_NOT_USE of the mask in every group, as JWST's pipeline sets it since 2023."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource

__all__ = ["do_not_use_in_groups", "propagate_do_not_use", "sources"]


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.propagate_do_not_use and exposure.mask is not None:
        yield do_not_use_in_groups(exposure.mask)


def propagate_do_not_use(mask: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Return the plane that every group of GROUPDQ gets for the mask's DO_NOT_USE pixels."""
    return (mask & np.uint32(PIXEL["DO_NOT_USE"])).astype(np.uint8)


def do_not_use_in_groups(mask: npt.NDArray[np.uint32]) -> FlagSource:
    """Flag the mask's DO_NOT_USE pixels in every group too.

    Steps that look at GROUPDQ alone must not use these pixels.
    """
    plane = propagate_do_not_use(mask)
    return FlagSource(
        "DO_NOT_USE in groups",
        origin="mask",
        pixel_bits=0,
        group_bits=GROUP["DO_NOT_USE"],
        groups=lambda _integration, _group: plane,
    )
