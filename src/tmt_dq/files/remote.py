"""Remote files by staging: an input is fetched into a local file, an output is sent from one.

Faces (functions, verbs, the step) take URLs; below them there are paths only.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from tmt_dq.errors import OutputError, RemoteError, TmtDqError
from tmt_dq.files._stores import (
    EXISTS,
    Options,
    State,
    connect,
    present_state,
    remote_errors,
    search,
    state,
)
from tmt_dq.files.urls import file_name, local_path, protocol_of, redacted

__all__ = ["State", "check_output", "fetch", "local", "name_of", "search", "sent", "state"]

PREFIX = ".tmt-dq-staged-"
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Stores where a file appears when all of it is there; in others a part could be taken for it."""
_process = contextlib.ExitStack()
atexit.register(_process.close)
_lock = threading.Lock()
_kept: dict[tuple[str, State], Path] = {}
_urls: dict[str, str] = {}


def name_of(path: os.PathLike[str] | str) -> str:
    """Return the name to show and record for a file: of a staged one its URL, without secrets."""
    return _urls.get(os.fspath(path), os.fspath(path))


@contextlib.contextmanager
def local(
    name: os.PathLike[str] | str,
    *,
    fsspec_kwargs: Options = None,
    folder: Path | None = None,
    copies: int = 1,
) -> Iterator[Path]:
    """Yield a local file: a path itself, a remote file as a copy that goes with the block.

    The copy lies in `folder`, by default that for temporary files, which must have room for
    `copies` of the file.
    """
    path = local_path(name)
    if path is not None:
        yield path
        return
    url = str(name)
    with _staged(url, folder) as path:
        _fetch(url, path, fsspec_kwargs, copies)
        yield path


def fetch(name: os.PathLike[str] | str, fsspec_kwargs: Options = None) -> Path:
    """Return a local file for a mask or list: a remote one is fetched once in each state.

    The copies go with the process.
    """
    path = local_path(name)
    if path is not None:
        return path
    url = str(name)
    key = (url, present_state(url, fsspec_kwargs))
    with _lock:
        if key not in _kept:
            _kept[key] = _process.enter_context(local(url, fsspec_kwargs=fsspec_kwargs))
        return _kept[key]


def check_output(
    url: str,
    *,
    overwrite: bool = False,
    inputs: Iterable[object] = (),
    fsspec_kwargs: Options = None,
) -> None:
    """Make sure, before any work, that an output can be sent to a URL."""
    shown, protocol = redacted(url), protocol_of(url)
    if protocol not in _WHOLE:
        what = f"cannot be written: over {protocol}:// no file appears whole or not at all"
        hint = f"Name a local file, or a URL with one of {', '.join(sorted(_WHOLE))}."
        raise OutputError(what, where=shown, hint=hint)
    if not file_name(url) or url.endswith("/"):
        what = "is a folder; expected a file name"
        raise OutputError(what, where=shown, hint="Name a file in it.")
    target = _object(url, fsspec_kwargs)
    for source in map(str, inputs):
        if protocol_of(source) in _WHOLE and _object(source, fsspec_kwargs) == target:
            what = f"output and input {redacted(source)} are the same file"
            hint = "Inputs are never modified: name another output."
            raise OutputError(what, where=shown, hint=hint)
    if not overwrite and state(url, fsspec_kwargs) is not None:
        hint = "Use --overwrite (overwrite=True) to replace it."
        raise OutputError(EXISTS, where=shown, hint=hint)


def _object(url: str, fsspec_kwargs: Options) -> tuple[type, str]:
    """Return what is the same for all names of an object (s3 and s3a, its versions)."""
    fs, path = connect(url, fsspec_kwargs)
    return type(fs), path.partition("?versionId=")[0]


@contextlib.contextmanager
def sent(url: str, *, overwrite: bool = False, fsspec_kwargs: Options = None) -> Iterator[Path]:
    """Yield the path of a local file to write; it is sent to the URL when the block ends well."""
    with _staged(url, None) as path:
        yield path
        if not path.exists():  # nothing was written, as in a dry run
            return
        fs, target = connect(url, fsspec_kwargs)
        try:
            with remote_errors(url):
                fs.put_file(str(path), target, mode="overwrite" if overwrite else "create")
        except RemoteError as error:
            raise OutputError(error.what, where=error.where, hint=error.hint) from None


def _fetch(url: str, target: Path, fsspec_kwargs: Options, copies: int) -> None:
    """Fetch a file whole; it must be in the same state afterwards."""
    before = present_state(url, fsspec_kwargs)
    need, free = (before.size or 0) * copies, shutil.disk_usage(target.parent).free
    if need > free:
        what = f"staging {redacted(url)} needs {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free"
        hint = "Free some space, or set TMPDIR to a folder with more."
        raise OutputError(what, where=target.parent.parent, hint=hint)
    fs, path = connect(url, fsspec_kwargs)
    with remote_errors(url):
        fs.get_file(path, str(target))
    came = target.stat().st_size
    if before.size not in {None, came} or state(url, fsspec_kwargs) != before:
        what = f"changed while it was fetched ({came} bytes came of {before.size})"
        hint = "Something else writes it; try again when it is complete."
        raise RemoteError(what, where=redacted(url), hint=hint)


@contextlib.contextmanager
def _staged(url: str, folder: Path | None) -> Iterator[Path]:
    """Yield a path for a file of this block, which is shown by its URL, also in errors."""
    parent = Path(tempfile.gettempdir()) if folder is None else folder
    try:
        made = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        what = f"files cannot be staged in this folder: {error.strerror}"
        raise OutputError(what, where=parent, hint="Set TMPDIR to another folder.") from None
    with made as name:
        path = Path(name) / file_name(url)
        shown = _urls[str(path)] = redacted(url)
        try:
            yield path
        except TmtDqError as error:
            error.what = error.what.replace(str(path), shown)
            error.where = error.where and error.where.replace(str(path), shown)
            error.hint = error.hint and error.hint.replace(str(path), shown)
            error.args = (str(error),)
            raise
        finally:
            del _urls[str(path)]
