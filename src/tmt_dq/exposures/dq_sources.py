"""DQ_SOURCES: the table in which an output records the sources of its flags, for programs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.errors import RampFormatError
from tmt_dq.fits.cards import Header, ascii_text
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.tables import read_columns, table_unit

EXTENSION = "DQ_SOURCES"
BEFORE = "flags before"
"""KIND of the row for flags that the exposure had before; its PIXELS are 0 where it had none."""
MASK = "mask"
"""KIND of the row for the mask, whose PARAMETERS have the context where rules chose it."""

_COLUMNS = ("KIND", "NAME", "SHA256", "PIXELS", "PARAMETERS")


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """A row of DQ_SOURCES: one source of flags.

    Its parameters are its settings; "samples" has the samples per flag of GROUPDQ, "context" the
    CRDS context.
    """

    kind: str  # as that of a FlagSource
    name: str  # its origin: ``crds://tmt_iris_mask_0001.fits``, a file name
    sha256: str = ""  # of its file
    pixels: int = 0  # to which it gave a flag of PIXELDQ
    parameters: Mapping[str, Any] = field(default_factory=dict)


def sources_array(rows: Iterable[RecordedSource]) -> npt.NDArray[np.void]:
    """Return the table's data; characters beyond ASCII are escapes."""
    values = [
        (
            ascii_text(row.kind),
            ascii_text(row.name),
            row.sha256,
            row.pixels,
            json.dumps(row.parameters, sort_keys=True, default=str),
        )
        for row in rows
    ]
    types = [
        ">i8" if name == "PIXELS" else f"S{max([1, *(len(str(row[n])) for row in values)])}"
        for n, name in enumerate(_COLUMNS)
    ]
    return np.array(values, list(zip(_COLUMNS, types, strict=True)))


def sources_unit(rows: Iterable[RecordedSource]) -> tuple[Header, bytes]:
    """Return the table as an extension: its header and its data."""
    return table_unit(EXTENSION, sources_array(rows))


def read_sources(file: FitsInput) -> tuple[RecordedSource, ...] | None:
    """Return the record of a file, None where it has none; RampFormatError if it is damaged."""
    units = file.named(EXTENSION)
    if not units:
        return None
    columns = read_columns(file, units[0], needed=_COLUMNS)
    rows = zip(*(columns[name] for name in _COLUMNS), strict=True)
    try:
        return tuple(
            RecordedSource(str(kind), str(name), str(digest), int(pixels), json.loads(str(text)))
            for kind, name, digest, pixels, text in rows
        )
    except ValueError as error:
        raise RampFormatError(
            f"{EXTENSION} is damaged: {error}",
            where=file.path,
            hint="Process the raw ramp.",
        ) from error


def mask_row(file: FitsInput) -> RecordedSource | None:
    """Return the record of an exposure's mask; None where it was not initialized.

    Files without DQ_SOURCES have it in the keywords R_MASK and CRDS_CTX.
    """
    for row in read_sources(file) or ():
        if row.kind == MASK:
            return row
    header = file.units[0].header
    if "R_MASK" not in header:
        return None
    context = header.get("CRDS_CTX")
    return RecordedSource(
        MASK, str(header["R_MASK"]), parameters={} if context is None else {"context": context}
    )
