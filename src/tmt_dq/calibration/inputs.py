"""Inputs of a mask: files of darks and flats, open together, and their measurement."""

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq import __version__
from tmt_dq.calibration.exposures import Exposure, Series, gain_of, open_series
from tmt_dq.calibration.found import Input
from tmt_dq.calibration.maps import Maps
from tmt_dq.calibration.measure import (
    Cost,
    Lamp,
    Mapper,
    Pass,
    Reads,
    Statistics,
    Strip,
    measure,
    single_threaded_algebra,
)
from tmt_dq.calibration.recipe import MaskRecipe
from tmt_dq.calibration.statistics import Sampling
from tmt_dq.calibration.suitability import check_levels
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError
from tmt_dq.files import remote
from tmt_dq.files.identity import sha256_of
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.threads import cores, in_threads

PathLike = str | os.PathLike[str]
Elsewhere = Callable[..., Iterator[tuple[Any, Any]]]
"""A mapper of `tmt_dq.batch`, called with a function and jobs."""

_MOST_JOBS = 128
"""Jobs for other processes, each of which opens all files again."""


def _local_files(
    stack: contextlib.ExitStack, names: Mapping[str, Iterable[PathLike]]
) -> dict[str, list[Path]]:
    """Return the files of each kind in the order of their names; remote ones are fetched."""
    files: dict[str, list[Path]] = {kind: [] for kind in names}
    kinds: dict[Path, str] = {}
    for kind, group in names.items():
        for name in sorted(str(os.fspath(name)) for name in group):
            # Workers of a cluster may be in another folder.
            path = stack.enter_context(remote.local(name)).absolute()
            if path.resolve() in kinds:
                raise ConfigError(
                    f"is named twice, as {kind} and {kinds[path.resolve()]}",
                    where=path,
                    hint="Name each exposure once.",
                )
            kinds[path.resolve()] = kind
            files[kind].append(path)
    if not kinds:
        raise ConfigError("there are no darks and no flats", where="darks")
    return files


def border_of(detector: Detector, window: Window) -> npt.NDArray[np.bool_]:
    """Return where in a window a detector has reference pixels."""
    frame = Window.full(*detector.shape)
    reference = np.ones(frame.shape, bool)
    reference[frame.without(detector.reference_border).slices(frame)] = False
    return reference[window.slices(frame)]


@dataclass(frozen=True, slots=True)
class Calibrations:
    """Open darks and flats of one detector, and how they are measured."""

    series: Mapping[str, Series]
    recipe: MaskRecipe
    detector: Detector
    gain: float
    jobs: int

    @classmethod
    def open(
        cls,
        stack: contextlib.ExitStack,
        names: Mapping[str, Iterable[PathLike]],
        recipe: MaskRecipe,
        instrument: Instrument,
        detector: Detector,
        *,
        gain: float | None,
        jobs: int | None,
        headers_only: bool,
    ) -> "Calibrations":
        """Open exposures of each kind until `stack` ends; remote and compressed ones as copies."""
        scratch = None if headers_only else Path(tempfile.gettempdir())
        files = _local_files(stack, names)
        series = open_series(stack, files, instrument, detector, scratch=scratch)
        e_per_dn = gain_of(list(series.values()), detector, gain)
        opened = cls(series, recipe, detector, e_per_dn, jobs or cores())
        window = opened.first.window
        if border_of(detector, window).all():
            raise GeometryError(
                f"covers {window.describe()}, which are reference pixels alone",
                where=opened.first.path,
                hint="Name exposures with pixels that see light.",
            )
        return opened

    @property
    def first(self) -> Exposure:
        """The first of all exposures; the others are of the same pixels."""
        return next(self.exposures)

    @property
    def exposures(self) -> Iterator[Exposure]:
        """All files, darks first."""
        return (one for series in self.series.values() for one in series.exposures)

    @property
    def cost(self) -> Cost:
        """Estimate of time and memory."""
        return Cost.of([one.shape for one in self.series.values()], self.jobs)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The files, as results list them."""
        return tuple(
            Input(kind, remote.name_of(one.path), one.date, one.ramp.ramp.shape)
            for kind, series in self.series.items()
            for one in series.exposures
        )

    def with_sums(self, progress: Callable[[int], None] | None) -> tuple[Input, ...]:
        """Return the inputs with the digests of their files."""
        paths = [one.path for one in self.exposures]
        with contextlib.closing(in_threads(self.jobs, sha256_of, paths, progress)) as found:
            sums = dict(found)
        pairs = zip(self.inputs, paths, strict=True)
        return tuple(replace(one, sha256=sums[path]) for one, path in pairs)

    def measure(
        self, mapper: Elsewhere | None = None, progress: Callable[[int], None] | None = None
    ) -> Maps:
        """Return the maps, after checking that darks are dark and flats are not."""
        settings = self.recipe.statistics
        reference = border_of(self.detector, self.first.window)
        darks, lamps = None, []
        for kind, series in self.series.items():
            signals = series.signals(reference, settings.saturation_dn)
            check_levels(kind, signals, self.recipe.inputs)
            sampling = self._sampling(series)
            if kind == "dark":
                darks = series, sampling
                continue
            lamps += [
                Lamp(level, sampling, linearity_only=kind == "long flat")
                for level in series.by_level(signals)
            ]
        size = sum(one.path.stat().st_size for one in self.exposures)

        def report(reads: int) -> None:
            if progress is not None:
                progress(size * reads // self.cost.reads)

        where = None if mapper is None else self._elsewhere(mapper)
        return measure(
            darks, lamps, reference, settings, jobs=self.jobs, mapper=where, progress=report
        )

    def _sampling(self, series: Series) -> Sampling:
        # A subarray is taken to be read through one channel.
        nx = self.first.window.nx
        whole = nx == self.detector.shape[1]
        return Sampling(
            read_seconds=series.first.read_seconds,
            gain_e_per_dn=self.gain,
            saturation_dn=self.recipe.statistics.saturation_dn,
            channel_columns=nx // self.detector.channels if whole else 0,
        )

    def _elsewhere(self, mapper: Elsewhere) -> Mapper:
        """Return a mapper that measures in other processes, which open the same files."""
        for one in self.exposures:
            staged = remote.name_of(one.path) != str(one.path)
            if staged or one.ramp.file.compressed:
                raise ConfigError(
                    f"is {'remote' if staged else 'compressed'}; workers of a cluster read plain "
                    "files that all of them see",
                    where=remote.name_of(one.path),
                    hint="Fetch and expand it (gunzip, funpack), or measure on this machine.",
                )

        def run(work: Pass, strips: Sequence[Strip]) -> Generator[tuple[Strip, Statistics]]:
            many = -(-len(strips) // _MOST_JOBS)
            jobs = [strips[first : first + many] for first in range(0, len(strips), many)]
            task = functools.partial(_measure_elsewhere, __version__, work)
            with contextlib.ExitStack() as stack:
                results = mapper(task, jobs)
                stack.callback(getattr(results, "close", int))
                for job, found in results:
                    if isinstance(found, Exception):
                        raise found
                    yield from zip(job, found, strict=True)

        return run

    def verify(self) -> None:
        """Make sure that no file changed while it was read."""
        for exposure in self.exposures:
            exposure.ramp.file.verify()


def _measure_elsewhere(
    version: str,
    work: Pass,
    strips: Sequence[Strip],
    progress: Callable[[int], None] | None = None,
) -> list[Statistics]:
    """Measure strips in a worker; `progress` ends a job that nobody waits for."""
    if version != __version__:
        raise ConfigError(f"a worker has tmt-dq {__version__}; expected {version}")
    _algebra_of_worker()
    found = []
    with contextlib.ExitStack() as stack:

        def here(reads: Reads) -> Reads:
            assert isinstance(reads, Series)
            return reads.reopened(stack)

        opened = work.with_reads(here)
        for strip in strips:
            found.append(opened(strip))
            if progress is not None:
                progress(0)
    return found


@functools.cache
def _algebra_of_worker() -> None:
    """Hold a worker's algebra to one thread for good: strips of other threads may be under way."""
    single_threaded_algebra()
