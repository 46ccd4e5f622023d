"""DQ_DEF tables read from FITS."""

import numpy as np
from astropy.io import fits

from tmt_dq.core.dq_def import DefinedBit
from tmt_dq.errors import RampFormatError
from tmt_dq.io.checksums import to_bytes
from tmt_dq.io.inputs import FitsInput
from tmt_dq.io.layout import Unit, padded

__all__ = ["read_dq_def"]

_HINT = "DQ_DEF is a binary table with the columns BIT, VALUE, NAME and DESCRIPTION."


def read_dq_def(file: FitsInput, unit: Unit) -> list[DefinedBit]:
    """Return the rows of a DQ_DEF table.

    Parameters
    ----------
    file : FitsInput
        The open file.
    unit : Unit
        Its table.

    Returns
    -------
    list of DefinedBit
        The rows, unchecked.

    Raises
    ------
    RampFormatError
        Raised if the unit is not a table, or lacks a column BIT, VALUE or NAME.
    """
    if unit.is_image:
        raise RampFormatError("DQ_DEF is an image; expected a table", where=file.path, hint=_HINT)
    data = file.read(unit)
    try:
        table = fits.BinTableHDU.fromstring(
            to_bytes(unit.header) + data + bytes(padded(len(data)) - len(data))
        ).data
        names = {name.upper(): name for name in table.names}
        columns = {key: np.asarray(table[name]) for key, name in names.items()}
    except (ValueError, TypeError, OSError, fits.VerifyError) as error:
        raise RampFormatError(
            f"DQ_DEF cannot be read: {error}", where=file.path, hint=_HINT
        ) from error
    missing = [name for name in ("BIT", "VALUE", "NAME") if name not in columns]
    if missing:
        raise RampFormatError(
            f"DQ_DEF has no column {', '.join(missing)}; found {', '.join(columns) or 'none'}",
            where=file.path,
            hint=_HINT,
        )
    for name in ("BIT", "VALUE"):
        if columns[name].ndim != 1 or columns[name].dtype.kind not in "iuf":
            raise RampFormatError(
                f"DQ_DEF has a column {name} of type {columns[name].dtype} and shape "
                f"{columns[name].shape}; expected one number a row",
                where=file.path,
                hint=_HINT,
            )
    count = len(columns["BIT"])
    descriptions = columns.get("DESCRIPTION", np.full(count, ""))
    return [
        DefinedBit(
            bit=columns["BIT"][row].item(),
            value=columns["VALUE"][row].item(),
            name=str(columns["NAME"][row]),
            description=str(descriptions[row]),
        )
        for row in range(count)
    ]
