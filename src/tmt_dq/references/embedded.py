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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tmt_dq.errors import ConfigError, OutputError

__all__ = [
    "DATA",
    "cache_path",
    "contents",
    "ensure",
    "is_here",
    "location",
    "own_folder",
    "provides",
    "write_copy",
]

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


def own_folder() -> Path:
    """Return the folder in which tmt-dq keeps what it can make again.

    Returns
    -------
    Path
        TMT_DQ_CACHE_DIR or, if that is not set, a folder in the user's cache folder.

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
    return Path(base)


def location() -> Path:
    """Return where the expanded cache is, or will be: ``crds/<version>`` in `own_folder`."""
    return own_folder() / "crds" / _manifest()[0]


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


def contents() -> Mapping[str, str]:
    """Return the sha256 of each reference file of the embedded cache, by its name."""
    return {name: entry.sha256 for name, entry in _manifest()[2].items()}


def write_copy(root: Path) -> None:
    """Write the whole embedded cache, rules and references, into an empty folder.

    Parameters
    ----------
    root : Path
        The folder.

    Raises
    ------
    OutputError
        Raised if it cannot be written.
    """
    _, rules, references = _manifest()
    for entry in (*rules, *references.values()):
        _expand(root, entry)
    for lock in root.rglob(".lock"):
        lock.unlink()


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
        with _lock(target.parent) as alone:
            if not _is_whole(target, entry):
                if alone:
                    _remove_leftovers(target)
                _write(target, entry)
    except OutputError:
        raise
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
def _lock(folder: Path) -> Iterator[bool]:
    """Let one process at a time expand into a folder, so that the others find the result."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            # Some network file systems have no locks: several may write, each its own file.
            yield False
        else:
            yield True


def _write(target: Path, entry: _Entry) -> None:
    """Write a file under another name, check it, and give it its name."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as file:
            for chunk in _content(entry):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != entry.sha256:
            _fail_damaged(entry, "its sha256 is not the manifest's")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _stored(entry: _Entry) -> Path:
    """Return the package's file."""
    path = DATA / entry.path
    return path.with_name(f"{path.name}.xz") if entry.packed else path


def _content(entry: _Entry) -> Iterator[bytes]:
    """Yield the content of a file of the package, piece by piece."""
    path = _stored(entry)
    try:
        with lzma.open(path) if entry.packed else path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, EOFError, lzma.LZMAError) as error:
        _fail_damaged(entry, str(error))


def _fail_damaged(entry: _Entry, what: str) -> NoReturn:
    raise OutputError(
        f"this file of the package is damaged: {what}",
        where=_stored(entry),
        hint="Install tmt-dq anew.",
    )


def _remove_leftovers(target: Path) -> None:
    """Remove what processes left that were killed while they wrote the same file."""
    for path in target.parent.glob(f".{target.name}.*.part"):
        path.unlink(missing_ok=True)
