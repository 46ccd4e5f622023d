"""Flag sources: everything beside masks and users' flags that adds flags to an exposure.

One file a kind of source. Its function ``sources`` yields what a recipe wants for an exposure.
"""

from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import (
    group_propagation,
    guide_windows,
    missing_reads,
    reference_pixels,
    samples,
    subarrays,
)
from tmt_dq.core.sources.source import Exposure, FlagSource

__all__ = ["recipe_sources"]

_IN_ORDER = (
    subarrays,
    reference_pixels,
    guide_windows,
    group_propagation,
    missing_reads,
    samples,
)


def recipe_sources(recipe: Recipe, exposure: Exposure) -> list[FlagSource]:
    """Return the sources of a recipe for an exposure, in the order in which reports list them."""
    return [source for module in _IN_ORDER for source in module.sources(recipe, exposure)]
