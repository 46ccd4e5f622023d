"""Simulated IRIS ramps, written in bounded memory.

Run as a process of its own, so that what it uses does not count in anyone's measurement::

    python -m benchmarks.ramps OUTPUT --groups N [--size NY NX]

The peers' inputs are made from these files, in the peers' environments: the pixels are the same.
"""

import argparse
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from benchmarks.contenders import COMPRESSED

__all__ = ["IRIS", "read", "write_ramp"]

_FRAME = 4096
_BLOCK = 2880
_SEED = 20260101

IRIS = {
    "TELESCOP": "TMT",
    "INSTRUME": "IRIS",
    "DETECTOR": "IRIS1",
    "SUBARRAY": "FULL",
    "DATE-OBS": "2026-01-01",
    "TIME-OBS": "00:00:00",
}


def read(number: int, noise: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Return one read: bias, a slope, and noise that is the same plane shifted for each read."""
    return np.roll(noise, 97 * number, axis=1) + np.uint16(min(1000 + 120 * number, 60000))


def noise_plane(shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return the noise of all reads, 0 to 63 counts."""
    generator = np.random.default_rng(_SEED)
    return generator.integers(0, 64, shape, dtype=np.uint16)


def write_ramp(path: Path, ngroups: int, *, shape: tuple[int, int] = (_FRAME, _FRAME)) -> None:
    """Write a ramp of one integration, uint16, read by read.

    Parameters
    ----------
    path : Path
        The file.
    ngroups : int
        Number of reads.
    shape : tuple of int
        (ny, nx).
    """
    ny, nx = shape
    primary = fits.PrimaryHDU().header
    for keyword, value in IRIS.items():
        primary[keyword] = value
    if shape != (_FRAME, _FRAME):
        primary["SUBARRAY"] = "CUSTOM"
    for keyword, number in (
        ("NINTS", 1),
        ("NGROUPS", ngroups),
        ("SUBSTRT1", 1),
        ("SUBSTRT2", 1),
        ("SUBSIZE1", nx),
        ("SUBSIZE2", ny),
    ):
        primary[keyword] = number
    image = _image_header("SCI", 16, (1, ngroups, ny, nx), zero=1 << 15)
    noise = noise_plane(shape)
    with path.open("wb") as file:
        file.write(primary.tostring().encode("ascii"))
        file.write(image.tostring().encode("ascii"))
        for number in range(ngroups):
            stored = (read(number, noise) ^ np.uint16(1 << 15)).astype(">u2")
            file.write(stored.data.cast("B"))
        file.write(bytes(-file.tell() % _BLOCK))


def _gzip(source: Path, target: Path) -> None:
    with source.open("rb") as plain, gzip.open(target, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)


def _tiles(source: Path, target: Path) -> None:
    """Compress SCI by Rice's algorithm, a row to a tile, as fpack does."""
    with fits.open(source) as hdus:
        sci = hdus["SCI"]
        tile = (*(1 for _ in sci.shape[:-1]), sci.shape[-1])
        packed = fits.CompImageHDU(
            sci.data, sci.header, name="SCI", compression_type="RICE_1", tile_shape=tile
        )
        fits.HDUList([hdus[0], packed]).writeto(target)


_COMPRESS: dict[str, Callable[[Path, Path], None]] = dict(
    zip(COMPRESSED, (_gzip, _tiles), strict=True)
)
"""What makes a compressed ramp of a plain one, by the ending of its name."""


def _image_header(name: str, bitpix: int, shape: tuple[int, ...], *, zero: int) -> fits.Header:
    header = fits.Header()
    header["XTENSION"] = "IMAGE"
    header["BITPIX"] = bitpix
    header["NAXIS"] = len(shape)
    for axis, length in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = length
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["BSCALE"] = 1
    header["BZERO"] = zero
    header["EXTNAME"] = name
    return header


def main() -> None:
    """Write the ramp that the arguments ask for."""
    parser = argparse.ArgumentParser(description="Write a simulated IRIS ramp.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(_FRAME, _FRAME), metavar=("NY", "NX"))
    parser.add_argument(
        "--compressed", nargs="*", default=(), choices=COMPRESSED, help="and so compressed"
    )
    options = parser.parse_args()
    ny, nx = options.size
    write_ramp(options.output, options.groups, shape=(ny, nx))
    for suffix in options.compressed:
        _COMPRESS[suffix](options.output, options.output.with_suffix(suffix))


if __name__ == "__main__":
    main()
