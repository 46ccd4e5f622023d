"""Data-quality flags by name: `pixel` for PIXELDQ and masks, `group` for GROUPDQ.

Examples
--------
>>> from tmt_dq import dqflags
>>> dqflags.pixel["HOT"]
2048
>>> dqflags.pixel.decode(2049)
('DO_NOT_USE', 'HOT')
>>> import numpy as np
>>> dqflags.pixel.count(np.array([0, 2048, 2049], np.uint32))
{'GOOD': 1, 'DO_NOT_USE': 1, 'HOT': 2}

`PixelBits` and `GroupBits` are the same flags for `astropy.nddata.bitmask`:

>>> from astropy.nddata.bitmask import bitfield_to_boolean_mask, interpret_bit_flags
>>> interpret_bit_flags("DEAD,HOT", flag_name_map=dqflags.PixelBits)
3072
>>> dq = np.array([0, 2048, 2049], np.uint32)
>>> bitfield_to_boolean_mask(dq, ignore_flags="HOT", flag_name_map=dqflags.PixelBits)
array([False, False,  True])
"""

import functools
from typing import TYPE_CHECKING, Any

from tmt_dq.core.flags import GROUP as group  # noqa: N811 - public names
from tmt_dq.core.flags import PIXEL as pixel  # noqa: N811
from tmt_dq.core.flags import Flag, FlagTable

if TYPE_CHECKING:
    from astropy import table as astropy_table

    PixelBits: Any
    GroupBits: Any

__all__ = ["Flag", "FlagTable", "GroupBits", "PixelBits", "group", "pixel", "to_table"]

_BITS = {"PixelBits": pixel, "GroupBits": group}


def to_table(flags: FlagTable = pixel) -> "astropy_table.Table":
    """Return a convention as a table of astropy.

    Parameters
    ----------
    flags : FlagTable
        `pixel` or `group`.

    Returns
    -------
    astropy.table.Table
        Columns name, bit, value and description, a row for each flag.
    """
    from tmt_dq.tables import as_astropy

    rows = [(flag.name, flag.bit, flag.value, flag.description) for flag in flags.flags]
    return as_astropy(rows, ("name", "bit", "value", "description"), meta={"table": flags.title})


@functools.cache
def _bits(name: str) -> Any:
    """Return a convention as astropy's class of flag names."""
    from astropy.nddata.bitmask import extend_bit_flag_map

    flags = _BITS[name]
    values = {flag.name: (flag.value, flag.description) for flag in flags.flags}
    values |= {old: (flags[new], f"Now {new}") for old, new in flags.aliases.items()}
    made = extend_bit_flag_map(name, **values)
    # So that it pickles by its name here. astropy lets nobody set attributes of such a class.
    type.__setattr__(made, "__module__", __name__)
    return made


def __getattr__(name: str) -> Any:
    # When they are first used: astropy.nddata takes half a second to import.
    if name in _BITS:
        return _bits(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
