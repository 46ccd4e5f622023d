"""Flag values from arrays of any numeric type, without losing or inventing a flag."""

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import MaskFormatError

_LARGEST = 0xFFFF_FFFF


def as_flags(array: npt.ArrayLike, *, where: object = "dq") -> npt.NDArray[np.uint32]:
    """Return values as C-contiguous uint32; MaskFormatError if any is no whole number that fits."""
    values = np.asarray(array)
    kind = values.dtype.kind
    if kind not in "buif":
        raise MaskFormatError(
            f"values are of type {values.dtype}; expected whole numbers from 0 to {_LARGEST}",
            where=where,
        )
    if kind in "bu" and values.dtype.itemsize <= 4:
        return np.ascontiguousarray(values, dtype=np.uint32)
    if kind == "f":
        with np.errstate(over="ignore"):
            # 2^32 is exact in every float type that reaches it (2^32 - 1 is not in float32); in
            # float16 it is infinity, beyond every number.
            bad = ~((values >= 0) & (values < values.dtype.type(_LARGEST + 1)))
            bad |= np.trunc(values) != values
    else:
        bad = values < 0
        if values.dtype.itemsize > 4:
            bad |= values > _LARGEST
    if bad.any():
        first = tuple(int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise MaskFormatError(
            f"{int(np.count_nonzero(bad)):,} values are no flags, the first is {values[first]} at "
            f"index {first}; expected whole numbers from 0 to {_LARGEST}",
            where=where,
        )
    # A float so large may have lost the lowest bits of what was written into it.
    bits = int(np.finfo(values.dtype).nmant) + 1 if kind == "f" else 32
    doubtful = int(np.count_nonzero(values >= 1 << bits)) if bits < 32 else 0
    if doubtful:
        raise MaskFormatError(
            f"{doubtful:,} values are 2^{bits} or larger, and {values.dtype.name} holds {bits} "
            "bits; expected all 32 bits of a flag value",
            where=where,
            hint="Bits may be lost: make the flags again as uint32.",
        )
    return np.ascontiguousarray(values, dtype=np.uint32)


def whole_number(value: object) -> int | None:
    """Return a value of a header or table as an integer, 8.0 too; None for text, T, F and NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return int(value) if float(value).is_integer() else None
