"""Measurement: one pass over the reads of all exposures, in strips of rows, on several cores."""

import contextlib
import functools
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

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
from tmt_dq.threads import cores, in_threads

_log = logging.getLogger(__name__)

Bools = npt.NDArray[np.bool_]
Strip = tuple[int, int]
"""First row, number of rows."""
Statistics = dict[str, Floats]
"""Statistics of a strip by name, (rows, columns)."""

_STRIP_BYTES = 48 * 1024 * 1024
_COPIES = 7
"""Arrays of the size of a strip that its statistics need at once; measured."""
_MAPS = 24
"""Maps, raw and derived, at the moment when there are most."""
_SAMPLE_ROWS = 16
_NS_PER_READ = 40.0
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


@dataclass(frozen=True, slots=True, eq=False)
class Cubes:
    """Exposures in memory, (exposures, reads, rows, columns), DN."""

    array: npt.NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Exposures, reads, rows, columns."""
        count, reads, ny, nx = self.array.shape
        return count, reads, ny, nx

    def rows(self, first: int, count: int) -> Floats:
        """Return rows of all reads of all exposures."""
        return self.array[:, :, first : first + count].astype(np.float32)


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
        threads = min(jobs, len(_strips(shapes)))
        peak = 200_000_000 + threads * _COPIES * strip + _MAPS * 4 * ny * nx
        return cls(reads, peak, reads * _NS_PER_READ * 1e-9 / jobs)


@dataclass(frozen=True, slots=True)
class Pass:
    """What is measured in one pass over the reads; called with a strip, it measures that."""

    darks: tuple[Reads, Sampling] | None
    lamps: tuple[Lamp, ...]
    curves: tuple[Curve, ...]
    settings: MapsSettings

    def with_reads(self, change: Callable[[Reads], Reads]) -> "Pass":
        """Return the same with other sources of reads."""
        darks = None if self.darks is None else (change(self.darks[0]), self.darks[1])
        lamps = tuple(replace(lamp, reads=change(lamp.reads)) for lamp in self.lamps)
        return replace(self, darks=darks, lamps=lamps)

    def __call__(self, strip: Strip, _progress: object = None) -> Statistics:
        """Return the statistics of a strip."""
        found: Statistics = {}
        if self.darks is not None:
            found = dark_statistics(self.darks[0].rows(*strip), self.darks[1])
        if not self.lamps:
            return found
        parts, responses, saturated = [], [], []
        number = self.settings.linearity_parts
        for lamp, curve in zip(self.lamps, self.curves, strict=True):
            flat = flat_statistics(lamp.reads.rows(*strip), lamp.sampling, number)
            dark = found.get("dark_rate", np.float32(0))
            parts.append(np.stack([flat[f"flat_part_{part}"] - dark for part in range(number)]))
            if not lamp.linearity_only:
                responses.append((flat["flat_rate"] - dark) / np.float32(curve.rate_e_per_s))
                saturated.append(flat["flat_saturated"])
        noise = found.get("difference_noise", np.zeros(parts[0].shape[1:], np.float32))
        found |= compare_with_population(parts, self.curves, noise, self.settings.linearity_floor)
        if responses:
            found["response"] = np.mean(responses, axis=0)
            found["flat_saturated"] = np.mean(saturated, axis=0)
        return found


Mapper = Callable[[Pass, Sequence[Strip]], Generator[tuple[Strip, Statistics]]]
"""Measures strips, somewhere; yields each with its statistics, in any order."""


def measure(
    darks: tuple[Reads, Sampling] | None,
    lamps: Sequence[Lamp],
    reference: Bools,
    settings: MapsSettings,
    *,
    jobs: int | None = None,
    mapper: Mapper | None = None,
    progress: Callable[[int], None] | None = None,
) -> Maps:
    """Return the maps of darks and flats of the same pixels.

    Strips are measured by `mapper`, or else in as many threads as `jobs`; the result does not
    depend on it. `progress` is called with numbers of reads of pixels that are done.
    """
    shapes = [darks[0].shape] if darks else []
    shapes += [lamp.reads.shape for lamp in lamps]
    ny, nx = reference.shape
    per_row = sum(int(np.prod(shape)) for shape in shapes) // ny
    raw: dict[str, Floats] = {}
    with single_threaded_algebra(), contextlib.ExitStack() as stack:
        work = Pass(darks, tuple(lamps), _survey(lamps, reference, settings), settings)
        strips = _strips(shapes)
        _log.info("measuring %d reads of each pixel in %d strips", per_row // nx, len(strips))
        threads = functools.partial(in_threads, jobs or cores())
        measured = (mapper or threads)(work, strips)
        stack.callback(measured.close)
        for (first, count), found in measured:
            for name, values in found.items():
                whole = raw.setdefault(name, np.empty(reference.shape, np.float32))
                whole[first : first + count] = values
            if progress is not None:
                progress(count * per_row)
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


def single_threaded_algebra() -> Any:
    """Hold products of arrays to one thread until the result is closed.

    The last bits of what several threads give depend on their number, and strips are measured in
    parallel anyway.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def _survey(lamps: Sequence[Lamp], reference: Bools, settings: MapsSettings) -> tuple[Curve, ...]:
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
    return tuple(curves)


def _strip_rows(shapes: Sequence[tuple[int, int, int, int]]) -> int:
    row = sum(4 * count * length * nx for count, length, _, nx in shapes)
    return max(1, min(_STRIP_BYTES // row, shapes[0][2]))


def _strips(shapes: Sequence[tuple[int, int, int, int]]) -> list[Strip]:
    """Return the strips; they follow from the shapes alone, and so does what is measured."""
    ny, step = shapes[0][2], _strip_rows(shapes)
    return [(first, min(step, ny - first)) for first in range(0, ny, step)]
