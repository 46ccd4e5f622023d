"""Subarrays: the pixels of a frame whose data are in files of their own.

NON_SCIENCE and DO_NOT_USE: the frame holds no valid data there, which is what these two flags mean
together. OUTLIER (bit 4), used for this by other pipelines, means something else.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Exposure, FlagSource
from tmt_dq.errors import GeometryError

_BITS = np.uint32(PIXEL.encode("NON_SCIENCE DO_NOT_USE"))


def sources(_recipe: Recipe, exposure: Exposure) -> Iterator[FlagSource]:
    """Yield the source of a frame that was read together with subarrays, whatever the recipe."""
    subarr_map = exposure.readout.subarr_map
    if subarr_map is not None:
        yield FlagSource(
            "subarrays",
            origin="SUBARR_MAP",
            parameters={"count": int(subarr_map.max(initial=0))},
            pixels=(subarr_map > 0) * _BITS,
        )


def subarray_windows(subarr_map: npt.NDArray[np.integer]) -> dict[int, Window]:
    """Return the windows of subarrays by number, from the first pixel of their SUBARR_MAP on."""
    rows, columns = np.nonzero(subarr_map)
    numbers = subarr_map[rows, columns]
    found = np.unique(numbers).tolist()
    problems = []
    if found != list(range(1, len(found) + 1)):
        problems.append(
            f"the subarray numbers are {', '.join(map(str, found))}; expected 1 to {len(found)} "
            "without a gap"
        )
    windows = {}
    for number in found:
        mine = numbers == number
        y, x = rows[mine], columns[mine]
        window = Window(int(y.min()), int(x.min()), int(np.ptp(y)) + 1, int(np.ptp(x)) + 1)
        if y.size != window.ny * window.nx:
            problems.append(
                f"subarray {number} has {y.size:,} pixels between {window.describe()}, which has "
                f"{window.ny * window.nx}: it is not one rectangle"
            )
        windows[number] = window
    if problems:
        raise GeometryError(
            "SUBARR_MAP does not describe subarrays: " + "; ".join(problems),
            hint="Each subarray is one rectangle with a number of its own, from 1 on.",
        )
    return windows


def merge_subarrays(
    pixeldq: npt.NDArray[np.uint32],
    subarr_map: npt.NDArray[np.integer],
    pieces: Mapping[int, npt.NDArray[np.uint32]],
) -> npt.NDArray[np.uint32]:
    """Put the flags of subarrays into those of the frame they were read with.

    Parameters
    ----------
    pixeldq : ndarray of uint32, (ny, nx)
        PIXELDQ of the full frame; not modified.
    subarr_map : ndarray of int, (ny, nx)
        Its SUBARR_MAP.
    pieces : mapping of int to ndarray of uint32
        PIXELDQ of each subarray, by number.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        The flags of all pixels, each from the file that has its data.

    Raises
    ------
    GeometryError
        Raised if the map is wrong, a piece is missing or too many, or has the wrong shape.

    Examples
    --------
    >>> import numpy as np
    >>> subarr_map = np.array([[0, 1, 1], [0, 1, 1]], np.uint8)
    >>> frame = np.full((2, 3), 512, np.uint32)
    >>> merge_subarrays(frame, subarr_map, {1: np.array([[0, 1], [2048, 0]], np.uint32)})
    array([[ 512,    0,    1],
           [ 512, 2048,    0]], dtype=uint32)
    """
    windows = subarray_windows(subarr_map)
    shapes = {number: window.shape for number, window in windows.items()}
    given = {number: piece.shape for number, piece in pieces.items()}
    wrong = sorted(number for number, _ in shapes.items() ^ given.items())
    if wrong or subarr_map.shape != pixeldq.shape:
        raise GeometryError(
            f"SUBARR_MAP has the shape {subarr_map.shape}, PIXELDQ {pixeldq.shape}; subarrays "
            f"without flags of their shape: {', '.join(map(str, dict.fromkeys(wrong))) or 'none'}"
        )
    merged = pixeldq.copy()
    for number, window in windows.items():
        merged[window.slices(Window.full(*pixeldq.shape))] = pieces[number]
    return merged
