"""Files that every worker of a batch must see, on whatever machine it is."""

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.apply.options import is_file_name
from tmt_dq.batch.journal import Journal, read_lines
from tmt_dq.batch.records import Settings
from tmt_dq.errors import OutputError
from tmt_dq.files.urls import is_url

__all__ = ["Shared", "shared_files", "unfit"]


@dataclass(frozen=True, slots=True)
class Shared:
    """Files and folders that a worker must see as this machine does: names, files with sizes."""

    journal: str
    identity: str
    folders: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    version: str = __version__


def shared_files(journal: Journal, settings: Settings, inputs: Iterable[str]) -> Shared:
    """Return what the workers of a batch must see."""
    files = [settings.options.mask, settings.options.user_dq]
    named = [str(path) for path in files if is_file_name(path) and not is_url(path)]
    folders = {str(Path(path).parent) for path in inputs if not is_url(path)}
    if not settings.embedded:
        folders |= {rule.cache for rule in settings.rules}
    if settings.again is not None and settings.again.old_crds_path is not None:
        folders.add(settings.again.old_crds_path)
    return Shared(
        str(journal.path),
        journal.identity,
        # Folders that are not here either are a matter of the files in them.
        folders=tuple(sorted(filter(os.path.isdir, folders))),
        files=tuple((path, Path(path).stat().st_size) for path in named),
    )


@functools.lru_cache(maxsize=8)
def unfit(shared: Shared) -> tuple[str, ...]:
    """Return why this process cannot work for a batch; nothing if it can. Found out once."""
    folder = Path(shared.journal).parent
    problems = []
    if shared.version != __version__:
        problems.append(f"it has tmt-dq {__version__}; expected {shared.version}")
    try:
        first: Mapping[str, Any] = next(read_lines(Path(shared.journal)), {})
    except OutputError as error:
        first = {}
        problems.append(error.what)
    if first.get("folder") != shared.identity:
        problems.append(f"it does not see the output folder {folder}")
    elif not os.access(folder, os.W_OK | os.X_OK):
        problems.append(f"it may not write into the output folder {folder}")
    problems += [
        f"it does not see the folder {name}" for name in shared.folders if not Path(name).is_dir()
    ]
    for name, size in shared.files:
        try:
            found = os.stat(name).st_size
        except OSError as error:
            problems.append(f"it cannot read {name} ({error.strerror})")
            continue
        if found != size:
            problems.append(f"its {name} has {found} bytes; expected {size}")
    return tuple(problems)
