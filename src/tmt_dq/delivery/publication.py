"""A cache changed by one rename.

A delivery's files have new names: nothing refers to them until the last one is there, which is
``server_config`` or, in a cache without one, the .pmap, since the highest number counts there.
"""

import pprint
from collections.abc import Collection, Sequence
from pathlib import Path

from tmt_dq.files.atomic import AtomicOutput, check_output, output_errors, write_file
from tmt_dq.files.copying import copy_range
from tmt_dq.references.cache import Cache

__all__ = ["config_text", "publish", "write_text"]

_CONTEXT_KEYS = ("latest_context", "operational_context", "edit_context")


def config_text(cache: Cache, context: str) -> str | None:
    """Return a ``server_config`` with another default context; None if the cache goes without.

    Without one, or with one that names no context, the .pmap with the highest number counts.
    """
    config = dict(cache.server_config())
    if not any(config.get(key) for key in _CONTEXT_KEYS[:2]):
        return None
    return f"{pprint.pformat(config | dict.fromkeys(_CONTEXT_KEYS, context))}\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole and on the disk; a file of that name is replaced in one step."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode(), overwrite=True)


def publish(stage: Path, root: Path, targets: Sequence[str], replaced: Collection[str]) -> None:
    """Copy files from a folder laid out like the cache, in this order, each whole or not at all."""
    for target in targets:
        with output_errors(root / target):
            (root / target).parent.mkdir(parents=True, exist_ok=True)
        check_output(root / target, overwrite=target in replaced)
    for target in targets:
        with (
            (stage / target).open("rb") as source,
            AtomicOutput(root / target, overwrite=target in replaced) as out,
        ):
            size = (stage / target).stat().st_size
            copy_range(source.fileno(), 0, out.fd, 0, size, where=root / target)
