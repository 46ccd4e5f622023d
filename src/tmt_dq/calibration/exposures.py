"""Darks and flats in files: what they must have in common, and strips of their reads."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.statistics import Floats
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, RampFormatError
from tmt_dq.exposures.ramp import RampFile, read_ramp
from tmt_dq.exposures.readout import read_readout
from tmt_dq.fits.encoding import scaling
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Detector, Instrument

__all__ = ["Exposure", "Series", "Signal", "gain_of", "open_series"]

_SECONDS = ("TGROUP", "TFRAME")


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """An open file with one or more ramps, and what of its headers counts here."""

    ramp: RampFile
    stored: np.dtype[np.generic]
    zero: float
    scale: float
    read_seconds: float
    gain_e_per_dn: float | None
    date: str

    @property
    def path(self) -> Path:
        """Its file."""
        return self.ramp.file.path

    def rows(self, integration: int, read: int, first: int, count: int) -> Floats:
        """Return rows of one read, DN; RampFormatError where a pixel has no value."""
        _, reads, ny, nx = self.ramp.ramp.shape
        raw = np.empty((count, nx), self.stored)
        place = ((integration * reads + read) * ny + first) * nx * self.stored.itemsize
        self.ramp.file.read_into(self.ramp.sci, raw.data.cast("B"), place)
        blank = self.ramp.sci.header.get("BLANK")
        values = raw.astype(np.float32)
        if self.scale != 1:
            values *= np.float32(self.scale)
        if self.zero:
            values += np.float32(self.zero)
        undefined = isinstance(blank, int) and self.stored.kind in "iu" and (raw == blank).any()
        if undefined or (self.stored.kind == "f" and not np.isfinite(values).all()):
            raise RampFormatError(
                f"read {read + 1} has pixels without a value (NaN or BLANK) in rows "
                f"{first + 1} to {first + count}",
                where=self.path,
                hint="Leave the file out.",
            )
        return values


class Series:
    """Exposures of one kind that were read in the same way: darks, or flats."""

    def __init__(self, kind: str, ramps: Sequence[tuple[Exposure, int]]) -> None:
        self.kind = kind
        self.ramps = tuple(ramps)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Ramps, reads, rows, columns."""
        return (len(self.ramps), *self.first.ramp.ramp.shape[1:])

    @property
    def first(self) -> Exposure:
        """The first exposure; the others are like it."""
        return self.ramps[0][0]

    @property
    def window(self) -> Window:
        """The detector pixels that were read."""
        return self.first.ramp.ramp.window

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """The files."""
        return tuple(dict.fromkeys(exposure for exposure, _ in self.ramps))

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
        pairs = sorted(zip(signals, self.ramps, strict=True), key=lambda pair: pair[0].level_dn)
        groups: list[list[tuple[Exposure, int]]] = []
        lowest = 0.0
        for signal, ramp in pairs:
            if not groups or signal.level_dn > 1.15 * lowest:
                groups.append([])
                lowest = signal.level_dn
            groups[-1].append(ramp)
        order = {ramp: place for place, ramp in enumerate(self.ramps)}
        return [Series(self.kind, sorted(group, key=order.__getitem__)) for group in groups]


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """What a ramp is like: signal of the median pixel (DN), fraction of saturated pixels."""

    exposure: Exposure
    level_dn: float
    saturated_fraction: float


@contextlib.contextmanager
def open_series(
    kind: str,
    paths: Sequence[Path],
    instrument: Instrument,
    detector: Detector,
    *,
    scratch: Path | None,
    like: Series | None = None,
) -> Iterator[Series]:
    """Open exposures of one kind; compressed ones are expanded into `scratch`, if it is given.

    An error, which names the file, where one is of another detector, window, number or time of
    reads than the first, or of another window than those of `like`.
    """
    with contextlib.ExitStack() as stack:
        ramps: list[tuple[Exposure, int]] = []
        for path in paths:
            file = stack.enter_context(open_input(path, scratch=scratch))
            exposure = _exposure(read_ramp(file))
            _check_detector(exposure, instrument, detector)
            first = ramps[0][0] if ramps else exposure
            _check_alike(exposure, first)
            if like is not None and exposure.ramp.ramp.window != like.window:
                raise GeometryError(
                    f"covers {exposure.ramp.ramp.window.describe()}, but {like.first.path} "
                    f"{like.window.describe()}",
                    where=path,
                    hint="Darks and flats must be of the same pixels.",
                )
            ramps += [(exposure, number) for number in range(exposure.ramp.ramp.shape[0])]
        yield Series(kind, ramps)


def _exposure(ramp: RampFile) -> Exposure:
    """Return an open exposure, after checking what its headers say of its reads."""
    path, header = ramp.file.path, ramp.header
    if ramp.ramp.is_image or ramp.ramp.shape[1] < 2:
        raise RampFormatError(
            f"has {ramp.ramp.shape[1]} read; expected a ramp of several",
            where=path,
            hint="Darks and flats are raw up-the-ramp exposures.",
        )
    if ramp.ramp.orientation[0] not in {None, 1, -1}:
        raise RampFormatError(
            f"was read along columns (FASTAXIS {ramp.ramp.orientation[0]}); expected rows",
            where=path,
            hint="Noise that reads have in common is measured along rows: turn the array.",
        )
    _check_complete(ramp, header.get("COMPLETE"))
    seconds = next((header[key] for key in _SECONDS if header.get(key) is not None), None)
    if not _is_positive(seconds):
        found = "there is none" if seconds is None else f"found {seconds!r}"
        raise RampFormatError(
            f"needs TGROUP or TFRAME, the seconds between reads; {found}",
            where=path,
            hint="Rates cannot be had without: add the keyword.",
        )
    gain = header.get("GAIN")
    if gain is not None and not _is_positive(gain):
        raise RampFormatError(f"GAIN is {gain!r}; expected e-/DN", where=path)
    bitpix = ramp.sci.bitpix
    kind = {8: "u1"}.get(bitpix, f">{'f' if bitpix < 0 else 'i'}{abs(bitpix) // 8}")
    zero, scale = scaling(ramp.sci, path)
    return Exposure(
        ramp=ramp,
        stored=np.dtype(kind),
        zero=zero,
        scale=scale,
        read_seconds=float(str(seconds)),
        gain_e_per_dn=None if gain is None else float(str(gain)),
        date=str(header.get("DATE-OBS") or "unknown"),
    )


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _check_complete(ramp: RampFile, complete: object) -> None:
    """Refuse an exposure of which reads are missing, if its file tells."""
    column = ramp.ramp.instrument.read_number_column
    told = any(
        unit.header.get(f"TTYPE{number}") == column
        for unit in ramp.file.units
        for number in range(1, unit.header.integer("TFIELDS", 0) + 1)
    )
    numbers = read_readout(ramp, Recipe(missing_reads=True)).read_numbers if told else None
    gaps = numbers is not None and any(np.diff(numbers) != 1)
    if gaps or complete is False:
        raise RampFormatError(
            f"reads are missing: {column} is {numbers}" if gaps else "COMPLETE is F",
            where=ramp.file.path,
            hint="Leave the file out.",
        )


def _check_detector(exposure: Exposure, instrument: Instrument, detector: Detector) -> None:
    found = exposure.ramp.ramp
    if (found.instrument.name, found.detector.name) != (instrument.name, detector.name):
        raise MaskFormatError(
            f"is of {found.instrument.name} {found.detector.name}; the mask is for "
            f"{instrument.name} {detector.name}",
            where=exposure.path,
            hint="Name exposures of one detector.",
        )


def _check_alike(exposure: Exposure, first: Exposure) -> None:
    """Refuse an exposure that was read otherwise than the first of its kind."""
    one, other = exposure.ramp.ramp, first.ramp.ramp
    if one.window != other.window:
        raise GeometryError(
            f"covers {one.window.describe()}, but {first.path} {other.window.describe()}",
            where=exposure.path,
            hint="Name exposures of the same pixels.",
        )
    for word, found, expected in (
        ("reads", one.shape[1], other.shape[1]),
        ("seconds between reads", exposure.read_seconds, first.read_seconds),
        ("e-/DN (GAIN)", exposure.gain_e_per_dn, first.gain_e_per_dn),
        ("as FASTAXIS, SLOWAXIS", one.orientation, other.orientation),
    ):
        if found != expected:
            raise RampFormatError(
                f"has {_or_no(found)} {word}, but {first.path} has {_or_no(expected)}",
                where=exposure.path,
                hint="Name exposures that were read in the same way.",
            )


def _or_no(value: object) -> object:
    """Return what a message says of a value: itself, or that there is none."""
    return "no" if value is None else value


def gain_of(series: Sequence[Series], detector: Detector, given: float | None) -> float:
    """Return the gain, e⁻/DN: the caller's, the headers', or that of the detector's description."""
    if given is not None:
        if given <= 0:
            raise ConfigError(f"is {given}; expected e-/DN above 0", where="gain")
        return given
    for exposure in (one.first for one in series):
        if exposure.gain_e_per_dn is not None:
            return exposure.gain_e_per_dn
    if detector.gain_e_per_dn is not None:
        return detector.gain_e_per_dn
    raise ConfigError(
        f"has no GAIN, and the description of {detector.name} has none; expected e-/DN",
        where=series[0].first.path,
        hint="Thresholds are in electrons: give the gain.",
        options=("gain",),
    )
