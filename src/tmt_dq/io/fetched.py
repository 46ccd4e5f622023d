"""Small files elsewhere (masks, flags of users, lists) as files here, fetched once a process."""

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tmt_dq.errors import TmtDqError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.urls import Place, Url

__all__ = ["fetch", "names_of_fetched", "origin"]

_origins: dict[str, str] = {}


def fetch(place: Place) -> Path:
    """Return a file here for a place anywhere.

    What is elsewhere is fetched into a folder of this process, which is removed at its end, and
    again only when it has changed.

    Parameters
    ----------
    place : Path or Url
        The file.

    Returns
    -------
    Path
        The file itself, or the copy of what is elsewhere.

    Raises
    ------
    RemoteError
        Raised if it cannot be read.
    """
    if isinstance(place, Path):
        return place
    from tmt_dq.io.remote import connect
    from tmt_dq.io.remote_inputs import fetch_into

    remote = connect(place)
    path = _home(place, (remote.size, remote.mark))
    if not path.exists():
        with output_errors(path):
            # A name of its own: other threads may fetch the same file at the same time.
            fd, temporary = tempfile.mkstemp(dir=path.parent)
            try:
                fetch_into(remote, fd)
            finally:
                os.close(fd)
            os.replace(temporary, path)
    _origins[str(path)] = str(place)
    return path


def origin(path: object) -> str:
    """Return the name that a file had where it was fetched from; of others, their own."""
    return _origins.get(str(path), str(path))


@contextlib.contextmanager
def names_of_fetched() -> Iterator[None]:
    """Let errors about a fetched file name what it was fetched from."""
    try:
        yield
    except TmtDqError as error:
        texts = [error.what, error.where, error.hint]
        for path, name in _origins.items():
            texts = [text and text.replace(path, name) for text in texts]
        if texts == [error.what, error.where, error.hint]:
            raise
        renamed = type(error)(texts[0] or "", where=texts[1], hint=texts[2])
    else:
        return
    raise renamed


@functools.lru_cache(maxsize=64)
def _home(url: Url, state: object) -> Path:  # noqa: ARG001 - the state is part of the key
    """Return the name for one state of a file, in a folder of its own: names may be the same."""
    return Path(tempfile.mkdtemp(dir=_folder())) / (url.name or "file")


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="tmt-dq-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
