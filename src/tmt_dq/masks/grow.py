"""Flags grown into the pixels around them."""

from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError

GrowShape = Literal["plus", "square"]
"""The four neighbours that share an edge, or these and the four that share a corner."""


def grow_flags(
    dq: npt.NDArray[np.uint32], flags: str, *, shape: GrowShape = "plus"
) -> npt.NDArray[np.uint32]:
    """Give flags also to the neighbours of the pixels that have them.

    Charge of a hot pixel, and light of an open one, reach the pixels beside it: interpixel
    capacitance couples most strongly to the four that share an edge.

    Parameters
    ----------
    dq : ndarray of uint32, (ny, nx)
        Flags; not modified.
    flags : str
        Names of the flags to grow, separated by commas or bars.
    shape : {"plus", "square"}
        The neighbours: the four that share an edge, or all eight.

    Returns
    -------
    ndarray of uint32, (ny, nx)
        The flags, with those to grow in one more pixel on each side.

    Raises
    ------
    ConfigError
        Raised if the shape is unknown, or there is no flag to grow.
    UnknownFlagError
        Raised if a name is not in the convention.

    Examples
    --------
    >>> dq = np.zeros((3, 4), np.uint32)
    >>> dq[1, 1] = 2048 + 1024
    >>> grow_flags(dq, "HOT")
    array([[   0, 2048,    0,    0],
           [2048, 3072, 2048,    0],
           [   0, 2048,    0,    0]], dtype=uint32)
    """
    value = np.uint32(PIXEL.encode(flags))
    if not value or shape not in ("plus", "square"):
        raise ConfigError(
            f"{shape}:{flags} cannot be grown; expected plus:HOT,DEAD or square:HOT", where="grow"
        )
    own = dq & value
    grown = own.copy()
    grown[1:] |= own[:-1]
    grown[:-1] |= own[1:]
    source = grown.copy() if shape == "square" else own
    grown[:, 1:] |= source[:, :-1]
    grown[:, :-1] |= source[:, 1:]
    return dq | grown


def parse_growth(text: str) -> tuple[GrowShape, str]:
    """Return shape and flags of ``plus:HOT,DEAD`` or ``square:HOT``, after a trial."""
    shape, _, flags = text.strip().partition(":")
    growth = cast("GrowShape", shape.strip().lower()), flags
    grow_flags(np.zeros((1, 1), np.uint32), flags, shape=growth[0])
    return growth
