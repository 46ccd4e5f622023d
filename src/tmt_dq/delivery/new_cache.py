"""A new cache, which starts as a copy of the embedded one."""

import errno
import secrets
import shutil
from pathlib import Path

from tmt_dq.errors import ConfigError
from tmt_dq.files.atomic import output_errors
from tmt_dq.references import embedded

__all__ = ["is_new", "make_cache"]


def is_new(root: Path) -> bool:
    """Return whether there is no cache yet: no folder, or an empty one."""
    with output_errors(root):
        return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def make_cache(root: Path) -> None:
    """Make a cache that holds what the embedded one holds; it appears whole.

    If another process makes it at the same time, the first one that is ready wins.
    """
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
