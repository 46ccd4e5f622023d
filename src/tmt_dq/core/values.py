"""Flag values from arrays of any numeric type, without losing or inventing a flag."""

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import MaskFormatError

__all__ = ["as_flags"]

_LARGEST = 0xFFFF_FFFF


def as_flags(array: npt.ArrayLike, *, where: object = "dq") -> npt.NDArray[np.uint32]:
    """Return an array's values as uint32, if every one of them is a whole number that fits.

    Booleans, integers or floats of any shape are taken; the result is C-contiguous in native byte
    order, `array` itself where it already is that. Values that are negative, fractional, NaN,
    infinite or larger than 2^32 - 1 are a MaskFormatError with their number and the first position.

    Examples
    --------
    >>> as_flags([[0.0, 1024.0]])
    array([[   0, 1024]], dtype=uint32)
    """
    values = np.asarray(array)
    if values.dtype == np.uint32 and values.dtype.isnative:
        return np.ascontiguousarray(values)
    if values.dtype.kind not in "buif":
        raise MaskFormatError(
            f"values are of type {values.dtype}; expected whole numbers from 0 to {_LARGEST}",
            where=where,
        )
    if values.dtype.kind == "f":
        # 2^32 is exact in every float type that reaches it (2^32 - 1 is not in float32); in
        # float16 it is infinity, beyond every number.
        with np.errstate(over="ignore"):
            limit = values.dtype.type(_LARGEST + 1)
        bad = ~((values >= 0) & (values < limit))
        # NaN and infinity are bad already; their floor would only warn.
        bad |= np.where(bad, False, values) != np.floor(np.where(bad, 0, values))
    elif values.dtype.kind == "i":
        bad = (values < 0) | (values > _LARGEST) if values.dtype.itemsize > 4 else values < 0
    elif values.dtype.itemsize > 4:
        bad = values > _LARGEST
    else:
        return np.ascontiguousarray(values, dtype=np.uint32)
    if bad.any():
        first = tuple(int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise MaskFormatError(
            f"{int(np.count_nonzero(bad))} values are no flags, the first is {values[first]} at "
            f"index {first}; expected whole numbers from 0 to {_LARGEST}",
            where=where,
        )
    if values.dtype.kind == "f":
        _check_precision(values, where)
    return np.ascontiguousarray(values, dtype=np.uint32)


def _check_precision(values: npt.NDArray[np.floating], where: object) -> None:
    """Refuse floats so large that the lowest bits of a flag value may have been rounded away."""
    bits = int(np.finfo(values.dtype).nmant) + 1
    doubtful = 0 if bits >= 32 else int(np.count_nonzero(values >= 1 << bits))
    if doubtful:
        raise MaskFormatError(
            f"{doubtful} values are 2^{bits} or larger, and {values.dtype.name} holds {bits} bits; "
            "expected all 32 bits of a flag value",
            where=where,
            hint="Bits may be lost: make the flags again as uint32.",
        )
