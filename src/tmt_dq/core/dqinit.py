"""The step itself: PIXELDQ and GROUPDQ of an exposure from the flags that apply to it."""

import numpy as np
import numpy.typing as npt

__all__ = ["combine", "new_groupdq", "new_pixeldq", "propagate_do_not_use"]

PixelDQ = npt.NDArray[np.uint32]
GroupDQ = npt.NDArray[np.uint8]

_DO_NOT_USE = 1


def new_pixeldq(shape: tuple[int, int]) -> PixelDQ:
    """Return a PIXELDQ without flags, (ny, nx) uint32."""
    return np.zeros(shape, np.uint32)


def new_groupdq(shape: tuple[int, int, int, int]) -> GroupDQ:
    """Return a GROUPDQ without flags, (nints, ngroups, ny, nx) uint8.

    The pages come zeroed from the system and are not touched: a GROUPDQ that stays empty takes
    no memory however long the ramp is.
    """
    return np.zeros(shape, np.uint8)


def combine(pixeldq: PixelDQ, *sources: PixelDQ, out: PixelDQ | None = None) -> PixelDQ:
    """Combine flags into PIXELDQ with a bitwise OR.

    Parameters
    ----------
    pixeldq : ndarray of uint32, (ny, nx)
        Flags the exposure already has; not modified unless it is also `out`.
    *sources : ndarray of uint32, (ny, nx)
        Flags to add.
    out : ndarray of uint32, (ny, nx), optional
        Where to put the result.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        `out`, or a new array.

    Raises
    ------
    ValueError
        Raised if shapes or types differ: broadcasting one pixel over a frame is never meant here.
    """
    for array in (pixeldq, *sources, *(() if out is None else (out,))):
        if array.shape != pixeldq.shape or array.dtype != np.uint32:
            raise ValueError(
                f"expected uint32 arrays of shape {pixeldq.shape}, found {array.dtype} "
                f"{array.shape}"
            )
    if out is None:
        out = pixeldq.copy()
    elif out is not pixeldq:
        np.copyto(out, pixeldq)
    for source in sources:
        np.bitwise_or(out, source, out=out)
    return out


def propagate_do_not_use(mask: PixelDQ) -> GroupDQ:
    """Return the plane that every group of GROUPDQ gets for the mask's DO_NOT_USE pixels.

    Parameters
    ----------
    mask : ndarray of uint32, (ny, nx)
        Flags of the mask.

    Returns
    -------
    ndarray of uint8, (ny, nx)
        DO_NOT_USE where the mask has it.
    """
    return (mask & np.uint32(_DO_NOT_USE)).astype(np.uint8)
