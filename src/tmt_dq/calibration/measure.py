"""Measurement: one pass over the reads of all exposures, in strips of rows, on several cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.linearity import Curve, compare_with_population, population_curve
from tmt_dq.calibration.maps import Maps, MapsSettings, derive_maps
from tmt_dq.calibration.statistics import (
    Floats,
    Sampling,
    dark_statistics,
    flat_statistics,
    part_edges,
)

__all__ = ["Cost", "Lamp", "Reads", "measure"]

Bools = npt.NDArray[np.bool_]

_STRIP_BYTES = 48 * 1024 * 1024
_COPIES = 7
"""Arrays of the size of a strip that its statistics need at once; measured."""
_MAPS = 24
"""Maps, raw and derived, at the moment when there are most."""
_SAMPLE_ROWS = 16
_NS_PER_READ = 70.0
"""Time of one core for one read of one pixel; measured (docs: Performance)."""


class Reads(Protocol):
    """Exposures of one kind: what a strip of rows is read from."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Exposures, reads, rows, columns."""
        ...

    def rows(self, first: int, count: int) -> Floats:
        """Return rows of all reads of all exposures, DN, (exposures, reads, rows, columns)."""
        ...


@dataclass(frozen=True, slots=True)
class Lamp:
    """Flats of one level, and how they were read."""

    reads: Reads
    sampling: Sampling
    linearity_only: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What a measurement takes: reads of pixels, bytes of memory at the peak, seconds."""

    reads: int
    peak_bytes: int
    seconds: float

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, int, int, int]], jobs: int) -> "Cost":
        """Estimate it from the shapes of all exposures."""
        reads = sum(int(np.prod(shape)) for shape in shapes)
        ny, nx = shapes[0][2:]
        strip = _strip_rows(shapes) * sum(4 * n * g * nx for n, g, _, _ in shapes)
        peak = 200_000_000 + jobs * _COPIES * strip + _MAPS * 4 * ny * nx
        return cls(reads, peak, reads * _NS_PER_READ * 1e-9 / jobs)


def measure(
    darks: tuple[Reads, Sampling] | None,
    lamps: Sequence[Lamp],
    reference: Bools,
    settings: MapsSettings,
    *,
    jobs: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Maps:
    """Return the maps of darks and flats of the same pixels.

    `progress` is called with numbers of reads of pixels that are done. The result does not depend
    on the number of threads.
    """
    sources = ([darks[0]] if darks else []) + [lamp.reads for lamp in lamps]
    curves = _survey(lamps, reference, settings)
    raw: dict[str, Floats] = {}

    def work(first: int, count: int) -> int:
        found = _strip(darks, lamps, curves, settings, first, count)
        for name, values in found.items():
            raw.setdefault(name, np.empty(reference.shape, np.float32))[first : first + count] = (
                values
            )
        return count

    per_row = sum(int(np.prod(source.shape)) for source in sources) // reference.shape[0]
    strips = list(_strips([source.shape for source in sources]))
    # The first strip makes the arrays; the others then only fill them.
    work(*strips[0])
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        waiting = {pool.submit(work, *strip) for strip in strips[1:]}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in done:
                    count = future.result()
                    if progress is not None:
                        progress(count * per_row)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if progress is not None:
        progress(strips[0][1] * per_row)
    arrays = derive_maps(raw, reference, settings, darks[0].shape[0] if darks else 0)
    if darks is None:
        return Maps(arrays, reference)
    count, length = darks[0].shape[:2]
    return Maps(
        arrays,
        reference,
        darks=count,
        reads=length,
        dark_seconds=(length - 1) * darks[1].read_seconds,
        channel_columns=darks[1].channel_columns,
    )


def _survey(lamps: Sequence[Lamp], reference: Bools, settings: MapsSettings) -> list[Curve]:
    """Return the population's curve for each lamp, from a few rows of the whole window."""
    active = np.flatnonzero(~reference.all(axis=1))
    rows = active[np.linspace(0, active.size - 1, min(_SAMPLE_ROWS, active.size)).astype(int)]
    curves = []
    for lamp in lamps:
        sample = np.concatenate([lamp.reads.rows(int(row), 1) for row in rows], axis=2)
        flat = flat_statistics(sample, lamp.sampling, settings.linearity_parts)
        seen = ~reference[rows]
        parts = [flat[f"flat_part_{part}"][seen] for part in range(settings.linearity_parts)]
        edges = part_edges(sample.shape[1] - 1, settings.linearity_parts)
        seconds = np.diff(edges) * lamp.sampling.read_seconds
        curves.append(population_curve(np.stack(parts), len(sample), seconds))
    return curves


def _strip_rows(shapes: Sequence[tuple[int, int, int, int]]) -> int:
    row = sum(4 * count * length * nx for count, length, _, nx in shapes)
    return max(1, _STRIP_BYTES // row)


def _strips(shapes: Sequence[tuple[int, int, int, int]]) -> Iterator[tuple[int, int]]:
    """Yield first row and number of rows of each strip."""
    ny, step = shapes[0][2], _strip_rows(shapes)
    for first in range(0, ny, step):
        yield first, min(step, ny - first)


def _strip(
    darks: tuple[Reads, Sampling] | None,
    lamps: Sequence[Lamp],
    curves: Sequence[Curve],
    settings: MapsSettings,
    first: int,
    count: int,
) -> dict[str, Floats]:
    """Return the statistics of a strip."""
    found: dict[str, Floats] = {}
    if darks is not None:
        found = dark_statistics(darks[0].rows(first, count), darks[1])
    if not lamps:
        return found
    parts, responses, saturated = [], [], []
    for lamp, curve in zip(lamps, curves, strict=True):
        number = settings.linearity_parts
        flat = flat_statistics(lamp.reads.rows(first, count), lamp.sampling, number)
        dark = found.get("dark_rate", np.float32(0))
        parts.append(np.stack([flat[f"flat_part_{part}"] - dark for part in range(number)]))
        if not lamp.linearity_only:
            responses.append((flat["flat_rate"] - dark) / np.float32(curve.rate_e_per_s))
            saturated.append(flat["flat_saturated"])
    noise = found.get("difference_noise", np.zeros(parts[0].shape[1:], np.float32))
    found |= compare_with_population(parts, curves, noise, settings.linearity_floor)
    if responses:
        found["response"] = np.mean(responses, axis=0)
        found["flat_saturated"] = np.mean(saturated, axis=0)
    return found
