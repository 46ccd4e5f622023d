"""Flags and their definitions (DQ, DQ_DEF) as the data models hold them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from tmt_dq.core.dq_def import DefinedBit, convention_rows, translate, translation
from tmt_dq.core.values import as_flags
from tmt_dq.errors import GeometryError, MaskFormatError

Flags = npt.NDArray[np.uint32]

_DTYPE = np.dtype([("BIT", "<i4"), ("VALUE", "<u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])


def convention_table() -> npt.NDArray[np.void]:
    """Return the DQ_DEF table of the convention, with the types that the schema asks for."""
    return convention_rows().astype(_DTYPE)


def defined_bits(table: Any, *, where: object) -> list[DefinedBit]:
    """Return the rows of a DQ_DEF table, a FITS_rec or structured array."""
    # A FITS_rec is kept: only by column does it give unsigned numbers as such.
    columns = table if isinstance(table, fits.FITS_rec) else np.asarray(table)
    names = {name.upper(): name for name in columns.dtype.names or ()}
    missing = [name for name in ("BIT", "VALUE", "NAME") if name not in names]
    if missing:
        found = ", ".join(names) or "no columns"
        what = f"DQ_DEF has no column {', '.join(missing)}; found {found}"
        hint = "The columns are BIT, VALUE, NAME and DESCRIPTION."
        raise MaskFormatError(what, where=where, hint=hint)
    bits, values = (np.asarray(columns[names[key]]).tolist() for key in ("BIT", "VALUE"))
    texts = (
        name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
        for name in columns[names["NAME"]]
    )
    return [DefinedBit(*row) for row in zip(bits, values, texts, strict=True)]


def flags_2d(value: Any, *, where: object) -> Flags:
    """Return an image of flags, uint32, from an array of any numeric type."""
    flags = as_flags(value, where=where)
    if flags.ndim != 2:
        raise GeometryError(f"has the shape {flags.shape}; expected (ny, nx)", where=where)
    return flags


def translate_flags(dq: Flags, table: Any, *, where: object) -> Flags:
    """Return flags of the convention, from flags whose bits a DQ_DEF table defines."""
    return translate(dq, translation(defined_bits(table, where=where), where=where), where=where)[0]


def translate_hdus(hdulist: fits.HDUList, *, where: object) -> fits.HDUList:
    """Return a mask's extensions with DQ and DQ_DEF in the convention; the list is not modified."""
    named = [hdu for hdu in hdulist if hdu.name == "DQ" and hdu.is_image]
    if len(named) != 1:
        listing = ", ".join(hdu.name or "no name" for hdu in hdulist)
        what = f"has {len(named) or 'no'} image extensions DQ; expected one, found {listing}"
        hint = "A mask has its flags in an image extension DQ."
        raise MaskFormatError(what, where=where, hint=hint)
    stored = named[0].data
    if stored is None or stored.ndim != 2:
        shape = () if stored is None else stored.shape
        raise MaskFormatError(f"DQ has the shape {shape}; expected (ny, nx)", where=where)
    dq = as_flags(stored, where=f"{where}[DQ]")
    changed = {}
    tables = [hdu for hdu in hdulist if hdu.name == "DQ_DEF"]
    if len(tables) > 1:
        what = f"has {len(tables)} tables DQ_DEF; expected one"
        raise MaskFormatError(what, where=where, hint="Leave the right one.")
    for table in tables:
        dq = translate_flags(dq, table.data, where=where)
        changed[table] = fits.BinTableHDU(convention_table(), name="DQ_DEF")
    if dq is not stored:
        changed[named[0]] = named[0].copy()
        changed[named[0]].data = dq
    return fits.HDUList([changed.get(hdu, hdu) for hdu in hdulist])
