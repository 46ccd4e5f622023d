"""What outputs are called."""

from pathlib import Path

__all__ = ["default_output"]

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
