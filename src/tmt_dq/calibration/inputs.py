"""Inputs of a mask: files of darks and flats, open together, and their measurement."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.exposures import Exposure, Series, open_series
from tmt_dq.calibration.found import Input
from tmt_dq.calibration.maps import Maps
from tmt_dq.calibration.measure import Cost, Lamp, measure
from tmt_dq.calibration.recipe import MaskRecipe
from tmt_dq.calibration.statistics import Sampling
from tmt_dq.calibration.suitability import check_levels
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError
from tmt_dq.files import remote
from tmt_dq.files.identity import sha256_of
from tmt_dq.instruments import Detector, Instrument

__all__ = ["Calibrations", "border_of", "local_files", "open_all"]

PathLike = str | os.PathLike[str]


def local_files(
    stack: contextlib.ExitStack, names: Mapping[str, Iterable[PathLike]]
) -> dict[str, list[Path]]:
    """Return the files of each kind in the order of their names; remote ones are fetched."""
    files = {
        kind: [
            stack.enter_context(remote.local(name))
            for name in sorted(str(os.fspath(name)) for name in group)
        ]
        for kind, group in names.items()
    }
    seen: dict[Path, str] = {}
    for kind, group in files.items():
        for path in group:
            if seen.setdefault(path.resolve(), kind) != kind or group.count(path) > 1:
                raise ConfigError(
                    f"is named twice, as {kind} and {seen[path.resolve()]}",
                    where=path,
                    hint="Name each exposure once.",
                )
    if not seen:
        raise ConfigError("there are no darks and no flats", where="darks")
    return files


def open_all(
    stack: contextlib.ExitStack,
    files: Mapping[str, Sequence[Path]],
    instrument: Instrument,
    detector: Detector,
    *,
    scratch: bool,
) -> dict[str, Series]:
    """Open the exposures of each kind that there are."""
    series: dict[str, Series] = {}
    for kind, paths in files.items():
        if paths:
            opened = open_series(
                kind,
                paths,
                instrument,
                detector,
                scratch=Path(tempfile.gettempdir()) if scratch else None,
                like=next(iter(series.values()), None),
            )
            series[kind] = stack.enter_context(opened)
    return series


def border_of(detector: Detector) -> npt.NDArray[np.bool_]:
    """Return where a detector has reference pixels."""
    frame = Window.full(*detector.shape)
    reference = np.ones(frame.shape, bool)
    reference[frame.without(detector.reference_border).slices(frame)] = False
    return reference


@dataclass(frozen=True, slots=True)
class Calibrations:
    """Open darks and flats of one detector, and how they are measured."""

    series: Mapping[str, Series]
    recipe: MaskRecipe
    detector: Detector
    gain: float
    jobs: int

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

    def with_sums(self) -> tuple[Input, ...]:
        """Return the inputs with the digests of their files."""
        with ThreadPoolExecutor(self.jobs) as pool:
            sums = pool.map(sha256_of, [one.path for one in self.exposures])
            return tuple(one.with_sum(sum_) for one, sum_ in zip(self.inputs, sums, strict=True))

    def measure(self, progress: Callable[[int], None] | None) -> Maps:
        """Return the maps, after checking that darks are dark and flats are not."""
        settings = self.recipe.statistics
        window = next(iter(self.series.values())).window
        reference = border_of(self.detector)[window.slices(Window.full(*self.detector.shape))]
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

        return measure(darks, lamps, reference, settings, jobs=self.jobs, progress=report)

    def _sampling(self, series: Series) -> Sampling:
        # A subarray is taken to be read through one channel.
        whole = series.window.nx == self.detector.shape[1]
        return Sampling(
            read_seconds=series.first.read_seconds,
            gain_e_per_dn=self.gain,
            saturation_dn=self.recipe.statistics.saturation_dn,
            channel_columns=series.window.nx // self.detector.channels if whole else 0,
        )

    def verify(self) -> None:
        """Make sure that no file changed while it was read."""
        for exposure in self.exposures:
            exposure.ramp.file.verify()
