"""DO_NOT_USE of the mask in every group, as JWST's pipeline sets it since 2023.

Steps that look at GROUPDQ alone must not use these pixels.
"""

from collections.abc import Iterator

import numpy as np

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    if recipe.propagate_do_not_use and exposure.mask is not None:
        plane = (exposure.mask & np.uint32(PIXEL["DO_NOT_USE"])).astype(np.uint8)
        yield FlagSource(
            "DO_NOT_USE in groups",
            origin="mask",
            group_bits=GROUP["DO_NOT_USE"],
            groups=lambda _integration, _group: plane,
        )
