"""What outputs are called."""

import os
from pathlib import Path

from tmt_dq.files.urls import file_name, folder_of, joined, local_path

_ENDINGS = (".fits", ".fit", ".fts")


def default_output(ramp: Path, folder: Path | None = None) -> Path:
    """Return the name of a ramp's output: ``<root>_dqinit.fits``, without a raw ``_uncal``."""
    root = ramp.name
    for compression in (".gz", ".fz"):
        root = root.removesuffix(compression)
    for ending in _ENDINGS:
        if root.lower().endswith(ending):
            root = root[: -len(ending)]
            break
    root = root.removesuffix("_uncal")
    return (ramp.parent if folder is None else folder) / f"{root}_dqinit.fits"


def default_place(
    ramp: os.PathLike[str] | str, folder: os.PathLike[str] | str | None = None
) -> Path | str:
    """Return the name of a ramp's output where the ramp, the folder or both may be URLs."""
    name = default_output(Path(file_name(os.fspath(ramp)))).name
    if folder is None:
        path = local_path(ramp)
        folder = folder_of(os.fspath(ramp)) if path is None else path.parent
    path = local_path(folder)
    return joined(os.fspath(folder), name) if path is None else path / name
