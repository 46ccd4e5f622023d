"""Memory and disk: constant memory at any length of the ramp, and no room for zeros.

Peak memory is that of the whole process of the command line (``ru_maxrss``).
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import (
    compress_gzip,
    compress_tiles,
    data_unit,
    make_mask,
    make_ramp,
    ramp_hdus,
    run_python,
)

WATCH = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def sparse_ramp(path: Path, shape: tuple[int, int, int, int], **options: Any) -> Path:
    """Write a ramp of uint16 whose data are a hole: stored zeros, 32768 each."""
    hdus = ramp_hdus((1, 1, 1, 1), **options)
    header = hdus["SCI"].header
    for axis, length in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = length
    if "SUBSIZE1" in hdus[0].header:
        hdus[0].header["SUBSIZE1"], hdus[0].header["SUBSIZE2"] = shape[3], shape[2]
    with path.open("wb") as file:
        file.write(hdus[0].header.tostring().encode() + header.tostring().encode())
        file.truncate(file.tell() + -(-2 * int(np.prod(shape)) // 2880) * 2880)
    return path


def sparse_layout(path: Path, shape: tuple[int, int, int, int]) -> Path:
    """Write such a ramp in the layout of liger_iris_pipeline, (y, x, integration, group)."""
    nints, ngroups, ny, nx = shape
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "IRIS", "DETECTOR": "IMG1", "DATAMODL": "RampModel"})
    primary.header.update({"SUBSTRT1": 1, "SUBSTRT2": 1})
    with path.open("wb") as file:
        file.write(primary.header.tostring().encode())
        for name in ("DATA", "DQ"):
            header = fits.ImageHDU(np.zeros((1, 1, 1, 1), np.uint16), name=name).header
            for axis, length in enumerate((ngroups, nints, nx, ny), start=1):
                header[f"NAXIS{axis}"] = length
            header["BSCALE"], header["BZERO"] = 1, 1 << 15
            file.write(header.tostring().encode())
            file.seek(-(-2 * int(np.prod(shape)) // 2880) * 2880, os.SEEK_CUR)
        file.truncate()
    return path


def peak_megabytes(*arguments: object) -> float:
    """Run the command line; return its peak resident memory in MB (10^6 bytes)."""
    command = Path(sys.executable).with_name("tmt-dq")
    result = run_python("-c", WATCH, command, *arguments, timeout=600, code=0)
    return int(result.stdout) * 1024 / 1e6


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (sparse_ramp, ()),
        (sparse_ramp, ("--propagate-do-not-use",)),
        (sparse_layout, ("--propagate-do-not-use",)),
    ],
)
def test_memory_does_not_grow_with_the_ramp(
    folder: Path, make: Callable[..., Path], options: tuple[str, ...]
) -> None:
    """Nor with the groups that are flagged."""
    mask = make_mask(folder / "mask.fits", np.ones((1024, 1024), np.uint32))
    peaks = []
    for ngroups in (4, 16, 64):  # 8, 34 and 134 MB of science data
        ramp = make(folder / f"{ngroups}.fits", (1, ngroups, 1024, 1024))
        output = folder / "out.fits"
        words = ("apply", ramp, "-o", output, "--mask", mask, "--no-sync", *options)
        peaks.append(peak_megabytes(*words))
        assert output.stat().st_size > 3 * ngroups * 1024 * 1024
        output.unlink()
        ramp.unlink()
    assert max(peaks) - min(peaks) < 15, peaks


@pytest.mark.parametrize("suffix", [".fits.gz", ".fits.fz"])
def test_memory_does_not_grow_with_what_is_compressed(folder: Path, suffix: str) -> None:
    mask = make_mask(folder / "mask.fits", np.ones((1024, 1024), np.uint32))
    noise = np.random.default_rng(3).integers(0, 2**16, (1, 24, 1024, 1024), dtype=np.uint16)
    peaks = []
    for ngroups in (2, 24):  # 4 and 50 MB, which noise keeps when it is compressed
        plain = make_ramp(folder / "plain.fits", sci=noise[:, :ngroups])
        compress = compress_gzip if suffix == ".fits.gz" else compress_tiles
        ramp = compress(plain, folder / f"{ngroups}{suffix}")
        assert ramp.stat().st_size > 0.9 * plain.stat().st_size
        plain.unlink()
        output = folder / "out.fits"
        peaks.append(peak_megabytes("apply", ramp, "-o", output, "--mask", mask, "--no-sync"))
        stored = (noise[0, 0, 0] ^ np.uint16(1 << 15)).astype(">u2")
        assert data_unit(output, "SCI")[:2048] == stored.tobytes()
        output.unlink()
    assert max(peaks) - min(peaks) < 15, peaks


@pytest.mark.large
def test_full_frame_of_forty_reads(folder: Path, cache_dir: Path) -> None:
    if os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize < 3_000_000_000:
        pytest.skip("needs 3 GB of free disk")
    ramp = sparse_ramp(folder / "ramp.fits", (1, 40, 4096, 4096), start=None)
    output = folder / "ramp_dqinit.fits"
    # The mask is chosen by the rules, and the cache may have to be unpacked: all of it counts.
    peak = peak_megabytes("apply", ramp, "--no-sync")
    assert peak < 300
    with fits.open(output) as hdus:
        assert hdus["SCI"].shape == hdus["GROUPDQ"].shape == (1, 40, 4096, 4096)
        pixeldq = hdus["PIXELDQ"].data
        # The border of four reference pixels, 2^31 each.
        assert np.count_nonzero(pixeldq) == 4096**2 - 4088**2
        assert (pixeldq[:4] == 2147483648).all()
        assert not pixeldq[4:-4, 4:-4].any()
    ramp.unlink()
    output.unlink()
