"""A new cache, which starts as a copy of the embedded one."""

import os
import secrets
import shutil
from pathlib import Path

from tmt_dq.delivery.locks import exclusive
from tmt_dq.errors import ConfigError
from tmt_dq.files.atomic import output_errors
from tmt_dq.references import checksums as sums
from tmt_dq.references import embedded

__all__ = ["create", "is_new"]


def is_new(root: Path) -> bool:
    """Return whether there is no cache yet: no folder, or an empty one."""
    with output_errors(root):
        return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def create(root: Path, *, wait_s: float) -> None:
    """Make a cache that holds what the embedded one holds, unless another process just did.

    It is written beside its place and appears there whole.

    Parameters
    ----------
    root : Path
        The cache.
    wait_s : float
        How many seconds to wait for another process that is making it.

    Raises
    ------
    ConfigError
        Raised if the folder above it does not exist.
    OutputError
        Raised if it cannot be written.
    DeliveryError
        Raised if another process took too long.
    """
    # Through links: what is renamed takes the place of a folder, not of a link to one.
    root = root.resolve()
    if not root.parent.is_dir():
        raise ConfigError(
            f"there is no folder {root.parent} to make the cache in",
            where=root,
            hint="Create it, or correct --cache.",
        )
    with exclusive(root.with_name(f".{root.name}.tmt-dq-lock"), wait_s=wait_s):
        if not is_new(root):
            return
        for leftover in root.parent.glob(f".{root.name}.*.tmt-dq-part"):
            shutil.rmtree(leftover)
        part = root.with_name(f".{root.name}.{secrets.token_hex(4)}.tmt-dq-part")
        try:
            with output_errors(root):
                part.mkdir()
                embedded.write_copy(part)
                _write_sums(part)
                os.replace(part, root)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _write_sums(root: Path) -> None:
    """Put the references' sums on record."""
    by_name = embedded.contents()
    for references in (root / "references").iterdir():
        found = {
            path.relative_to(references).as_posix(): by_name[path.name]
            for path in references.rglob("*")
            if path.name in by_name
        }
        (references / sums.FILE_NAME).write_text(sums.text(found), "utf-8")
