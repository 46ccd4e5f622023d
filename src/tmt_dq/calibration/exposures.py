"""Darks and flats in files: what they must have in common, and strips of their reads."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.statistics import Floats
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, RampFormatError
from tmt_dq.exposures.layouts import refuse_layout
from tmt_dq.exposures.ramp import RampFile, read_ramp
from tmt_dq.exposures.readout import find_read_numbers
from tmt_dq.fits.encoding import read_samples
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Detector, Instrument

_SECONDS = ("TGROUP", "TFRAME")


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """An open file with one or more ramps, and what of its headers counts here."""

    ramp: RampFile
    read_seconds: float
    gain_e_per_dn: float | None
    date: str

    @property
    def path(self) -> Path:
        """Its file."""
        return self.ramp.file.path

    @property
    def window(self) -> Window:
        """The detector pixels that were read."""
        return self.ramp.ramp.window

    def rows(self, integration: int, read: int, first: int, count: int) -> Floats:
        """Return rows of one read, DN; RampFormatError where a pixel has no value."""
        _, reads, ny, _ = self.ramp.ramp.shape
        place = (integration * reads + read) * ny + first
        samples = read_samples(self.ramp.file, self.ramp.sci, place, count)
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            raise RampFormatError(
                f"read {read + 1} has pixels without a value (NaN or BLANK) in rows "
                f"{first + 1} to {first + count}",
                where=self.path,
                hint="Leave the file out.",
            )
        return samples.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Exposures of one kind that were read in the same way: a file and an integration each."""

    kind: str
    ramps: tuple[tuple[Exposure, int], ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Ramps, reads, rows, columns."""
        return (len(self.ramps), *self.first.ramp.ramp.shape[1:])

    @property
    def first(self) -> Exposure:
        """The first exposure; the others are like it."""
        return self.ramps[0][0]

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """The files."""
        return tuple(dict.fromkeys(exposure for exposure, _ in self.ramps))

    def reopened(self, stack: contextlib.ExitStack) -> "Series":
        """Open the files again, in another process too; `stack` closes them."""
        again = {
            one: replace(
                one, ramp=replace(one.ramp, file=stack.enter_context(one.ramp.file.reopened()))
            )
            for one in self.exposures
        }
        return Series(self.kind, tuple((again[one], number) for one, number in self.ramps))

    def rows(self, first: int, count: int) -> Floats:
        """Return rows of all reads, DN, (ramps, reads, rows, columns)."""
        ramps, reads, _, nx = self.shape
        strip = np.empty((ramps, reads, count, nx), np.float32)
        for place, (exposure, integration) in enumerate(self.ramps):
            for read in range(reads):
                strip[place, read] = exposure.rows(integration, read, first, count)
        return strip

    def signals(self, reference: npt.NDArray[np.bool_], saturation_dn: float) -> "list[Signal]":
        """Return what each ramp is like, from a few rows; an error where a read is missing.

        A read is lost if all its pixels have the same value.
        """
        active = np.flatnonzero(~reference.all(axis=1))
        rows = np.unique(active[np.linspace(0, active.size - 1, 8).astype(int)])
        sample = np.concatenate([self.rows(int(row), 1) for row in rows], axis=2)
        lost = sample.max(axis=(2, 3)) == sample.min(axis=(2, 3))
        if lost.any():
            ramp, read = (int(place) for place in np.argwhere(lost)[0])
            raise RampFormatError(
                f"read {read + 1} has the same value in all pixels: it was lost",
                where=self.ramps[ramp][0].path,
                hint="Leave the file out.",
            )
        seen = ~reference[rows]
        found = []
        for (exposure, _), reads in zip(self.ramps, sample, strict=True):
            full = float((reads[-1][seen] >= saturation_dn).mean())
            level = float(np.median((reads[-1] - reads[0])[seen]))
            found.append(Signal(exposure, level, full))
        return found

    def by_level(self, signals: "Sequence[Signal]") -> "list[Series]":
        """Return the ramps in groups whose signals differ by less than 15 %, the faintest first."""
        levels = [signal.level_dn for signal in signals]
        groups: list[list[int]] = []
        for number in sorted(range(len(levels)), key=levels.__getitem__):
            if not groups or levels[number] > 1.15 * levels[groups[-1][0]]:
                groups.append([])
            groups[-1].append(number)
        return [Series(self.kind, tuple(self.ramps[one] for one in sorted(g))) for g in groups]


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """What a ramp is like: signal of the median pixel (DN), fraction of saturated pixels."""

    exposure: Exposure
    level_dn: float
    saturated_fraction: float


def open_series(
    stack: contextlib.ExitStack,
    files: Mapping[str, Sequence[Path]],
    instrument: Instrument,
    detector: Detector,
    *,
    scratch: Path | None,
) -> dict[str, Series]:
    """Open the exposures of each kind; compressed ones are expanded into `scratch`, if it is given.

    An error, which names the file, where one is of another detector, other pixels or another gain
    than the first, or has another number or time of reads than the first of its kind.
    """
    series: dict[str, Series] = {}
    first: Exposure | None = None
    for kind, paths in files.items():
        opened: list[Exposure] = []
        for path in paths:
            file = stack.enter_context(open_input(path, scratch=scratch))
            exposure = _exposure(read_ramp(file), instrument, detector)
            first = first or exposure
            if exposure.window != first.window:
                raise GeometryError(
                    f"covers {exposure.window.describe()}, but {first.path} "
                    f"{first.window.describe()}",
                    where=path,
                    hint="Name darks and flats of the same pixels.",
                )
            opened.append(exposure)
            _check_alike(exposure, opened[0], first)
        if opened:
            ramps = ((one, number) for one in opened for number in range(one.ramp.ramp.shape[0]))
            series[kind] = Series(kind, tuple(ramps))
    return series


def _exposure(ramp: RampFile, instrument: Instrument, detector: Detector) -> Exposure:
    """Return an open exposure, after checking what its headers say of its reads."""
    found, path, header = ramp.ramp, ramp.file.path, ramp.header
    if (found.instrument.name, found.detector.name) != (instrument.name, detector.name):
        raise MaskFormatError(
            f"is of {found.instrument.name} {found.detector.name}; the mask is for "
            f"{instrument.name} {detector.name}",
            where=path,
            hint="Name exposures of one detector.",
        )
    hint = "Darks and flats have their reads in SCI (nints, ngroups, ny, nx)."
    refuse_layout(found.layout, "tmt-dq make", where=path, hint=hint)
    if found.is_image or found.shape[1] < 2:
        raise RampFormatError(
            f"has {found.shape[1]} read; expected a ramp of several",
            where=path,
            hint="Darks and flats are raw up-the-ramp exposures.",
        )
    if found.orientation[0] not in {None, 1, -1}:
        raise RampFormatError(
            f"was read along columns (FASTAXIS {found.orientation[0]}); expected rows",
            where=path,
            hint="Noise that reads have in common is measured along rows: turn the array.",
        )
    _check_complete(ramp)
    seconds = next((header[key] for key in _SECONDS if header.get(key) is not None), None)
    if not _is_positive(seconds):
        value = "there is none" if seconds is None else f"found {seconds!r}"
        raise RampFormatError(
            f"needs TGROUP or TFRAME, the seconds between reads; {value}",
            where=path,
            hint="Rates cannot be had without: add the keyword.",
        )
    gain = header.get("GAIN")
    if gain is not None and not _is_positive(gain):
        raise RampFormatError(f"GAIN is {gain!r}; expected e-/DN", where=path)
    return Exposure(
        ramp=ramp,
        read_seconds=float(str(seconds)),
        gain_e_per_dn=None if gain is None else float(str(gain)),
        date=str(header.get("DATE-OBS") or "unknown"),
    )


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _check_complete(ramp: RampFile) -> None:
    """Refuse an exposure of which reads are missing, if its file tells."""
    numbers = find_read_numbers(ramp)
    gaps = numbers is not None and any(np.diff(numbers) != 1)
    if gaps or ramp.header.get("COMPLETE") is False:
        column = ramp.ramp.instrument.read_number_column
        raise RampFormatError(
            f"reads are missing: {column} is {numbers}" if gaps else "COMPLETE is F",
            where=ramp.file.path,
            hint="Leave the file out.",
        )


def _check_alike(exposure: Exposure, of_kind: Exposure, of_all: Exposure) -> None:
    """Refuse an exposure that was read otherwise than the first of its kind, or of all."""
    one, kin = exposure.ramp.ramp, of_kind.ramp.ramp
    for word, found, expected, like in (
        ("reads", one.shape[1], kin.shape[1], of_kind),
        ("seconds between reads", exposure.read_seconds, of_kind.read_seconds, of_kind),
        ("e-/DN (GAIN)", exposure.gain_e_per_dn, of_all.gain_e_per_dn, of_all),
        ("as FASTAXIS, SLOWAXIS", one.orientation, of_all.ramp.ramp.orientation, of_all),
    ):
        if found != expected:
            has, had = ("no" if value is None else value for value in (found, expected))
            raise RampFormatError(
                f"has {has} {word}, but {like.path} has {had}",
                where=exposure.path,
                hint="Name exposures that were read in the same way.",
            )


def gain_of(series: Sequence[Series], detector: Detector, given: float | None) -> float:
    """Return the gain, e⁻/DN: the caller's, the headers', or that of the detector's description."""
    if given is not None:
        if given <= 0:
            raise ConfigError(f"is {given}; expected e-/DN above 0", where="gain")
        return given
    known = (*(one.first.gain_e_per_dn for one in series), detector.gain_e_per_dn)
    gain = next((value for value in known if value is not None), None)
    if gain is not None:
        return gain
    raise ConfigError(
        f"has no GAIN, and the description of {detector.name} has none; expected e-/DN",
        where=series[0].first.path,
        hint="Thresholds are in electrons: give the gain.",
        options=("gain",),
    )
