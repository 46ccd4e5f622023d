"""Remote files by staging: an input is fetched into a local file, an output is sent from one.

Faces (functions, verbs, the step) take URLs; below them there are paths only. fsspec finds the
library of a protocol; its own configuration (environment, files) has credentials and endpoints.
"""

import atexit
import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tmt_dq.errors import ConfigError, OutputError, RemoteError, TmtDqError
from tmt_dq.files.urls import WEB, file_name, local_path, protocol_of, redacted

PREFIX = ".tmt-dq-staged-"
Options = Mapping[str, Any] | None

_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Stores where a file appears when all of it is there; in others a part could be taken for it."""
_MARKS = (
    *("ETag", "etag", "md5Hash", "content_md5", "VersionId", "Last-Modified"),
    *("LastModified", "last_modified", "mtime", "updated", "created"),
)
_CONNECT_S, _SILENCE_S = 30, 60
"""Seconds until a silent web server is given up; aiohttp's own limit is 300 s for a whole file."""

_ABSENT, _EXISTS = "is not there (404)", "already exists"
_CREDENTIALS = (
    "Provide AWS credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or "
    "FSSPEC_S3_ANON=true for public data."
)
_SIGNATURE = "A presigned URL may have expired, or be for another method: request a new one."
_CHECK_S3 = (
    "Check bucket and key, and AWS_ENDPOINT_URL if the store is not Amazon's. Without permission "
    "to list a bucket, S3 may answer so for what must not be read."
)
_NETWORK = (
    "Check the network, the name of the host, and for S3 AWS_ENDPOINT_URL, or try again later; "
    "nothing was left half done."
)


class State(NamedTuple):
    """What tells whether a remote file is the same: bytes, and its ETag or time of change."""

    size: int | None
    mark: str | None


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
    key = (url, _present_state(url, fsspec_kwargs))
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
        raise OutputError(_EXISTS, where=shown, hint=hint)


def _object(url: str, fsspec_kwargs: Options) -> tuple[type, str]:
    """Return what is the same for all names of an object (s3 and s3a, its versions)."""
    fs, path = _connect(url, fsspec_kwargs)
    return type(fs), path.partition("?versionId=")[0]


@contextlib.contextmanager
def sent(url: str, *, overwrite: bool = False, fsspec_kwargs: Options = None) -> Iterator[Path]:
    """Yield the path of a local file to write; it is sent to the URL when the block ends well."""
    with _staged(url, None) as path:
        yield path
        if not path.exists():  # nothing was written, as in a dry run
            return
        fs, target = _connect(url, fsspec_kwargs)
        try:
            with _remote_errors(url):
                fs.put_file(str(path), target, mode="overwrite" if overwrite else "create")
        except RemoteError as error:
            raise OutputError(error.what, where=error.where, hint=error.hint) from None


def _fetch(url: str, target: Path, fsspec_kwargs: Options, copies: int) -> None:
    """Fetch a file whole; it must be in the same state afterwards."""
    before = _present_state(url, fsspec_kwargs)
    need, free = (before.size or 0) * copies, shutil.disk_usage(target.parent).free
    if need > free:
        what = f"staging {redacted(url)} needs {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free"
        hint = "Free some space, or set TMPDIR to a folder with more."
        raise OutputError(what, where=target.parent.parent, hint=hint)
    fs, path = _connect(url, fsspec_kwargs)
    with _remote_errors(url):
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


def _connect(url: str, fsspec_kwargs: Options = None) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path of the file in it."""
    options, protocol, shown = dict(fsspec_kwargs or {}), protocol_of(url), redacted(url)
    if "::" in protocol or re.search(r"::\w+://", url.partition("?")[0]):
        what = "is a chain of URLs (::), whose caches do not notice that a file has changed"
        raise ConfigError(what, where=shown, hint="Give the URL of the file itself.")
    try:
        import fsspec
        from fsspec.core import url_to_fs

        with _remote_errors(url):
            if protocol in WEB:
                from aiohttp import ClientTimeout

                limits = ClientTimeout(None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
                known = fsspec.config.conf.get(protocol, {}).get("client_kwargs", {})
                own = options.get("client_kwargs", {})
                options["client_kwargs"] = {"timeout": limits, **known, **own}
                # The URL itself: :: in an address or a query begins no chain.
                return fsspec.filesystem(protocol, **options), url
            if protocol in {"s3", "s3a"} and "?versionId=" in url:
                options.setdefault("version_aware", True)
            try:
                fsspec.get_filesystem_class(protocol)
            except ValueError:
                what = f"has the protocol {protocol}, which fsspec does not know"
                hint = "Use s3://, https:// or another one that fsspec has."
                raise ConfigError(what, where=shown, hint=hint) from None
            fs, path = url_to_fs(url, **options)
            return fs, str(path)
    except ImportError as error:
        what = f"needs a library that is not installed ({error.name or error})"
        hint = (
            "Run: pip install fsspec s3fs aiohttp; other stores than S3 and web servers need the "
            "library that fsspec names."
        )
        raise ConfigError(what, where=shown, hint=hint) from None


def _present_state(url: str, fsspec_kwargs: Options = None) -> State:
    """Return the state of a remote file as it is now; RemoteError if it is not there."""
    fs, path = _connect(url, fsspec_kwargs)
    with _remote_errors(url):
        fs.invalidate_cache()
        info = fs.info(path)
    marks = (f"{name} {info[name]}" for name in _MARKS if info.get(name))
    return State(info.get("size"), next(marks, None))


def state(url: str, fsspec_kwargs: Options = None) -> State | None:
    """Return the state of a remote file as it is now; None if it is not there."""
    try:
        return _present_state(url, fsspec_kwargs)
    except RemoteError as error:
        if error.what != _ABSENT:
            raise
        return None


def search(url: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the files below a URL, or that match its pattern, whose names are wanted."""
    fs, path = _connect(url)
    with _remote_errors(url):
        fs.invalidate_cache()
        look = fs.glob if any(sign in url for sign in "*?[") else fs.find
        found = look(path, detail=True)
    files = [name for name in sorted(found) if found[name].get("type") == "file"]
    return [one for one in map(fs.unstrip_protocol, files) if wanted(file_name(one))]


@contextlib.contextmanager
def _remote_errors(url: str) -> Iterator[None]:
    """Turn what fsspec and the libraries below it raise into `RemoteError`.

    Neither the original nor its text is in it: they may hold the whole URL.
    """
    try:
        yield
    except (TmtDqError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - each file system of fsspec has its own
        what, hint = _describe(error, protocol_of(url))
    else:
        return
    raise RemoteError(what, where=redacted(url), hint=hint) from None


def _describe(error: BaseException, protocol: str) -> tuple[str, str]:
    """Return what an error of a library means, and what can be done."""
    on_s3 = protocol in {"s3", "s3a"}
    if protocol in WEB:  # where fsspec makes any answer to its first question FileNotFoundError
        error = error.__cause__ or error
    status, name = getattr(error, "status", None), type(error).__name__
    if isinstance(error, FileExistsError):
        return _EXISTS, "Use --overwrite (overwrite=True) to replace it."
    if isinstance(error, FileNotFoundError):
        return _ABSENT, _CHECK_S3 if on_s3 else "Check the URL."
    if isinstance(error, PermissionError) or status in {401, 403}:
        shown = f" ({status})" if status else ""
        return f"may not be accessed{shown}", _CREDENTIALS if on_s3 else _SIGNATURE
    if "Credentials" in name:
        return "no credentials were found for it", _CREDENTIALS
    if status is not None:
        return f"the server answers {status}", "Try again later; nothing was left half done."
    return f"cannot be reached ({name})", _NETWORK
