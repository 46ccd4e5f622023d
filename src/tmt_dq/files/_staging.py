"""Folders of staged files: locked while they are used, and files shown by their URLs."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tmt_dq.errors import OutputError, TmtDqError
from tmt_dq.files.urls import redacted

__all__ = ["PREFIX", "name_of", "named", "stage", "urls_of_staged"]

PREFIX = ".tmt-dq-staged-"
_IN_USE_S = 60
"""Age at which a folder that nobody holds a lock on was left by a killed process."""

urls_of_staged: dict[str, str] = {}


def name_of(path: os.PathLike[str] | str) -> str:
    """Return the name to show and record for a file: of a staged one its URL, without secrets."""
    return urls_of_staged.get(os.fspath(path), os.fspath(path))


@contextlib.contextmanager
def stage(folder: Path | None) -> Iterator[Path]:
    """Yield a folder of this block's own; those that killed processes left are removed."""
    parent = Path(tempfile.gettempdir()) if folder is None else folder
    for old in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _locked(old):
            if time.time() - old.stat().st_mtime > _IN_USE_S:
                shutil.rmtree(old, ignore_errors=True)
    try:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        what = f"files cannot be staged in this folder: {error.strerror}"
        raise OutputError(what, where=parent, hint="Set TMPDIR to another folder.") from None
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # NFS locks no folders, and removes none then
                stack.enter_context(_locked(made))
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, whatever ends it."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def named(path: Path, url: str) -> Iterator[Path]:
    """Show a staged file by its URL while the block lasts, also in errors."""
    shown = urls_of_staged[str(path)] = redacted(url)
    try:
        yield path
    except TmtDqError as error:
        error.what = error.what.replace(str(path), shown)
        error.where = error.where and error.where.replace(str(path), shown)
        error.hint = error.hint and error.hint.replace(str(path), shown)
        error.args = (str(error),)
        raise
    finally:
        del urls_of_staged[str(path)]
