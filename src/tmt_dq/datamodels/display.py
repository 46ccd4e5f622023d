"""Models as HTML in a notebook, without touching what takes gigabytes."""

import math
from typing import Any

import numpy as np

from tmt_dq.core.cells import thumbnail
from tmt_dq.core.flags import PIXEL
from tmt_dq.tables import Table, as_html, flag_table

__all__ = ["model_html"]


def model_html(model: Any) -> str:
    """Return a model's keywords, the shapes of its arrays, and the pixels of each flag."""
    tree = model.instance
    keywords = tuple((name, str(value)) for name, value in model.fits_keywords().items())
    arrays = tuple((name, *_size(array)) for name, array in tree.items() if hasattr(array, "dtype"))
    tables = [
        Table("Keywords", ("", ""), keywords),
        Table("Arrays", ("array", "shape", "type", "MB"), arrays, (3,)),
    ]
    picture = None
    for flags in (tree[name] for name in ("dq", "pixeldq") if name in tree):
        dq = np.asarray(flags)
        tables.append(flag_table(PIXEL.count(dq), dq.size))
        picture = thumbnail(dq)
    name = tree.get("meta", {}).get("filename") or ""
    return as_html([f"{type(model).__name__} {name}".rstrip()], tables, picture)


def _size(array: Any) -> tuple[str, str, str]:
    # An array may be a gigabyte on the disk: shape and type alone are read.
    megabytes = np.dtype(array.dtype).itemsize * math.prod(array.shape) / 1e6
    return " × ".join(map(str, array.shape)), str(array.dtype), f"{megabytes:,.1f}"
