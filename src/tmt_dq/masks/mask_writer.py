"""Mask files written: flags, what they mean, and where they come from."""

import datetime as dt
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq import __version__
from tmt_dq.files.atomic import AtomicOutput, output_errors
from tmt_dq.fits.cards import Value, ascii_text
from tmt_dq.fits.headers import image_header, primary_header
from tmt_dq.fits.tables import convention_unit
from tmt_dq.fits.writer import UnitWriter

__all__ = ["write_mask"]

_ROWS = 256
_CARD = 72
"""Characters of text in a HISTORY card."""

_COMMENTS = {
    "DATE": "UTC date this file was made",
    "FILENAME": "Name of the file",
    "DATAMODL": "Type of data model",
    "TELESCOP": "Telescope",
    "INSTRUME": "Instrument",
    "DETECTOR": "Detector",
    "REFTYPE": "Type of reference file",
    "PEDIGREE": "Where the data come from",
    "USEAFTER": "First observation date this file is for",
    "AUTHOR": "Author of the reference file",
    "DESCRIP": "Description of the reference file",
    "SUBARRAY": "Subarrays it serves",
    "SUBSTRT1": "1-based first column on the detector",
    "SUBSTRT2": "1-based first row on the detector",
    "SUBSIZE1": "Number of columns",
    "SUBSIZE2": "Number of rows",
    "FASTAXIS": "Direction of the fast readout axis",
    "SLOWAXIS": "Direction of the slow readout axis",
    "CAL_VER": "Software that made the file",
}


def write_mask(
    path: Path,
    dq: npt.NDArray[np.uint32],
    keywords: Mapping[str, Value],
    history: Iterable[str],
    *,
    overwrite: bool = False,
) -> None:
    """Write a full-frame MASK reference file; it appears whole, or not at all."""
    header = primary_header()
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    cards: dict[str, Value] = {
        "DATE": now,
        "FILENAME": path.name,
        "DATAMODL": "TMTMaskModel",
        **keywords,
        "SUBARRAY": "GENERIC",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": dq.shape[1],
        "SUBSIZE2": dq.shape[0],
        "CAL_VER": f"tmt-dq {__version__}",
    }
    for keyword, value in cards.items():
        if value is not None:
            shown = ascii_text(value) if isinstance(value, str) else value
            header[keyword] = (shown, _COMMENTS.get(keyword, ""))
    for line in history:
        # Cut between words: what is cut anywhere, no search finds again.
        for piece in textwrap.wrap(ascii_text(line), _CARD, break_on_hyphens=False) or [""]:
            header.add_history(piece)
    with AtomicOutput(path, overwrite=overwrite) as output, output_errors(path):
        writer = UnitWriter(output.fd)
        writer.write(header)
        image = image_header("DQ", 32, dq.shape)
        # Copies of a few rows at a time: the writer uses them up.
        pieces = (dq[first : first + _ROWS].copy() for first in range(0, len(dq), _ROWS))
        writer.write_flags(writer.reserve_image(image, dq.nbytes), image, pieces)
        writer.write(*convention_unit())
        writer.finish()
