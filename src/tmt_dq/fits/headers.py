"""Headers of new units."""

from collections.abc import Iterable

from tmt_dq.fits.cards import Header


def primary_header() -> Header:
    """Return the header of a primary unit without data."""
    header = Header()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    header["BITPIX"] = (8, "array data type")
    header["NAXIS"] = (0, "number of array dimensions")
    header["EXTEND"] = True
    return header


def image_header(
    name: str, bitpix: int, shape: tuple[int, ...], *, like: Header | None = None
) -> Header:
    """Return the header of an image extension that holds flags, with other cards of `like`."""
    header = _extension("IMAGE", "Image extension", bitpix)
    header["NAXIS"] = (len(shape), "number of array dimensions")
    for axis, length in enumerate(reversed(shape), start=1):
        header[f"NAXIS{axis}"] = length
    header["PCOUNT"] = (0, "number of parameters")
    header["GCOUNT"] = (1, "number of groups")
    if bitpix == 32:
        header["BSCALE"] = 1
        header["BZERO"] = 1 << 31
    header["EXTNAME"] = (name, "extension name")
    return _completed(header, like, {"BLANK"})


def table_header(
    name: str,
    row_size: int,
    rows: int,
    columns: Iterable[tuple[str, str, int | None]],
    *,
    like: Header | None = None,
) -> Header:
    """Return the header of a binary table of columns with names, forms and offsets (TZERO)."""
    columns = list(columns)
    header = _extension("BINTABLE", "binary table extension", 8)
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = (row_size, "length of dimension 1")
    header["NAXIS2"] = (rows, "length of dimension 2")
    header["PCOUNT"] = (0, "number of group parameters")
    header["GCOUNT"] = (1, "number of groups")
    header["TFIELDS"] = (len(columns), "number of table fields")
    for number, (column, form, zero) in enumerate(columns, start=1):
        header[f"TTYPE{number}"] = column
        header[f"TFORM{number}"] = form
        if zero is not None:
            header[f"TZERO{number}"] = zero
    header["EXTNAME"] = (name, "extension name")
    return _completed(header, like, {"NAXIS3", "THEAP", "BSCALE", "BZERO", "TDIM1"})


def _extension(kind: str, comment: str, bitpix: int) -> Header:
    header = Header()
    header["XTENSION"] = (kind, comment)
    header["BITPIX"] = (bitpix, "array data type")
    return header


def _completed(header: Header, like: Header | None, stale: set[str]) -> Header:
    """Add the cards of an older header that are neither in the new one nor stale."""
    own = {*header, *stale, "CHECKSUM", "DATASUM"}
    header.append(*(card for card in (like or Header()).cards if card.keyword not in own))
    return header
