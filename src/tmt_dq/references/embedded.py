"""The CRDS cache that comes with the package, used when no other is named.

It holds rules for IRIS and, for each detector, a baseline mask: the border of reference pixels and
nothing else. Its contexts are numbered from 0100, out of the way of TMT's published ones. The masks
are 67 MB each and stored compressed; each is expanded, once, into the user's cache folder when the
rules first select it. The folder's name is made from the content, so versions do not mix.
"""

import fcntl
import functools
import hashlib
import json
import lzma
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tmt_dq.errors import ConfigError, OutputError

__all__ = ["DATA", "cache_path", "ensure", "is_here", "location", "provides"]

DATA = Path(__file__).parent / "data"
"""Where the package keeps it; `manifest.json` lists the files of the expanded cache."""

_CHUNK = 2**20
_HINT = "Set TMT_DQ_CACHE_DIR to a folder that can be written, or CRDS_PATH to a cache of your own."


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of the expanded cache."""

    path: PurePosixPath
    size: int
    sha256: str
    packed: bool


@functools.cache
def _manifest() -> tuple[str, tuple[_Entry, ...], Mapping[str, _Entry]]:
    """Return the version, the files to have at once, and by name those expanded when needed."""
    raw = (DATA / "manifest.json").read_bytes()
    entries = [
        _Entry(PurePosixPath(path), entry["size"], entry["sha256"], packed=entry["packed"])
        for path, entry in json.loads(raw).items()
    ]
    return (
        hashlib.sha256(raw).hexdigest()[:12],
        tuple(entry for entry in entries if not entry.packed),
        {entry.path.name: entry for entry in entries if entry.packed},
    )


def location() -> Path:
    """Return where the expanded cache is, or will be.

    Returns
    -------
    Path
        ``crds/<version>`` in the folder TMT_DQ_CACHE_DIR, or in the user's cache folder.

    Raises
    ------
    ConfigError
        Raised if that folder is not an absolute path.
    """
    base = os.environ.get("TMT_DQ_CACHE_DIR")
    if not base:
        import platformdirs

        base = platformdirs.user_cache_dir("tmt-dq")
    if not os.path.isabs(base):  # noqa: PTH117 (it may start with an unexpanded ~)
        raise ConfigError(
            f"the cache folder {base!r} is not an absolute path",
            where="TMT_DQ_CACHE_DIR",
            hint=_HINT,
        )
    return Path(base) / "crds" / _manifest()[0]


def cache_path() -> Path:
    """Return the expanded cache: all its rules are there, masks as they were needed.

    Returns
    -------
    Path
        A folder that can be used as CRDS_PATH.

    Raises
    ------
    OutputError
        Raised if it cannot be written.
    """
    root = location()
    for entry in _manifest()[1]:
        _expand(root, entry)
    return root


def is_here(root: Path) -> bool:
    """Return whether a folder is the expanded cache."""
    return root.name == _manifest()[0] and root == location()


def provides(name: str) -> bool:
    """Return whether the embedded cache has a reference file of this name."""
    return name in _manifest()[2]


def ensure(name: str) -> Path:
    """Return the path of a reference file of the embedded cache, expanding it if it is not there.

    Parameters
    ----------
    name : str
        A file that the cache `provides`.

    Returns
    -------
    Path
        The complete file.

    Raises
    ------
    OutputError
        Raised if it cannot be written.
    """
    return _expand(location(), _manifest()[2][name])


def _expand(root: Path, entry: _Entry) -> Path:
    """Make sure that a file is there, whole. Only its size is looked at when it is."""
    target = root / entry.path
    if _is_whole(target, entry):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.parent):
            if not _is_whole(target, entry):
                _write(target, entry)
    except OSError as error:
        _fail(target, error)
    return target


def _is_whole(target: Path, entry: _Entry) -> bool:
    try:
        return target.stat().st_size == entry.size
    except OSError:
        return False


def _fail(target: Path, error: OSError) -> NoReturn:
    raise OutputError(
        f"the rules and masks that come with tmt-dq cannot be unpacked here: {error.strerror}",
        where=target.parent,
        hint=_HINT,
    ) from error


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time expand into a folder, so that the others find the result."""
    with (folder / ".lock").open("a") as file:
        # Without locks (some network file systems) several may write: each its own file.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(target: Path, entry: _Entry) -> None:
    """Write a file under another name, check it, and give it its name."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    source = DATA / entry.path
    packed = source.with_name(f"{source.name}.xz")
    try:
        with (
            lzma.open(packed) if entry.packed else source.open("rb") as stream,
            part.open("wb") as out,
        ):
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != entry.sha256:
            raise OutputError(
                "this file of the package is damaged: its sha256 is not the manifest's",
                where=packed if entry.packed else source,
                hint="Install tmt-dq anew.",
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
        _remove_leftovers(target)


def _remove_leftovers(target: Path) -> None:
    """Remove what processes left that were killed while they wrote the same file."""
    for path in target.parent.glob(f".{target.name}.*.part"):
        if not Path("/proc", path.name.split(".")[-2]).exists():
            path.unlink(missing_ok=True)
