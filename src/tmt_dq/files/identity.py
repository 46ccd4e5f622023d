"""Identity of a file: whether it is still the one that was read, and its sha256."""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_PIECE = 4 * 1024 * 1024


class Identity(NamedTuple):
    """What changes whenever a file is changed or exchanged; ctime cannot be set by hand."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        """Return the identity of a file from its status."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )

    def has_content_of(self, other: "Identity") -> bool:
        """Tell whether size and time of change are the same; names and links may have changed."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


def identify(path: Path) -> Identity | None:
    """Return the identity of the file at a path, None where there is none."""
    try:
        return Identity.of(path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file, in hexadecimal; `progress` is called with bytes."""
    with path.open("rb") as file:
        if progress is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
            progress(len(piece))
        return digest.hexdigest()


def digest_of(path: Path) -> str:
    """Return the sha256 of a file, computed once per process as long as it does not change."""
    return _digest(path.absolute(), Identity.of(path.stat()))


@functools.lru_cache(maxsize=32)
def _digest(path: Path, _identity: Identity) -> str:
    return sha256_of(path)
