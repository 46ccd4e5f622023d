"""Missing reads: groups that were not read, or follow a gap."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.exposure import Exposure
from tmt_dq.core.flags import GROUP
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import ConfigError

__all__ = ["missing_reads", "sources"]


def sources(recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a recipe."""
    readout = exposure.readout
    if recipe.missing_reads and readout.read_numbers is not None:
        source = missing_reads(readout.read_numbers, exposure.shape)
        if readout.incomplete and not source.remarks:
            remark = "COMPLETE is F, but no read is missing between the groups that are there"
            source = dataclasses.replace(source, remarks=(remark,))
        yield source


def missing_reads(numbers: Sequence[int], shape: tuple[int, int, int, int]) -> FlagSource:
    """Flag reads next to which others are missing, and rows that stand for none.

    `numbers` are the read numbers of the groups, in the order of the data: for one integration, if
    all are alike, or for all of them; a number below 1 marks a group that was not read. DROPOUT is
    given to all samples of a group that was not read, and of the first group after a gap in the
    numbers: its difference to the group before spans more than one read.
    """
    nints, ngroups, ny, nx = shape
    given = [int(number) for number in numbers]
    if len(given) not in {ngroups, nints * ngroups}:
        raise ConfigError(
            f"{len(given)} read numbers are given; expected {ngroups}, one a group"
            + (f", or {nints * ngroups} for all integrations" if nints > 1 else "")
        )
    rows = [given[first : first + ngroups] for first in range(0, len(given), ngroups)]
    lost = [_lost(row) for row in rows]
    plane = np.full((ny, nx), GROUP["DROPOUT"], np.uint8)

    def groups(integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        return plane if group in lost[integration if len(lost) > 1 else 0] else None

    absent = sum(missing for row in rows for missing in _gaps(row).values())
    return FlagSource(
        "missing reads",
        parameters={"groups": [group + 1 for group in sorted(set().union(*lost))]},
        pixel_bits=0,
        group_bits=GROUP["DROPOUT"],
        groups=groups,
        remarks=(f"{absent} reads are missing between the groups",) if absent else (),
    )


def _lost(numbers: Sequence[int]) -> set[int]:
    """Return the groups to flag."""
    return {group for group, number in enumerate(numbers) if number < 1} | set(_gaps(numbers))


def _gaps(numbers: Sequence[int]) -> dict[int, int]:
    """Return the first group after each gap, and how many reads the gap has."""
    gaps = {}
    previous: tuple[int, int] | None = None
    for group, number in enumerate(numbers):
        if number < 1:
            continue
        if previous is not None:
            step = number - previous[1]
            if step < 1:
                raise ConfigError(
                    f"read numbers do not increase: group {group + 1} has {number} after "
                    f"{previous[1]}"
                )
            # Groups that were not read stand for one read each and are flagged themselves.
            gap = step - (group - previous[0])
            if gap > 0:
                gaps[group] = gap
        previous = (group, number)
    return gaps
