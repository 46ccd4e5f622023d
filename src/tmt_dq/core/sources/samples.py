"""Sources that flag samples: what the counts show, and reads that never arrived."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.initialize import propagate_do_not_use
from tmt_dq.core.sources.source import FlagSource, Found
from tmt_dq.errors import ConfigError

__all__ = ["ad_limits", "do_not_use_in_groups", "dropouts", "missing_reads", "non_finite"]


def do_not_use_in_groups(mask: npt.NDArray[np.uint32]) -> FlagSource:
    """Flag the mask's DO_NOT_USE pixels in every group too.

    JWST's pipeline does so since 2023: steps that look at GROUPDQ alone must not use the pixels.

    Parameters
    ----------
    mask : ndarray of uint32, (ny, nx)
        Flags of the mask.

    Returns
    -------
    FlagSource
        DO_NOT_USE of samples.
    """
    plane = propagate_do_not_use(mask)
    return FlagSource(
        "DO_NOT_USE in groups",
        origin="mask",
        pixel_bits=0,
        group_bits=GROUP["DO_NOT_USE"],
        groups=lambda _integration, _group: plane,
    )


def dropouts(values: Sequence[float]) -> FlagSource:
    """Flag samples at a value that stands for "no data".

    Parameters
    ----------
    values : sequence of float
        The values, DN. NaN stands for NaN.

    Returns
    -------
    FlagSource
        DROPOUT of samples: data lost on their way, as the convention defines the flag.

    Raises
    ------
    ConfigError
        Raised if there is no value.
    """
    wanted = tuple(float(value) for value in values)
    if not wanted:
        raise ConfigError("no value stands for lost data; expected at least one")
    bit = np.uint8(GROUP["DROPOUT"])

    def look(counts: npt.NDArray[np.generic]) -> Found:
        lost = np.zeros(counts.shape, bool)
        for value in wanted:
            lost |= np.isnan(counts) if np.isnan(value) else counts == value
        return Found(samples=_flagged(lost, bit))

    return FlagSource(
        "dropouts", parameters={"values": wanted}, pixel_bits=0, group_bits=int(bit), look=look
    )


def ad_limits(*, floor: float | None = None, full_scale: float | None = None) -> FlagSource:
    """Flag samples at the ends of the A/D converter's range.

    Parameters
    ----------
    floor : float, optional
        Counts at or below which the converter saw less than it can measure, DN: 0 for uint16.
    full_scale : float, optional
        Counts at or above which it saw more, DN: 65535 for uint16.

    Returns
    -------
    FlagSource
        AD_FLOOR and SATURATED of samples, as the convention defines them. At the floor JWST's
        saturation step sets DO_NOT_USE with AD_FLOOR; that decision is left to that step.

    Raises
    ------
    ConfigError
        Raised if neither limit is given, or the floor is not below the full scale.
    """
    if floor is None and full_scale is None:
        raise ConfigError("neither a floor nor a full scale is given; expected at least one")
    for name, limit in (("floor", floor), ("full scale", full_scale)):
        if limit is not None and np.isnan(limit):
            raise ConfigError(f"the {name} is NaN, which no count reaches; expected a number")
    if floor is not None and full_scale is not None and floor >= full_scale:
        raise ConfigError(f"the floor {floor} is not below the full scale {full_scale}")
    low, high = np.uint8(GROUP["AD_FLOOR"]), np.uint8(GROUP["SATURATED"])
    bits = (int(low) if floor is not None else 0) | (int(high) if full_scale is not None else 0)

    def look(counts: npt.NDArray[np.generic]) -> Found:
        planes = []
        if floor is not None:
            planes.append(_flagged(counts <= floor, low))  # type: ignore[operator]
        if full_scale is not None:
            planes.append(_flagged(counts >= full_scale, high))  # type: ignore[operator]
        present = [plane for plane in planes if plane is not None]
        if len(present) == 2:
            return Found(samples=present[0] | present[1])
        return Found(samples=present[0] if present else None)

    parameters = {"floor": floor, "full_scale": full_scale}
    return FlagSource(
        "A/D limits",
        parameters={key: value for key, value in parameters.items() if value is not None},
        pixel_bits=0,
        group_bits=bits,
        look=look,
    )


def non_finite() -> FlagSource:
    """Flag pixels whose value is NaN or infinite in any read.

    Returns
    -------
    FlagSource
        DO_NOT_USE and OTHER_BAD_PIXEL of pixels: no flag of the convention says why a number is
        missing, and nothing can be computed from it. Integer data have no such values, but for
        those that the file declares undefined (BLANK).
    """
    bits = np.uint32(PIXEL.encode("DO_NOT_USE OTHER_BAD_PIXEL"))

    def look(counts: npt.NDArray[np.generic]) -> Found:
        if counts.dtype.kind != "f":
            return Found()
        bad = ~np.isfinite(counts)
        return Found(pixels=np.where(bad, bits, np.uint32(0)) if bad.any() else None)

    return FlagSource("non-finite pixels", pixel_bits=int(bits), look=look)


def missing_reads(numbers: Sequence[int], shape: tuple[int, int, int, int]) -> FlagSource:
    """Flag reads next to which others are missing, and rows that stand for none.

    Parameters
    ----------
    numbers : sequence of int
        The read number of each group, in the order of the data; either for one integration, if
        all are alike, or for all of them. A number below 1 says that the group was not read.
    shape : tuple of int
        (nints, ngroups, ny, nx) of the exposure.

    Returns
    -------
    FlagSource
        DROPOUT of all samples of a group that was not read, and of the first group after a gap
        in the numbers: its difference to the group before spans more than one read.

    Raises
    ------
    ConfigError
        Raised if there are not as many numbers as groups, or they do not increase.
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


def _flagged(where: npt.NDArray[np.bool_], bit: np.uint8) -> npt.NDArray[np.uint8] | None:
    """Return the flag where something is true; None where nothing is."""
    return where.view(np.uint8) * bit if where.any() else None
