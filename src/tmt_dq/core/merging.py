"""Masks merged, cleared and held to a policy: flags in, flags out, each bit by itself."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, GeometryError

Flags = npt.NDArray[np.uint32]

MergeRule = Literal["any", "all"] | int
"""In how many of the masks a pixel must carry a flag: any, all, or at least this many."""

_ROWS = 64
"""Rows that are merged together: few enough to stay in the processor's cache."""


def needed(rule: MergeRule, count: int) -> int:
    """Return in how many of `count` masks a flag must be; ConfigError where that cannot be."""
    number = {"any": 1, "all": count}.get(str(rule).lower(), rule)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= count:
        raise ConfigError(
            f"the rule is {rule!r}; expected any, all, or a number of masks from 1 to {count}",
            where="rule",
            hint="A pixel keeps a flag that at least so many masks give it.",
        )
    return number


def merge(
    masks: Sequence[Flags],
    rule: MergeRule = "any",
    *,
    per_flag: Mapping[str, MergeRule] | None = None,
) -> Flags:
    """Merge masks of one shape flag by flag, by a rule for all and others for flags by name."""
    if not masks:
        raise ConfigError("there is nothing to merge; expected at least one mask", where="masks")
    shapes = {mask.shape for mask in masks}
    if len(shapes) > 1:
        raise GeometryError(
            f"masks have the shapes {', '.join(map(str, sorted(shapes)))}; expected one",
            where="masks",
        )
    bits = dict.fromkeys([needed(rule, len(masks))], PIXEL.mask)
    for name, other in (per_flag or {}).items():
        value = PIXEL.encode(name)
        for number in bits:
            bits[number] &= ~value
        number = needed(other, len(masks))
        bits[number] = bits.get(number, 0) | value
    merged = np.empty_like(masks[0], dtype=np.uint32)
    for first in range(0, len(merged), _ROWS):
        rows = slice(first, first + _ROWS)
        levels = _levels([mask[rows] for mask in masks], max(bits))
        merged[rows] = 0
        for number, chosen in bits.items():
            merged[rows] |= levels[number - 1] & np.uint32(chosen)
    return merged


def _levels(masks: Sequence[Flags], most: int) -> list[Flags]:
    """Return, for 1 to `most`, the bits that at least so many of the masks have."""
    levels = [np.zeros_like(masks[0]) for _ in range(most)]
    for mask in masks:
        for number in range(most - 1, 0, -1):
            levels[number] |= levels[number - 1] & mask
        levels[0] |= mask
    return levels


def hold_to_policy(dq: Flags, policy: Sequence[str]) -> tuple[Flags, int]:
    """Set DO_NOT_USE where a flag of `policy` demands it; count the pixels that got it."""
    do_not_use = np.uint32(PIXEL["DO_NOT_USE"])
    demanding = np.uint32(PIXEL.encode(policy))
    if not demanding:
        return dq, 0
    changed = ((dq & demanding) != 0) & ((dq & do_not_use) == 0)
    count = int(np.count_nonzero(changed))
    if not count:
        return dq, 0
    return dq | changed * do_not_use, count
