"""Maps: one value a pixel and statistic, of the whole window, from which finders decide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.statistics import Floats
from tmt_dq.errors import ConfigError

Bools = npt.NDArray[np.bool_]

UNITS = {
    "bias_scatter": ("e-", "standard deviation of the first read over the darks"),
    "dark_rate": ("e-/s", "median over the darks, corrected for inter-pixel capacitance"),
    "dark_rate_error": ("e-/s", "standard error of dark_rate"),
    "dark_rate_high": ("e-/s", "70 % of the darks are at or below it"),
    "dark_rate_low": ("e-/s", "30 % of the darks are at or below it"),
    "dark_rate_scatter": ("e-/s", "standard deviation over the darks"),
    "difference_noise": ("e-", "standard deviation of read differences of the darks"),
    "flat_saturated": ("1", "fraction of the flats that saturate"),
    "high_share": ("1", "share of the darks above the middle of dark_rate_low and dark_rate_high"),
    "neighbour_response": ("1", "mean response of four neighbours, those below 0.5 left out"),
    "nonlinearity": ("1", "deviation from the population's response, standard deviations"),
    "nonlinearity_fraction": ("1", "largest deviation from the population's response"),
    "rc_excess": ("e-", "first three read differences less three late ones"),
    "response": ("1", "flat over its local level, corrected for inter-pixel capacitance"),
    "saturated": ("1", "fraction of the darks that saturate"),
    "saturated_first": ("1", "fraction of the darks that are saturated in the first read"),
    "telegraph": ("1", "significance of falling edges, standard deviations"),
}
"""Unit and meaning of each map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsSettings:
    """How maps are made of the reads; the table ``statistics`` of a recipe.

    Parameters
    ----------
    saturation_dn : float
        Counts from which a read is saturated, DN.
    ipc_coupling : float
        Share of a pixel's charge that each of four neighbours sees (inter-pixel capacitance).
        1.6 to 1.9 % is measured for H4RG-10 arrays (Mosby et al. 2020, JATIS 6, 046001).
    mesh_pixels : int
        Size of the boxes of which the median is the local level of a flat, pixels.
    linearity_parts : int
        Parts of a flat ramp whose rates are compared with each other.
    linearity_floor : float
        Deviations from the population that are not noise, as a fraction of the rate.
    """

    saturation_dn: float = 60000.0
    ipc_coupling: float = 0.0175
    mesh_pixels: int = 64
    linearity_parts: int = 5
    linearity_floor: float = 0.003


@dataclass(frozen=True, slots=True, eq=False)
class Maps(Mapping[str, Floats]):
    """Maps of a window of a detector.

    Parameters
    ----------
    arrays : mapping of str to ndarray of float32, (ny, nx)
        The maps; `UNITS` has their units.
    reference : ndarray of bool, (ny, nx)
        Reference pixels.
    darks, reads : int
        Number of darks, and of reads of each.
    dark_seconds : float
        Time between the first and the last read of a dark, s.
    flags : ndarray of uint32, (ny, nx)
        What other finders found; zero but for those that run last.
    channel_columns : int
        Columns of a readout channel, 0 where there is one.
    """

    arrays: Mapping[str, Floats]
    reference: Bools
    darks: int = 0
    reads: int = 0
    dark_seconds: float = 0.0
    channel_columns: int = 0
    flags: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, 0), np.uint32))

    def __getitem__(self, name: str) -> Floats:
        try:
            return self.arrays[name]
        except KeyError:
            raise ConfigError(
                f"there is no map {name}; found {', '.join(sorted(self.arrays)) or 'none'}",
                where="maps",
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def active(self) -> Bools:
        """Pixels that see light."""
        return ~self.reference

    def with_flags(self, flags: npt.NDArray[np.uint32]) -> "Maps":
        """Return the same maps with what was found so far."""
        return replace(self, flags=flags)


def derive_maps(
    raw: Mapping[str, Floats], reference: Bools, settings: MapsSettings, darks: int
) -> dict[str, Floats]:
    """Return maps from statistics: absolute rates, local levels, without neighbours' charge."""
    maps = {name: values for name, values in raw.items() if name in UNITS}
    coupling = np.float32(settings.ipc_coupling)
    if "dark_rate" in raw:
        excess = maps["rc_excess"] = _deconvolve(raw["rc_excess"], coupling)
        level = _dark_level(raw, reference)
        # What settles is no dark current: the late reads tell the rate.
        error = raw["difference_noise"] * np.float32(1.25 / np.sqrt(darks))
        settling = np.abs(excess) > 5 * error
        # Half of a ramp has 1/8 of the weight of the whole; the median of normal values scatters
        # 1.25 times as much as their mean.
        uncertainty = raw["dark_rate_scatter"] * np.float32(1.25 / np.sqrt(darks))
        maps["dark_rate_error"] = np.where(settling, np.sqrt(np.float32(8)), 1) * uncertainty
        full = raw["saturated"] > 0
        known = np.isfinite(raw["saturated_rate"])
        most = raw["saturated_rate"][known].max(initial=1e5)
        early = np.where(known, raw["saturated_rate"], most)
        for name in ("dark_rate", "dark_rate_low", "dark_rate_high"):
            rate = np.where(settling, raw["late_rate"], raw[name])
            # Neighbours see of a saturated pixel what its reads show; its rate is that before.
            rate = _deconvolve(np.where(reference, rate, rate + level), coupling)
            maps[name] = np.where(full, np.maximum(early, rate), rate).astype(np.float32)
    if "response" in raw:
        seen = ~reference & np.isfinite(raw["response"])
        if "saturated" in raw:
            seen &= raw["saturated"] == 0
        local = _local_level(raw["response"], seen, settings.mesh_pixels)
        response = np.where(np.isfinite(raw["response"]), raw["response"] / local, 1)
        response = _deconvolve(np.where(reference, 0, response).astype(np.float32), coupling)
        low = response < 0.5
        plain = np.where(low | ~seen, 1, response).astype(np.float32)
        maps["neighbour_response"] = _mean_cross(plain, reference)
        maps["response"] = np.where(seen, response, np.nan).astype(np.float32)
    return maps


def sum_cross(values: Floats) -> Floats:
    """Return the sum of the four neighbours that share an edge."""
    total = np.zeros_like(values)
    total[1:] += values[:-1]
    total[:-1] += values[1:]
    total[:, 1:] += values[:, :-1]
    total[:, :-1] += values[:, 1:]
    return total


def _mean_cross(values: Floats, reference: Bools) -> Floats:
    """Return the mean of the neighbours that share an edge and see light; 1 where there is none."""
    number = sum_cross((~reference).astype(np.float32))
    total = sum_cross(np.where(reference, 0, values).astype(np.float32))
    result: Floats = np.where(number > 0, total / np.maximum(number, 1), 1).astype(np.float32)
    return result


def _deconvolve(values: Floats, coupling: np.float32) -> Floats:
    """Return a map without what each pixel sees of its neighbours, by fixed-point iteration.

    Four steps leave coupling^5, 2e-9 of the largest value.
    """
    result = values
    for _ in range(4):
        result = values - coupling * (sum_cross(result) - 4 * result)
    return result


def _dark_level(raw: Mapping[str, Floats], reference: Bools) -> np.float32:
    """Return the dark rate of the median pixel, by which all rates of active pixels are too low.

    Reference pixels beside the active ones tell what of a row's median is no dark current.
    """
    rows: Bools = np.logical_not(reference.all(axis=1, keepdims=True))
    beside = reference & rows
    if beside.any():
        return np.float32(-np.median(raw["dark_rate"][beside]))
    return np.float32(np.median(raw["level"][~reference])) if rows.any() else np.float32(0)


def _local_level(values: Floats, seen: Bools, box: int) -> Floats:
    """Return medians of boxes, interpolated: what a pixel of usual response would have."""
    from scipy import ndimage

    ny, nx = values.shape
    rows, columns = max(1, round(ny / box)), max(1, round(nx / box))
    y_edges, x_edges = (
        np.linspace(0, n, k + 1).round().astype(int) for n, k in ((ny, rows), (nx, columns))
    )
    overall = np.median(values[seen]) if seen.any() else np.float32(1)
    mesh = np.full((rows, columns), overall, np.float32)
    for row in range(rows):
        for column in range(columns):
            part = (
                slice(y_edges[row], y_edges[row + 1]),
                slice(x_edges[column], x_edges[column + 1]),
            )
            if seen[part].any():
                mesh[row, column] = np.median(values[part][seen[part]])
    y = (np.arange(ny) + 0.5) * rows / ny - 0.5
    x = (np.arange(nx) + 0.5) * columns / nx - 0.5
    level = np.empty((ny, nx), np.float32)
    for first in range(0, ny, 256):
        grid = np.meshgrid(y[first : first + 256], x, indexing="ij")
        level[first : first + 256] = ndimage.map_coordinates(mesh, grid, order=1, mode="nearest")
    positive: Floats = np.maximum(level, np.float32(1e-6))
    return positive
