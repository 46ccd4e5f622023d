"""Remote stores through fsspec: connected to, asked, and their errors without secrets.

fsspec finds the library of a protocol; its own configuration (environment, files) has credentials
and endpoints.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tmt_dq.errors import ConfigError, RemoteError, TmtDqError
from tmt_dq.files.urls import WEB, file_name, protocol_of, redacted

__all__ = [
    "EXISTS",
    "Options",
    "State",
    "connect",
    "present_state",
    "remote_errors",
    "search",
    "state",
]

Options = Mapping[str, Any] | None

_MARKS = (
    *("ETag", "etag", "md5Hash", "content_md5", "VersionId", "Last-Modified"),
    *("LastModified", "last_modified", "mtime", "updated", "created"),
)
_CONNECT_S, _SILENCE_S = 30, 60
"""Seconds until a silent web server is given up; aiohttp's own limit is 300 s for a whole file."""

ABSENT, EXISTS = "is not there (404)", "already exists"
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


def connect(url: str, fsspec_kwargs: Options = None) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path of the file in it."""
    options, protocol, shown = dict(fsspec_kwargs or {}), protocol_of(url), redacted(url)
    if "::" in protocol or re.search(r"::\w+://", url.partition("?")[0]):
        what = "is a chain of URLs (::), whose caches do not notice that a file has changed"
        raise ConfigError(what, where=shown, hint="Give the URL of the file itself.")
    try:
        import fsspec
        from fsspec.core import url_to_fs

        with remote_errors(url):
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


def present_state(url: str, fsspec_kwargs: Options = None) -> State:
    """Return the state of a remote file as it is now; RemoteError if it is not there."""
    fs, path = connect(url, fsspec_kwargs)
    with remote_errors(url):
        fs.invalidate_cache()
        return _state_in(fs.info(path))


def state(url: str, fsspec_kwargs: Options = None) -> State | None:
    """Return the state of a remote file as it is now; None if it is not there."""
    try:
        return present_state(url, fsspec_kwargs)
    except RemoteError as error:
        if error.what != ABSENT:
            raise
        return None


def search(
    url: str, wanted: Callable[[str], bool], fsspec_kwargs: Options = None
) -> dict[str, State]:
    """Return the files below a URL, or that match its pattern, whose names are wanted."""
    fs, path = connect(url, fsspec_kwargs)
    with remote_errors(url):
        fs.invalidate_cache()
        look = fs.glob if any(sign in url for sign in "*?[") else fs.find
        found = look(path, detail=True)
    return {
        fs.unstrip_protocol(name): _state_in(found[name])
        for name in sorted(found)
        if found[name].get("type") == "file" and wanted(file_name(fs.unstrip_protocol(name)))
    }


def _state_in(info: Mapping[str, Any]) -> State:
    marks = (f"{name} {info[name]}" for name in _MARKS if info.get(name))
    return State(info.get("size"), next(marks, None))


@contextlib.contextmanager
def remote_errors(url: str) -> Iterator[None]:
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
        return EXISTS, "Use --overwrite (overwrite=True) to replace it."
    if isinstance(error, FileNotFoundError):
        return ABSENT, _CHECK_S3 if on_s3 else "Check the URL."
    if isinstance(error, PermissionError) or status in {401, 403}:
        shown = f" ({status})" if status else ""
        return f"may not be accessed{shown}", _CREDENTIALS if on_s3 else _SIGNATURE
    if "Credentials" in name:
        return "no credentials were found for it", _CREDENTIALS
    if status is not None:
        return f"the server answers {status}", "Try again later; nothing was left half done."
    return f"cannot be reached ({name})", _NETWORK
