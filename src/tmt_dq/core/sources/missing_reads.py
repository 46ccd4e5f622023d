"""Missing reads: groups that were not read, or follow a gap.

DROPOUT is given to all samples of a group that was not read (its number is below 1), and of the
first group after a gap in the numbers: its difference to the group before spans more than one read.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource
from tmt_dq.errors import ConfigError


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    numbers = exposure.readout.read_numbers
    if not recipe.missing_reads or numbers is None:
        return
    nints, ngroups, ny, nx = exposure.shape
    if len(numbers) not in {ngroups, nints * ngroups}:
        raise ConfigError(
            f"{len(numbers)} read numbers are given; expected {ngroups}, one a group"
            + (f", or {nints * ngroups} for all integrations" if nints > 1 else ""),
            where=exposure.name,
        )
    # All integrations are alike where there are numbers for one only.
    rows = [numbers[first : first + ngroups] for first in range(0, len(numbers), ngroups)]
    lost, missing = zip(*(_examine(row, exposure.name) for row in rows), strict=True)
    plane = np.full((ny, nx), GROUP["DROPOUT"], np.uint8)

    def groups(integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        return plane if group in lost[integration % len(lost)] else None

    remarks: tuple[str, ...] = ()
    if sum(missing):
        remarks = (f"{sum(missing):,} reads are missing between the groups",)
    elif exposure.readout.incomplete:
        remarks = ("COMPLETE is F, but no read is missing between the groups that are there",)
    yield FlagSource(
        "missing reads",
        parameters={"groups": [group + 1 for group in sorted(set().union(*lost))]},
        group_bits=GROUP["DROPOUT"],
        groups=groups,
        remarks=remarks,
    )


def _examine(numbers: Sequence[int], where: object) -> tuple[set[int], int]:
    """Return the groups to flag, and how many reads the gaps between groups have."""
    reads = np.array(numbers, np.int64)
    (there,) = np.nonzero(reads > 0)
    steps = np.diff(reads[there])
    if (steps < 1).any():
        first, group = there[int(np.argmax(steps < 1)) :][:2]
        raise ConfigError(
            f"read numbers do not increase: group {group + 1} has {reads[group]} after "
            f"{reads[first]}",
            where=where,
            hint="Correct the table of read numbers, or leave out missing_reads.",
        )
    # Groups that were not read stand for one read each and are flagged themselves.
    gaps = steps - np.diff(there)
    lost = {*np.flatnonzero(reads < 1).tolist(), *there[1:][gaps > 0].tolist()}
    return lost, int(gaps[gaps > 0].sum())
