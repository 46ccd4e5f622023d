"""Flag sources: everything beside masks and users' flags that adds flags to an exposure.

One file a source. Its function ``sources`` yields what a recipe wants for an exposure.
"""

from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import (
    ad_limits,
    dropouts,
    group_propagation,
    guide_windows,
    missing_reads,
    non_finite,
    reference_pixels,
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
    dropouts,
    ad_limits,
    non_finite,
)


def recipe_sources(recipe: Recipe, exposure: Exposure) -> list[FlagSource]:
    """Return the sources of a recipe for an exposure, in the order in which reports list them."""
    return [source for module in _IN_ORDER for source in module.sources(recipe, exposure)]
