"""Raw ramps with known defects, to try the software on."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Border, Window
from tmt_dq.errors import ConfigError, GeometryError
from tmt_dq.files.atomic import atomic_output, output_errors
from tmt_dq.files.copying import write_all
from tmt_dq.fits.cards import Header, Value
from tmt_dq.fits.headers import primary_header
from tmt_dq.fits.layout import padded
from tmt_dq.instruments import load

__all__ = ["simulate_defects", "simulate_ramp"]

_BIAS_DN = 2000.0
_READ_NOISE_DN = 12.0
_SIGNAL_DN_PER_READ = 60.0
_HOT_DN_PER_READ = 4000.0
_WARM_DN_PER_READ = 400.0
_READ_SECONDS = 0.72  # the shortest IRIS read
_DEFECTS = (
    ("WARM", np.float32(1), _WARM_DN_PER_READ),
    ("ADJ_OPEN", np.float32(1.5), 0),
    ("HOT", np.float32(0), _HOT_DN_PER_READ),
    ("DEAD", np.float32(0), 0),
    ("OPEN", np.float32(0), 0),
)
"""What becomes of the signal of a pixel with a flag: a factor, and DN per read."""


def simulate_ramp(  # noqa: PLR0913 - what the exposure is, keyword-only
    path: str | os.PathLike[str],
    *,
    detector: str = "IRIS1",
    ngroups: int = 5,
    window: Window | None = None,
    defects: npt.NDArray[np.uint32] | None = None,
    date: str = "2026-11-22",
    time: str = "04:30:00",
    seed: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write a raw up-the-ramp exposure of an IRIS detector.

    The light is a smooth gradient with point sources; reference pixels see no light. Unless the
    defects are given, one pixel in two thousand is hot and one in two thousand is dead. The file
    is written read by read: memory does not grow with `ngroups`.

    Parameters
    ----------
    path : path
        The file to write.
    detector : str
        DETECTOR.
    ngroups : int
        Number of reads, one a group.
    window : Window, optional
        The detector pixels to read; the full frame by default.
    defects : ndarray of uint32, (ny, nx), optional
        Flags of the whole detector, as `simulate_defects` returns them: HOT pixels are bright,
        WARM ones brighter than others, ADJ_OPEN ones too; DEAD and OPEN pixels see no light.
    date, time : str
        DATE-OBS and TIME-OBS.
    seed : int
        Seed of the random numbers: the same seed gives the same pixels.
    overwrite : bool
        Whether an existing file is replaced.
    progress : callable, optional
        Called with the number of bytes of each read.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConfigError
        Raised if `ngroups` is less than one.
    GeometryError
        Raised if `window` leaves the detector.
    OutputError
        Raised if the file exists or cannot be written.
    """
    if ngroups < 1:
        raise ConfigError(f"ngroups is {ngroups}; expected at least 1")
    instrument = load("IRIS")
    chip = instrument.detector(detector)
    frame = Window.full(*chip.shape)
    window = frame if window is None else window
    if not frame.contains(window) or min(window.shape) < 1:
        raise GeometryError(f"{window.describe()} is not on the detector, {frame.describe()}")
    path = Path(path)
    rng = np.random.default_rng(seed)
    rate = _rates(window, frame, chip.reference_border, defects, rng)
    primary, sci = _headers(path.name, detector, window, frame, ngroups, date, time)
    head = primary.to_bytes() + sci.to_bytes()
    with atomic_output(path, overwrite=overwrite, sync=False) as fd, output_errors(path):
        write_all(fd, head, 0)
        place = len(head)
        for group in range(ngroups):
            read = _read(rate * np.float32(group + 1), rng)
            write_all(fd, read.tobytes(), place)
            place += read.nbytes
            if progress is not None:
                progress(read.nbytes)
        os.ftruncate(fd, len(head) + padded(place - len(head)))
    return path


def simulate_defects(detector: str = "IRIS1", *, seed: int = 1) -> npt.NDArray[np.uint32]:
    """Make up the bad pixels of an IRIS detector.

    Parameters
    ----------
    detector : str
        The detector, for its size and the border of reference pixels.
    seed : int
        Seed of the random numbers: the same seed gives the same pixels.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        Flags: single HOT, WARM and DEAD pixels (one pixel in two thousand of each), clusters of
        OPEN pixels with a rim of ADJ_OPEN ones, two bad columns, and the reference pixels. Those
        that must not be used have DO_NOT_USE too.
    """
    instrument = load("IRIS")
    chip = instrument.detector(detector)
    ny, nx = chip.shape
    rng = np.random.default_rng(seed)
    dq = np.zeros(chip.shape, np.uint32)
    for name in ("HOT", "WARM", "DEAD"):
        many = dq.size // 2000
        dq[rng.integers(0, ny, many), rng.integers(0, nx, many)] = PIXEL[name]
    for _ in range(dq.size // 200_000):
        radius = int(rng.integers(2, 16))
        y, x = (int(rng.integers(radius + 1, length - radius - 1)) for length in (ny, nx))
        across = np.arange(-radius - 1, radius + 2)
        # A rim that is no circle: clusters have any form.
        wave = np.cos(3 * np.arctan2(across[:, None], across) + rng.uniform(0, 6))
        distance = np.hypot(across[:, None], across) * (1.2 + 0.2 * wave)
        part = dq[y - radius - 1 : y + radius + 2, x - radius - 1 : x + radius + 2]
        part[distance <= radius + 1] = PIXEL["ADJ_OPEN"]
        part[distance <= radius] = PIXEL["OPEN"]
    dq[:, nx // 3] = dq[ny // 2 :, 3 * nx // 4] = PIXEL["DEAD"]
    unusable = (dq & np.uint32(PIXEL.encode(instrument.do_not_use))) != 0
    dq[unusable] |= np.uint32(PIXEL["DO_NOT_USE"])
    frame = Window.full(ny, nx)
    light = np.zeros(dq.shape, np.bool_)
    light[frame.without(chip.reference_border).slices(frame)] = True
    dq[~light] = PIXEL["REFERENCE_PIXEL"]
    return dq


def _rates(
    window: Window,
    frame: Window,
    border: Border,
    defects: npt.NDArray[np.uint32] | None,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Return the signal of each pixel, DN per read, (ny, nx) float32."""
    y = np.arange(window.y, window.y + window.ny, dtype=np.float32)[:, None]
    x = np.arange(window.x, window.x + window.nx, dtype=np.float32)[None, :]
    slope = 1 + y / np.float32(frame.ny) + x / np.float32(2 * frame.nx)
    rate: npt.NDArray[np.float32] = np.float32(_SIGNAL_DN_PER_READ) * slope
    stars = max(3, math.prod(window.shape) // 100_000)
    for cy, cx, peak in zip(
        rng.integers(0, window.ny, stars),
        rng.integers(0, window.nx, stars),
        rng.exponential(2000, stars),
        strict=True,
    ):
        near_y = slice(max(0, cy - 12), cy + 13)
        near_x = slice(max(0, cx - 12), cx + 13)
        distance = (y[near_y] - window.y - cy) ** 2 + (x[:, near_x] - window.x - cx) ** 2
        rate[near_y, near_x] += np.float32(peak) * np.exp(-distance / 8)
    if defects is None:
        lottery = rng.random(window.shape, dtype=np.float32)
        rate[lottery < 1 / 2000] = _HOT_DN_PER_READ
        rate[lottery > 1 - 1 / 2000] = 0
    else:
        flags = defects[window.slices(frame)]
        for name, gain, offset in _DEFECTS:
            chosen = (flags & np.uint32(PIXEL[name])) != 0
            rate[chosen] = gain * rate[chosen] + np.float32(offset)
    light = frame.without(border)
    outside_y = (y < light.y) | (y >= light.y + light.ny)
    outside_x = (x < light.x) | (x >= light.x + light.nx)
    rate[outside_y | outside_x] = 0
    return rate


def _read(signal: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Return one read as FITS stores uint16: big-endian int16, 32768 less."""
    counts = rng.standard_normal(signal.shape, dtype=np.float32)
    counts *= np.float32(_READ_NOISE_DN)
    counts += signal
    counts += np.float32(_BIAS_DN)
    np.clip(counts, 0, 65535, out=counts)
    counts -= 32768
    return counts.astype(">i2")


def _headers(
    name: str, detector: str, window: Window, frame: Window, ngroups: int, date: str, time: str
) -> tuple[Header, Header]:
    primary = primary_header()
    full = window == frame
    cards: dict[str, Value] = {
        "FILENAME": name,
        "DATAMODL": "TMTRampModel",
        "TELESCOP": "TMT",
        "INSTRUME": "IRIS",
        "DETECTOR": detector,
        "EXP_TYPE": "IMG_SCI",
        "READPATT": "UTR",
        "DATE-OBS": date,
        "TIME-OBS": time,
        "NINTS": 1,
        "NGROUPS": ngroups,
        "TGROUP": _READ_SECONDS,
        "SUBARRAY": "FULL" if full else "CUSTOM",
        "SUBSTRT1": window.xstart,
        "SUBSTRT2": window.ystart,
        "SUBSIZE1": window.nx,
        "SUBSIZE2": window.ny,
        "DETXSIZE": frame.nx,
        "DETYSIZE": frame.ny,
        "FASTAXIS": 1,
        "SLOWAXIS": 2,
    }
    for keyword, value in cards.items():
        primary[keyword] = value
    primary.add_history("Simulated by tmt-dq; not an observation")
    sci = Header()
    sci["XTENSION"] = ("IMAGE", "Image extension")
    sci["BITPIX"] = 16
    sci["NAXIS"] = 4
    for axis, length in enumerate((window.nx, window.ny, ngroups, 1), start=1):
        sci[f"NAXIS{axis}"] = length
    sci["PCOUNT"] = 0
    sci["GCOUNT"] = 1
    sci["BSCALE"] = 1
    sci["BZERO"] = 32768
    sci["EXTNAME"] = "SCI"
    sci["BUNIT"] = "DN"
    return primary, sci
