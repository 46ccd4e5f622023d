"""Whether an output of tmt-dq is right; prints JSON.

python -m benchmarks.check INPUT OUTPUT MASK
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

__all__ = ["check", "stored_bytes"]

_CHUNK = 16 * 1024 * 1024


def check(source: Path, output: Path, mask: Path) -> dict[str, object]:
    """Compare an output with its input and the mask.

    Parameters
    ----------
    source, output : Path
        A simulated ramp, and what was made of it.
    mask : Path
        The detector's mask, without a DQ_DEF.

    Returns
    -------
    dict
        Whether SCI is byte for byte the input's, PIXELDQ is the mask, GROUPDQ reads as zeros, and
        how many bytes of the disk GROUPDQ takes.
    """
    dq = np.asarray(fits.getdata(mask, "DQ"), dtype=np.uint32)
    # The simulated ramps begin at the detector's first pixel.
    ny, nx = fits.getheader(source, "SCI")["NAXIS2"], fits.getheader(source, "SCI")["NAXIS1"]
    dq = dq[:ny, :nx]
    with fits.open(source) as before, fits.open(output, memmap=False) as after:
        groupdq = after["GROUPDQ"].fileinfo()
        size = int(np.prod(after["GROUPDQ"].shape))
        places = [hdus["SCI"].fileinfo()["datLoc"] for hdus in (before, after)]
        length = before["SCI"].fileinfo()["datSpan"]
        found: dict[str, object] = {
            "status": after[0].header["S_DQINIT"],
            "mask": after[0].header["R_MASK"],
            "pixeldq_is_mask": bool((after["PIXELDQ"].data == dq).all()),
        }
    with source.open("rb") as first, output.open("rb") as second:
        found["sci_equal"] = _same(first.fileno(), second.fileno(), places, length)
        start = groupdq["datLoc"]
        found["groupdq_zero"] = _zero(second.fileno(), start, size)
        found["groupdq_stored_bytes"] = stored_bytes(second.fileno(), start, size)
    return found


def stored_bytes(fd: int, start: int, size: int) -> int:
    """Return how many bytes of a range of a file are not in holes."""
    total, place, end = 0, start, start + size
    while place < end:
        try:
            data = os.lseek(fd, place, os.SEEK_DATA)
        except OSError:
            break  # only holes up to the end of the file
        if data >= end:
            break
        place = min(os.lseek(fd, data, os.SEEK_HOLE), end)
        total += place - data
    return total


def _same(first: int, second: int, places: list[int], length: int) -> bool:
    for offset in range(0, length, _CHUNK):
        count = min(_CHUNK, length - offset)
        if os.pread(first, count, places[0] + offset) != os.pread(
            second, count, places[1] + offset
        ):
            return False
    return True


def _zero(fd: int, start: int, size: int) -> bool:
    """Whether a range reads as zeros; holes do, so only what is stored is read."""
    place, end = start, start + size
    while place < end:
        try:
            place = os.lseek(fd, place, os.SEEK_DATA)
        except OSError:
            return True
        if place >= end:
            return True
        data = os.pread(fd, min(_CHUNK, end - place), place)
        if data.strip(b"\0"):
            return False
        place += len(data)
    return True


if __name__ == "__main__":
    print(json.dumps(check(*map(Path, sys.argv[1:]))))
