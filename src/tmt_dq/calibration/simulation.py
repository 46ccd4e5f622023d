"""Darks and flats of a detector with known defects, in plain NumPy: truth for tests and figures.

Photon noise, read and reset noise, inter-pixel capacitance, cosmic rays, and on request 1/f noise
along the readout and noise of alternating columns, after NGHxRG (Rauscher 2015, PASP 127, 1144).
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.maps import sum_cross

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_CELL = 12
"""Pixels between isolated defects: the neighbours of one are never those of another."""
_KINDS = (
    "DEAD",
    "LOW_QE",
    "OPEN",
    "OPEN_PAIR",
    "HOT",
    "SATURATED",
    "WARM",
    "RC",
    "INVERSE_RC",
    "TELEGRAPH",
    "UNRELIABLE_DARK",
    "UNRELIABLE_SLOPE",
    "UNRELIABLE_BIAS",
    "NONLINEAR",
)
_FLAGS = {"OPEN_PAIR": "OPEN", "SATURATED": "HOT", "CLUSTER": "DEAD", "COLUMN": "DEAD"}
"""Flags of kinds of defects that are not called like theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Noise of the simulated detector and its readout."""

    read_e: float = 12.0
    reset_e: float = 30.0
    one_over_f_e: float = 0.0  # common to all channels; a third of it in each channel on its own
    alternating_e: float = 0.0  # of even and odd columns
    cosmic_rays_per_pixel_s: float = 5e-7
    dark_e_per_s: float = 0.01
    response_fraction: float = 0.015  # scatter of the quantum efficiency of good pixels


@dataclass(eq=False)
class Scene:
    """A detector with planted defects; `truth` names the flag of each, `kinds` how it was planted.

    Amplitudes are drawn from ranges that begin at the limits of the recipe with a margin (WARM at
    1.5 times its threshold, RC at 10 times and TELEGRAPH at 5 times the noise).
    """

    shape: tuple[int, int] = (256, 256)
    seed: int = 1
    noise: Noise = field(default_factory=Noise)
    border: tuple[int, int, int, int] = (4, 4, 4, 4)  # bottom, top, left, right
    defects: bool = True
    weakest: float = 1.0  # scales the lower end of the ranges of amplitudes
    gain_e_per_dn: float = 2.0
    read_seconds: float = 5.0
    channel_width: int = 128

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        ny, nx = self.shape
        self.reference = np.ones(self.shape, bool)
        bottom, top, left, right = self.border
        self.reference[bottom : ny - top, left : nx - right] = False
        self.kinds = {kind: np.zeros(self.shape, bool) for kind in (*_KINDS, "CLUSTER", "COLUMN")}
        self.amplitude: Floats = np.zeros(self.shape, np.float32)
        self.bias_dn = rng.normal(5000, 200, self.shape).astype(np.float32)
        self.coupling = rng.uniform(0.016, 0.019, self.shape).astype(np.float32)
        self.response = rng.normal(1, self.noise.response_fraction, self.shape).astype(np.float32)
        self.dark = (self.noise.dark_e_per_s * rng.uniform(0.5, 1.5, self.shape)).astype(np.float32)
        self.read_noise = np.full(self.shape, self.noise.read_e, np.float32)
        self.tau_reads: Floats = rng.uniform(0.5, 2.0, self.shape).astype(np.float32)
        self.dwell_reads: Floats = rng.uniform(4, 20, self.shape).astype(np.float32)
        self.bad_reference = np.zeros(self.shape, bool)
        self.truth: dict[str, Bools] = {}
        if self.defects:
            self._plant(rng)
        self._set_truth()
        self.response[self.reference] = 0
        self.dark[self.reference] = 0

    def dark_ramp(self, number: int, reads: int = 60) -> npt.NDArray[np.uint16]:
        """Return the reads of a dark exposure, (reads, ny, nx)."""
        return self._expose(np.random.default_rng([self.seed, 1, number]), reads, 0.0)

    def flat_ramp(
        self, number: int, reads: int = 20, *, light_e_per_s: float = 400.0
    ) -> npt.NDArray[np.uint16]:
        """Return the reads of an exposure to a lamp, (reads, ny, nx)."""
        return self._expose(np.random.default_rng([self.seed, 2, number]), reads, light_e_per_s)

    def _plant(self, rng: np.random.Generator) -> None:
        """Draw a place and an amplitude for each defect."""
        ny, nx = self.shape
        bottom, top, left, right = self.border
        rows = np.arange(bottom + 1, ny - top - _CELL, _CELL)
        columns = np.arange(left + 1, nx - right - _CELL, _CELL)
        cells = [(y, x) for y in rows for x in columns]
        bad_column = int(columns[len(columns) // 2])
        cells = [cell for cell in cells if cell[1] != bad_column]
        rng.shuffle(cells)
        clusters, cells = cells[:2], cells[2:]
        for number, (y0, x0) in enumerate(cells):
            kind = _KINDS[number % len(_KINDS)]
            # Those of the first row and column of cells are beside the border.
            y = bottom if y0 == rows[0] else y0 + int(rng.integers(0, 5))
            x = left if x0 == columns[0] else x0 + int(rng.integers(0, 5))
            self.kinds[kind][y, x] = True
            if kind == "OPEN_PAIR":
                dy = int(rng.integers(0, 2))
                self.kinds[kind][y + dy, x + 1 - dy] = True
        for y, x in clusters:
            self.kinds["CLUSTER"][y + 2 : y + 8, x + 2 : x + 8] = rng.random((6, 6)) < 0.9
        column = rng.random(ny - bottom - top) < 0.8
        self.kinds["COLUMN"][bottom : ny - top, bad_column + 5] = column
        self._set_amplitudes(rng)

    def _set_amplitudes(self, rng: np.random.Generator) -> None:
        kinds = self.kinds
        for kind in ("DEAD", "CLUSTER", "COLUMN"):
            self.response[kinds[kind]] = 0.0
        self._set(rng, "LOW_QE", self.response, 0.10, 0.42)
        for kind in ("OPEN", "OPEN_PAIR"):
            self._spread(kinds[kind])
        self._set(rng, "HOT", self.dark, 0.75, 50, log=True)
        self._set(rng, "WARM", self.dark, 0.15, 0.40)
        self._set(rng, "SATURATED", self.dark, 3e4, 1e5)
        difference_noise = float(np.sqrt(2) * self.noise.read_e)
        self._set(rng, "RC", self.amplitude, 10 * difference_noise, 60 * difference_noise)
        self._set(rng, "INVERSE_RC", self.amplitude, 10 * difference_noise, 60 * difference_noise)
        self.amplitude[kinds["INVERSE_RC"]] *= -1
        noise_e = self.noise.read_e
        self._set(rng, "TELEGRAPH", self.amplitude, 5 * noise_e, 30 * noise_e, log=True)
        self._set(rng, "UNRELIABLE_DARK", self.read_noise, 4 * noise_e, 8 * noise_e)
        self._set(rng, "UNRELIABLE_SLOPE", self.amplitude, 0.10, 0.4)  # e/s
        self._set(rng, "UNRELIABLE_BIAS", self.amplitude, 5 * self.noise.reset_e, 240)
        self._set(rng, "NONLINEAR", self.amplitude, 0.08, 0.25)  # lost at 50,000 e
        self.bad_reference = self.reference & (rng.random(self.shape) < 0.02)
        self.read_noise[self.bad_reference] *= np.float32(5)

    def _set(
        self,
        rng: np.random.Generator,
        kind: str,
        target: Floats,
        low: float,
        high: float,
        *,
        log: bool = False,
    ) -> None:
        """Draw the value of each pixel of a kind, evenly or in the logarithm."""
        count = int(self.kinds[kind].sum())
        low *= self.weakest
        drawn = rng.uniform(np.log(low), np.log(high), count) if log else None
        target[self.kinds[kind]] = rng.uniform(low, high, count) if drawn is None else np.exp(drawn)

    def _spread(self, opened: Bools) -> None:
        """Give the charge of open pixels to their neighbours: most to those that share an edge."""
        charge = opened.astype(np.float32)
        self.response[opened] = 0.0
        share = 0.2 * sum_cross(charge)
        self.response += np.where(opened, 0, share).astype(np.float32)

    def _set_truth(self) -> None:
        truth = self.truth
        for kind, planted in self.kinds.items():
            flag = _FLAGS.get(kind, kind)
            truth[flag] = planted | truth.get(flag, np.False_)
        beside = sum_cross(truth["OPEN"].astype(np.float32)) > 0
        truth["ADJ_OPEN"] = beside & ~truth["OPEN"] & ~self.reference
        truth["BAD_REF_PIXEL"] = self.bad_reference
        truth["REFERENCE_PIXEL"] = self.reference

    def _expose(
        self, rng: np.random.Generator, reads: int, light_e_per_s: float
    ) -> npt.NDArray[np.uint16]:
        """Return the reads of one exposure: charge, capacitance, reset, readout, conversion."""
        ny, nx = self.shape
        kinds, seconds = self.kinds, self.read_seconds
        gradient = 1 + 0.2 * np.linspace(-0.5, 0.5, nx, dtype=np.float32)
        rate = self.dark + light_e_per_s * gradient * self.response
        varying = kinds["UNRELIABLE_SLOPE"]
        charge = np.zeros(self.shape, np.float32)
        drift = np.zeros(self.shape, np.float32)
        drift[varying] = self.amplitude[varying] * rng.standard_normal(int(varying.sum()))
        offset = rng.normal(0, self.noise.reset_e, self.shape).astype(np.float32)
        biased = kinds["UNRELIABLE_BIAS"]
        offset[biased] += self.amplitude[biased] * rng.standard_normal(int(biased.sum()))
        offset[self.reference] /= 3
        telegraph = np.flatnonzero(kinds["TELEGRAPH"])
        state = rng.random(telegraph.size) < 0.5
        settling = kinds["RC"] | kinds["INVERSE_RC"]
        bent = kinds["NONLINEAR"]
        cube = np.empty((reads, ny, nx), np.uint16)
        for read in range(reads):
            charge += _photons(rng, rate * np.float32(seconds))
            self._add_cosmic_rays(rng, charge, seconds)
            signal = np.minimum(charge, 2e5) + drift * np.float32(seconds * (read + 1))
            signal = signal * (1 - np.float32(4e-7) * np.maximum(signal, 0))
            signal[bent] *= 1 - self.amplitude[bent] * np.minimum(charge[bent] / 5e4, 2)
            decay = np.exp(-read / self.tau_reads[settling])
            signal[settling] += self.amplitude[settling] * (1 - decay)
            state ^= rng.random(telegraph.size) < 1 / self.dwell_reads.flat[telegraph]
            signal.flat[telegraph] += self.amplitude.flat[telegraph] * state
            np.minimum(signal, 125e3, out=signal)
            shared = self.coupling * signal
            signal += sum_cross(shared) - 4 * shared
            signal += offset + self.read_noise * rng.standard_normal(self.shape, np.float32)
            signal += self._correlated(rng)
            signal /= np.float32(self.gain_e_per_dn)
            signal += self.bias_dn
            cube[read] = np.clip(np.rint(signal), 0, 65535)
        return cube

    def _add_cosmic_rays(self, rng: np.random.Generator, charge: Floats, seconds: float) -> None:
        """Add hits of a thousand electrons and more, a tenth of which reaches the neighbours."""
        active = ~self.reference
        expected = self.noise.cosmic_rays_per_pixel_s * seconds * charge.size
        count = int(rng.poisson(expected))
        if not count:
            return
        hits = np.zeros(self.shape, np.float32)
        places = rng.integers(0, charge.size, count)
        np.add.at(hits.reshape(-1), places, 400 + rng.exponential(1500, count))
        charge += np.where(active, 0.88 * hits + 0.03 * sum_cross(hits), 0)

    def _correlated(self, rng: np.random.Generator) -> Floats:
        """Return the noise of one read that neighbours along the readout have in common."""
        noise = np.zeros(self.shape, np.float32)
        ny, nx = self.shape
        width = min(self.channel_width, nx)
        if self.noise.one_over_f_e:
            common = _pink(rng, ny * width).reshape(ny, width) * self.noise.one_over_f_e
            for first in range(0, nx, width):
                own = _pink(rng, ny * width).reshape(ny, width) * (self.noise.one_over_f_e / 3)
                noise[:, first : first + width] += (common + own)[:, : nx - first]
        if self.noise.alternating_e:
            for parity in (0, 1):
                stream = _pink(rng, ny * width // 2).reshape(ny, width // 2)
                columns = noise[:, parity::2]
                repeats = -(-columns.shape[1] // stream.shape[1])
                tiled = np.tile(stream, (1, repeats))[:, : columns.shape[1]]
                columns += tiled * np.float32(self.noise.alternating_e)
        return noise


def _photons(rng: np.random.Generator, expected: Floats) -> Floats:
    """Return Poisson numbers; beyond 50 the normal distribution, which is as good and quicker."""
    drawn = rng.standard_normal(expected.shape, np.float32) * np.sqrt(expected) + expected
    few = expected < 50
    drawn[few] = rng.poisson(expected[few])
    result: Floats = np.maximum(drawn, 0)
    return result


def _pink(rng: np.random.Generator, count: int) -> Floats:
    """Return noise of a spectrum 1/f with a standard deviation of one."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count)
    frequency[0] = np.inf
    stream = np.fft.irfft(spectrum / np.sqrt(frequency), count)
    result: Floats = (stream / stream.std()).astype(np.float32)
    return result


def write_exposure(path: Path, cube: npt.NDArray[np.generic], **cards: object) -> Path:
    """Write reads, (reads, ny, nx), as a raw ramp that begins at the first pixel of IRIS1.

    `cards` are other keywords of the primary header; one that is None is left out.
    """
    from astropy.io import fits

    header: dict[str, object] = {
        "TELESCOP": "TMT",
        "INSTRUME": "IRIS",
        "DETECTOR": "IRIS1",
        "DATE-OBS": "2026-11-22",
        "TIME-OBS": "14:00:00",
        "SUBARRAY": "CUSTOM",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "TGROUP": 5.0,
        "GAIN": 2.0,
        **cards,
    }
    primary = fits.PrimaryHDU()
    for keyword, value in header.items():
        if value is not None:
            primary.header[keyword] = value
    fits.HDUList([primary, fits.ImageHDU(cube, name="SCI")]).writeto(path)
    return path


def write_night(
    folder: str | os.PathLike[str],
    scene: Scene,
    *,
    darks: int = 5,
    reads: int = 50,
    flats: int = 3,
) -> tuple[list[Path], list[Path]]:
    """Write darks and flats of a detector into a folder; return their names.

    Examples
    --------
    >>> scene = Scene((32, 64), seed=1, border=(4, 0, 4, 0))
    >>> darks, flats = write_night("night", scene, darks=2, reads=4, flats=1)
    >>> darks[1].name, int(scene.truth["REFERENCE_PIXEL"].sum())
    ('dark_1.fits', 368)
    """
    place = Path(folder)
    place.mkdir(exist_ok=True)
    return (
        [
            write_exposure(place / f"dark_{number}.fits", scene.dark_ramp(number, reads))
            for number in range(darks)
        ],
        [
            write_exposure(place / f"flat_{number}.fits", scene.flat_ramp(number))
            for number in range(flats)
        ],
    )
