"""Exposures, outputs and lists that have URLs: found, listed once, and known by their ETags."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tmt_dq.errors import ConfigError, TmtDqError
from tmt_dq.files.urls import Url, redacted

__all__ = ["Listing", "joined", "memory_folder", "remove_leftovers", "search", "state_numbers"]

_MAGIC = "*?["
_WEB = {"http", "https"}


def search(text: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the files that a URL stands for.

    Parameters
    ----------
    text : str
        A file; a pattern; or a folder (what names of objects begin with, up to a ``/``), searched
        with all below it.
    wanted : callable
        Whether a name is that of an exposure.

    Returns
    -------
    list of str
        URLs, in the order of their names.

    Raises
    ------
    ConfigError
        Raised if a pattern or folder gives nothing.
    RemoteError
        Raised if it cannot be listed.
    """
    url = Url(text)
    if url.protocol in _WEB:
        # Web servers list nothing, and ? begins a query.
        return [text]
    from tmt_dq.io.remote import filesystem
    from tmt_dq.io.remote_errors import remote_errors

    fs, path = filesystem(url)
    with remote_errors(url):
        if any(sign in text for sign in _MAGIC):
            found = fs.glob(path)
        elif text.endswith("/") or not wanted(url.name):
            found = fs.find(path)
        else:
            return [text]
        names = sorted(fs.unstrip_protocol(name) for name in found)
    names = [name for name in names if wanted(name)]
    if not names:
        raise ConfigError(
            "has no FITS file that is not hidden or an output (*_dqinit.fits)",
            where=url,
            hint="Check the bucket and the pattern, or the names before the /.",
        )
    return names


def joined(folder: str, name: str) -> str:
    """Return a name in a list that has a URL itself."""
    return urljoin(folder, name) if folder.startswith("http") else f"{folder}/{name}"


def state_numbers(url: str) -> tuple[int, int] | None:
    """Return size and a number made from the ETag (or time of change); None if it is not there."""
    from tmt_dq.io.remote import connect

    try:
        remote = connect(Url(url))
    except TmtDqError:
        return None
    return remote.size or 0, number_of(remote.mark)


def number_of(mark: str | None) -> int:
    """Return a number that stands for a mark, where times of files are numbers."""
    return int.from_bytes(hashlib.sha256((mark or "").encode()).digest()[:7], "big")


class Listing:
    """What folders elsewhere hold, each listed once: a request a file would take hours."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, tuple[int, int]] | None] = {}

    def state(self, url: str) -> tuple[int, int] | None:
        """Return what `state_numbers` does, from the list of the folder where there is one."""
        place = Url(url)
        if place.protocol in _WEB:
            return state_numbers(url)
        folder = place.parent.full
        if folder not in self._folders:
            self._folders[folder] = _listed(place.parent)
        known = self._folders[folder]
        return state_numbers(url) if known is None else known.get(place.name)


def _listed(folder: Url) -> dict[str, tuple[int, int]] | None:
    """List a folder; None where that is not possible."""
    from tmt_dq.io.remote import filesystem, mark_of
    from tmt_dq.io.remote_errors import remote_errors

    entries: list[dict[str, Any]]
    try:
        fs, path = filesystem(folder)
        with remote_errors(folder):
            fs.invalidate_cache()
            try:
                entries = fs.ls(path, detail=True)
            except FileNotFoundError:
                return {}
    except TmtDqError:
        return None
    fs.invalidate_cache()
    return {
        entry["name"].rpartition("/")[2]: (entry.get("size") or 0, number_of(mark_of(entry)))
        for entry in entries
        if entry.get("type") == "file"
    }


def memory_folder(output_dir: Url, state_dir: Path | None) -> Path:
    """Return the folder here for what is remembered of a folder elsewhere."""
    if state_dir is None:
        import platformdirs

        state_dir = platformdirs.user_state_path("tmt-dq") / "batches"
    name = hashlib.sha256(redacted(output_dir.full.rstrip("/")).encode()).hexdigest()[:16]
    return state_dir / f"{output_dir.name or 'root'}-{name}"


def remove_leftovers(output: str) -> None:
    """Abort the uploads of an output that killed workers began."""
    from tmt_dq.io.uploads import abort_uploads

    # Where that is not allowed, the bucket's own rule for unfinished uploads must do.
    with contextlib.suppress(TmtDqError):
        abort_uploads(Url(output))
