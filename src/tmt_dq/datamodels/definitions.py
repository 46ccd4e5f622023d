"""DQ_DEF tables as the data models hold them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.dq_def import DefinedBit, convention_rows
from tmt_dq.errors import MaskFormatError

__all__ = ["convention_table", "defined_bits"]

_DTYPE = np.dtype([("BIT", "<i4"), ("VALUE", "<u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])


def convention_table() -> npt.NDArray[np.void]:
    """Return the DQ_DEF table of the convention, with the types that the schema asks for."""
    return convention_rows().astype(_DTYPE)


def defined_bits(table: Any, *, where: object) -> list[DefinedBit]:
    """Return the rows of a DQ_DEF table.

    Parameters
    ----------
    table : FITS_rec or structured array_like
        The table.
    where : object
        Named in errors.

    Returns
    -------
    list of DefinedBit
        Its rows.

    Raises
    ------
    MaskFormatError
        Raised if it is not a table, or lacks a column that is needed.
    """
    # A FITS_rec is kept: only by column does it give unsigned numbers as such.
    columns = table if isinstance(table, fits.FITS_rec) else np.asarray(table)
    names = {name.upper(): name for name in columns.dtype.names or ()}
    missing = [name for name in ("BIT", "VALUE", "NAME") if name not in names]
    if missing:
        raise MaskFormatError(
            f"DQ_DEF has no column {', '.join(missing)}; found {', '.join(names) or 'no columns'}",
            where=where,
            hint="The columns are BIT, VALUE, NAME and DESCRIPTION.",
        )
    texts = names.get("DESCRIPTION", names["NAME"])
    return [
        DefinedBit(bit, value, _text(name), _text(description))
        for bit, value, name, description in zip(
            np.asarray(columns[names["BIT"]]).tolist(),
            np.asarray(columns[names["VALUE"]]).tolist(),
            columns[names["NAME"]],
            columns[texts],
            strict=True,
        )
    ]


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
