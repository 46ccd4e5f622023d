"""Caches that change: made new, locked, and given a new context by one rename.

A delivery's files have new names: nothing refers to them until the last one is there, which is
``server_config`` or, in a cache without one, the .pmap, since the highest number counts there.
"""

import contextlib
import errno
import pprint
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from tmt_dq.errors import ConfigError, DeliveryError
from tmt_dq.files.atomic import atomic_output, check_output, output_errors, write_file
from tmt_dq.files.copying import copy_range
from tmt_dq.references import embedded
from tmt_dq.references.cache import Cache

_CONTEXT_KEYS = ("latest_context", "operational_context", "edit_context")
_REPLACED = ("SHA256SUMS", "server_config")
"""The files that a delivery writes and that may be there."""


def is_new(root: Path) -> bool:
    """Return whether there is no cache yet: no folder, or an empty one."""
    with output_errors(root):
        return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def make_cache(root: Path) -> None:
    """Make a cache as a copy of the embedded one; it appears whole, and the first one wins."""
    # Through links: what is renamed takes the place of a folder, not of a link to one.
    root = root.resolve()
    if not root.parent.is_dir():
        raise ConfigError(
            f"there is no folder {root.parent} to make the cache in",
            where=root,
            hint="Create it, or correct --crds-path.",
        )
    part = root.with_name(f".{root.name}.{secrets.token_hex(4)}.tmt-dq-part")
    try:
        with output_errors(root):
            part.mkdir()
            embedded.write_copy(part)
            try:
                part.rename(root)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def exclusive(root: Path, *, wait_s: float) -> Iterator[None]:
    """Be the only process that changes a cache; wait for another one up to `wait_s` seconds."""
    path = root / ".tmt-dq.lock"
    # Other members of the group deliver too: the file that stays must be theirs to lock.
    lock = FileLock(path, timeout=wait_s, mode=0o666)
    with output_errors(path):
        try:
            lock.acquire()
        except Timeout:
            raise DeliveryError(
                "another delivery into this cache is under way",
                where=root,
                hint="Try again when it has ended.",
            ) from None
    try:
        yield
    finally:
        lock.release()


def config_text(cache: Cache, context: str) -> str | None:
    """Return a ``server_config`` with another default context; None if the cache goes without."""
    config = cache.server_config()
    if not any(config.get(key) for key in _CONTEXT_KEYS[:2]):
        return None
    return f"{pprint.pformat(config | dict.fromkeys(_CONTEXT_KEYS, context))}\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole and on the disk; a file of that name is replaced in one step."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode(), overwrite=True)


def publish(stage: Path, root: Path, targets: Sequence[str]) -> None:
    """Copy files from a folder laid out like the cache, in this order, each whole or not at all."""
    paths = [root / target for target in targets]
    for path in paths:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        check_output(path, overwrite=path.name in _REPLACED)
    for target, path in zip(targets, paths, strict=True):
        output = atomic_output(path, overwrite=path.name in _REPLACED)
        with (stage / target).open("rb") as source, output as fd:
            size = (stage / target).stat().st_size
            copy_range(source.fileno(), 0, fd, 0, size, where=path)
