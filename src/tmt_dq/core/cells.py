"""Images in square cells of whole pixels: sums, and thumbnails of flags."""

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

_THUMBNAIL = 160
"""Pixels of a thumbnail's longer side, at most."""


def totals(plane: npt.NDArray[Any], cell: int) -> npt.NDArray[np.float64]:
    """Sum up an image in cells; those at the upper and right edges may be smaller."""
    ny, nx = plane.shape
    rows, columns = -(-ny // cell), -(-nx // cell)
    if (rows * cell, columns * cell) != plane.shape:
        plane = np.pad(plane, ((0, rows * cell - ny), (0, columns * cell - nx)))
    # Rows first: sums along whole rows are fast, and few numbers are left for the columns.
    thin = plane.reshape(rows, cell, -1).sum(axis=1, dtype=np.float32)
    total: npt.NDArray[np.float64] = thin.reshape(rows, columns, cell).sum(axis=2, dtype=np.float64)
    return total


def thumbnail(dq: npt.NDArray[Any]) -> bytes:
    """Return a small picture of an array of flags as PNG: the more are flagged, the darker.

    A PNG is a signature, a header, rows and an end: a notebook needs no library of pictures for it.
    """
    cell = -(-max(dq.shape) // _THUMBNAIL)
    share = totals(dq != 0, cell) / totals(np.ones(dq.shape, np.bool_), cell)
    grey = np.round(255 * (1 - share**0.3)).astype(np.uint8)[::-1]
    grey = np.kron(grey, np.ones((max(1, _THUMBNAIL // max(grey.shape)),) * 2, np.uint8))
    ny, nx = grey.shape
    # A line of dark pixels around it, and no filter (0) at the beginning of each row.
    rows = np.pad(np.pad(grey, 1, constant_values=96), ((0, 0), (1, 0)))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", nx + 2, ny + 2, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes()),
        b"IEND": b"",
    }
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
