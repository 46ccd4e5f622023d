"""Sources that the detector and its readout give: reference pixels, guide windows, subarrays."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import GROUP, PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import GUIDE_PARTS, GuideWindow
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import ConfigError, GeometryError

__all__ = [
    "check_guide_windows",
    "guide_windows",
    "inside_subarrays",
    "merge_subarrays",
    "reference_pixels",
    "subarray_windows",
]


def reference_pixels(
    window: Window, frame: Window, border: int, mask: npt.NDArray[np.uint32] | None
) -> FlagSource:
    """Flag the border of reference pixels, if the mask does not say where they are.

    Parameters
    ----------
    window : Window
        The detector pixels of the exposure.
    frame : Window
        All pixels of the detector.
    border : int
        Width of the border of reference pixels on each side, pixels.
    mask : ndarray of uint32, (ny, nx), or None
        Flags of the mask inside `window`.

    Returns
    -------
    FlagSource
        REFERENCE_PIXEL of the border's pixels. Nothing if the mask has any REFERENCE_PIXEL: the
        mask wins, and a remark says in how many pixels it differs from the border.
    """
    bit = np.uint32(PIXEL["REFERENCE_PIXEL"])
    y = np.arange(window.y, window.y + window.ny)[:, None]
    x = np.arange(window.x, window.x + window.nx)[None, :]
    inside = (y >= border) & (y < frame.ny - border) & (x >= border) & (x < frame.nx - border)
    expected = np.where(inside, np.uint32(0), bit)
    remarks: tuple[str, ...] = ()
    if mask is not None:
        said = mask & bit
        if said.any():
            more = int(np.count_nonzero(said & ~expected))
            less = int(np.count_nonzero(expected & ~said))
            if more or less:
                remark = (
                    f"the mask's reference pixels differ from the border of {border}: {more} are "
                    f"not in the border, {less} of the border are not in the mask"
                )
                remarks = (remark,)
            expected = np.zeros_like(expected)
    return FlagSource(
        "reference pixels",
        origin="instrument",
        parameters={"border": border},
        pixel_bits=int(bit),
        pixels=expected,
        remarks=remarks,
    )


def guide_windows(
    windows: Sequence[GuideWindow],
    window: Window,
    *,
    origin: str,
    parts: Sequence[str] = GUIDE_PARTS,
    expand: int = 0,
) -> FlagSource:
    """Flag what windows that were read for guiding disturb.

    The pixels of a window see no science light while they are read for guiding: NON_SCIENCE and
    DO_NOT_USE. Reading them again and again leaves traces along the rows and columns that share
    their readout, known from other H4RGs: OTHER_BAD_PIXEL. A window that is there for some groups
    only also flags its samples in these groups, DO_NOT_USE.

    Parameters
    ----------
    windows : sequence of GuideWindow
        The guide windows.
    window : Window
        The detector pixels of the exposure.
    origin : str
        Where the windows are from: "header", "table", "caller".
    parts : sequence of str
        Which of "box", "rows" and "columns" to flag.
    expand : int
        Pixels by which each window is made larger on all sides, as Roman's ``expand_gw_flagging``.

    Returns
    -------
    FlagSource
        Flags of the pixels of all windows together, and of samples where they move.

    Raises
    ------
    ConfigError
        Raised if a part is unknown or `expand` is negative.
    """
    _check_guide_options(parts, expand)
    box_bits = np.uint32(PIXEL.encode("NON_SCIENCE DO_NOT_USE"))
    line_bits = np.uint32(PIXEL["OTHER_BAD_PIXEL"])
    pixels = np.zeros(window.shape, np.uint32)
    moving: list[tuple[tuple[int, int], tuple[slice, slice]]] = []
    for guide in windows:
        rows, columns = _inside(guide.window, window, expand)
        if "rows" in parts:
            pixels[rows, :] |= line_bits
        if "columns" in parts:
            pixels[:, columns] |= line_bits
        if "box" in parts:
            pixels[rows, columns] |= box_bits
            if guide.groups is not None:
                moving.append((guide.groups, (rows, columns)))

    def groups(_integration: int, group: int) -> npt.NDArray[np.uint8] | None:
        here = [place for (first, end), place in moving if first <= group < end]
        if not here:
            return None
        plane = np.zeros(window.shape, np.uint8)
        for place in here:
            plane[place] = GROUP["DO_NOT_USE"]
        return plane if plane.any() else None

    return FlagSource(
        "guide windows",
        origin=origin,
        parameters={
            "windows": [guide.describe() for guide in windows],
            "parts": list(parts),
            "expand": expand,
        },
        pixel_bits=int(box_bits | line_bits),
        group_bits=GROUP["DO_NOT_USE"] if moving else 0,
        pixels=pixels,
        groups=groups if moving else None,
    )


def check_guide_windows(
    windows: Sequence[GuideWindow], frame: Window, ngroups: int, *, where: object
) -> None:
    """Make sure that guide windows are on the detector, in groups that the exposure has.

    Parameters
    ----------
    windows : sequence of GuideWindow
        The guide windows.
    frame : Window
        All pixels of the detector.
    ngroups : int
        Groups of the exposure.
    where : object
        The exposure's file, named in errors.

    Raises
    ------
    GeometryError
        Raised if they are not: what would flag nothing is not what was meant.
    """
    problems = []
    for guide in windows:
        if not frame.contains(guide.window):
            problems.append(f"{guide.describe()} leaves the detector, {frame.describe()}")
        if guide.groups is not None and guide.groups[1] > ngroups:
            problems.append(f"{guide.describe()} is there after the last group, {ngroups}")
    if problems:
        raise GeometryError(
            "guide windows do not fit the exposure: " + "; ".join(problems),
            where=where,
            hint="Guide windows are X,Y,NX,NY[,FIRST:LAST]: detector pixels and groups, from 1.",
        )


def _check_guide_options(parts: Sequence[str], expand: int) -> None:
    unknown = [part for part in parts if part not in GUIDE_PARTS]
    if unknown:
        raise ConfigError(
            f"guide window parts {', '.join(unknown)} are unknown; expected some of "
            f"{', '.join(GUIDE_PARTS)}"
        )
    if expand < 0:
        raise ConfigError(f"guide windows are expanded by {expand} pixels; expected 0 or more")


def _inside(guide: Window, window: Window, expand: int) -> tuple[slice, slice]:
    """Return the rows and columns of an exposure that a guide window lies in."""
    slices = []
    for start, length, origin, size in (
        (guide.y, guide.ny, window.y, window.ny),
        (guide.x, guide.nx, window.x, window.nx),
    ):
        first = start - expand - origin
        last = start + length + expand - origin
        slices.append(slice(max(0, min(size, first)), max(0, min(size, last))))
    return slices[0], slices[1]


def subarray_windows(subarr_map: npt.NDArray[np.integer]) -> dict[int, Window]:
    """Return the window of each subarray of a frame that was read with many at once.

    Parameters
    ----------
    subarr_map : ndarray of int, (ny, nx)
        SUBARR_MAP: 0 outside, k inside subarray k.

    Returns
    -------
    dict of int to Window
        Subarray number to window, counted from the first pixel of the map.

    Raises
    ------
    GeometryError
        Raised if the numbers are not 1, 2, 3 … without a gap, or the pixels of a number are not
        one filled rectangle; all such numbers are listed.
    """
    rows, columns = np.nonzero(subarr_map)
    numbers = np.asarray(subarr_map)[rows, columns].astype(np.int64)
    found = [int(number) for number in np.unique(numbers)]
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
        window = Window(
            int(y.min()), int(x.min()), int(y.max() - y.min()) + 1, int(x.max() - x.min()) + 1
        )
        if y.size != window.ny * window.nx:
            problems.append(
                f"subarray {number} has {y.size} pixels between {window.describe()}, which has "
                f"{window.ny * window.nx}: it is not one rectangle"
            )
        windows[number] = window
    if problems:
        raise GeometryError(
            "SUBARR_MAP does not describe subarrays: " + "; ".join(problems),
            hint="Each subarray is one rectangle with a number of its own, from 1 on.",
        )
    return windows


def inside_subarrays(subarr_map: npt.NDArray[np.integer]) -> FlagSource:
    """Flag the pixels of a full frame whose data are in the files of subarrays.

    Parameters
    ----------
    subarr_map : ndarray of int, (ny, nx)
        SUBARR_MAP, checked by `subarray_windows`.

    Returns
    -------
    FlagSource
        NON_SCIENCE and DO_NOT_USE: the frame holds no valid data there, which is what these two
        flags say together; OUTLIER (bit 4), used for this elsewhere, says something else.
    """
    bits = np.uint32(PIXEL.encode("NON_SCIENCE DO_NOT_USE"))
    return FlagSource(
        "subarrays",
        origin="SUBARR_MAP",
        parameters={"count": int(subarr_map.max(initial=0))},
        pixel_bits=int(bits),
        pixels=np.where(np.asarray(subarr_map) > 0, bits, np.uint32(0)),
    )


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
    if subarr_map.shape != pixeldq.shape:
        raise GeometryError(f"SUBARR_MAP has the shape {subarr_map.shape}, PIXELDQ {pixeldq.shape}")
    if set(windows) != set(pieces):
        raise GeometryError(
            f"SUBARR_MAP has the subarrays {sorted(windows)}, but flags are given for "
            f"{sorted(pieces)}"
        )
    merged = pixeldq.copy()
    frame = Window.full(*pixeldq.shape)
    for number, window in windows.items():
        piece = pieces[number]
        if piece.shape != window.shape:
            raise GeometryError(
                f"subarray {number} has the shape {window.shape} in SUBARR_MAP, its flags "
                f"{piece.shape}"
            )
        merged[window.slices(frame)] = piece
    return merged
