"""Models as HTML in a notebook, without touching what takes gigabytes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tmt_dq.core.cells import thumbnail
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import UnknownFlagError
from tmt_dq.tables import Table, as_html, flag_table

__all__ = ["model_html"]

_ABOUT = (
    ("instrument", ("instrument", "name")),
    ("detector", ("instrument", "detector")),
    ("subarray", ("subarray", "name")),
    ("first pixel x", ("subarray", "xstart")),
    ("first pixel y", ("subarray", "ystart")),
    ("date", ("observation", "date")),
    ("useafter", ("useafter",)),
    ("pedigree", ("pedigree",)),
    ("author", ("author",)),
    ("description", ("description",)),
    ("S_DQINIT", ("cal_step", "dq_init")),
    ("mask", ("ref_file", "mask", "name")),
)


def model_html(model: Any, arrays: Sequence[str], flags: str) -> str:
    """Return a model's keywords, the shapes of its arrays, and the counts of the array `flags`."""
    tree = model.instance
    meta = tree.get("meta", {})
    about = [(name, _value(meta, path)) for name, path in _ABOUT]
    found = [(name, tree.get(name)) for name in arrays]
    sizes = tuple((name, *_size(array)) for name, array in found if array is not None)
    tables = [
        Table("About", ("", ""), tuple((name, value) for name, value in about if value)),
        Table("Arrays", ("array", "shape", "type", "MB"), sizes, (3,)),
    ]
    dq = tree.get(flags)
    picture = None
    if dq is not None:
        tables.append(_flags(np.asarray(dq)))
        picture = thumbnail(np.asarray(dq))
    title = type(model).__name__
    name = meta.get("filename")
    return as_html([f"{title} {name}" if name else title], tables, picture)


def _value(tree: Any, path: Sequence[str]) -> str:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return "" if tree is None else str(tree)


def _size(array: Any) -> tuple[str, str, str]:
    # An array may be a gigabyte on the disk: shape and type alone are read.
    megabytes = np.dtype(array.dtype).itemsize * math.prod(array.shape) / 1e6
    return " × ".join(map(str, array.shape)), str(array.dtype), f"{megabytes:,.1f}"


def _flags(dq: Any) -> Table:
    try:
        return flag_table(PIXEL.count(dq), dq.size)
    except UnknownFlagError as error:
        return Table(f"Flags cannot be counted: {error.what}", ("flag", "pixels", "share"), ())
