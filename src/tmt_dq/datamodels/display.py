"""How models show themselves in a notebook, without touching what takes gigabytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import UnknownFlagError
from tmt_dq.tables import Table, as_html, count_rows

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
    """Return a model as HTML: what it is about, its arrays, the flags of its pixels.

    Parameters
    ----------
    model : TMTDataModel
        The model.
    arrays : sequence of str
        Names of its arrays. Only their shapes and types are looked at.
    flags : str
        The array of pixels' flags, one frame, which is counted.
    """
    tree = model.instance
    meta = tree.get("meta", {})
    about = [(name, _value(meta, path)) for name, path in _ABOUT]
    tables = [
        Table("About", ("", ""), tuple((name, value) for name, value in about if value)),
        Table("Arrays", ("array", "shape", "type", "MB"), _arrays(tree, arrays), (3,)),
    ]
    dq = tree.get(flags)
    if dq is not None:
        tables.append(_flags(np.asarray(dq)))
    title = type(model).__name__
    name = meta.get("filename")
    return as_html([f"{title} {name}" if name else title], tables)


def _value(tree: Any, path: Sequence[str]) -> str:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return "" if tree is None else str(tree)


def _arrays(tree: Any, names: Sequence[str]) -> tuple[tuple[str, str, str, str], ...]:
    rows = []
    for name in names:
        array = tree.get(name)
        if array is None:
            continue
        shape = " × ".join(map(str, array.shape))
        size = np.dtype(array.dtype).itemsize * int(np.prod(array.shape, dtype=np.int64)) / 1e6
        rows.append((name, shape, str(array.dtype), f"{size:,.1f}"))
    return tuple(rows)


def _flags(dq: Any) -> Table:
    header = ("flag", "pixels", "share")
    try:
        counts = PIXEL.count(dq)
    except UnknownFlagError as error:
        return Table(f"Flags cannot be counted: {error.what}", header, ())
    return Table("Pixels per flag", header, count_rows(counts, dq.size), (1, 2))
