"""Remote stores through fsspec: connected to, asked, and their errors without secrets.

fsspec finds the library of a protocol; its own configuration (environment, files) has credentials
and endpoints.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from tmt_dq.errors import ConfigError, RemoteError, TmtDqError
from tmt_dq.files.urls import WEB, file_name, protocol_of, redacted

__all__ = [
    "EXISTS",
    "Options",
    "State",
    "attempt",
    "connect",
    "present_state",
    "remote_errors",
    "search",
    "state",
]

T = TypeVar("T")

Options = Mapping[str, Any] | None

_MARKS = (
    *("ETag", "etag", "md5Hash", "content_md5", "VersionId", "Last-Modified"),
    *("LastModified", "last_modified", "mtime", "updated", "created"),
)
_CONNECT_S, _SILENCE_S = 30, 60
"""Seconds until a silent web server is given up; aiohttp's own limit is 300 s for a whole file."""
_WAITS_S = (0.5, 1, 2)
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_CONNECTION = {
    *("ConnectionError", "ClientConnectionError", "HTTPClientError", "TimeoutError"),
    *("ClientPayloadError", "IncompleteRead", "ResponseStreamingError"),
}

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
_LATER = "Try again later; nothing was left half done."
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
        return _state_in(attempt(lambda: fs.info(path)))


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
        what, hint = _describe(error, on_s3=protocol_of(url) in {"s3", "s3a"})
    else:
        return
    raise RemoteError(what, where=redacted(url), hint=hint) from None


def attempt(work: Callable[[], T]) -> T:
    """Return what work returns; try again, a few times, after an error that may pass."""
    for wait_s in _WAITS_S:
        try:
            return work()
        except Exception as error:
            if not _may_pass(error):
                raise
        time.sleep(wait_s)
    return work()


def _may_pass(error: BaseException) -> bool:
    status, _, kinds = _examine(error)
    if status is not None:
        return status in _PASSING
    # s3fs has its own attempts, and what took minutes is not worth others.
    return bool(kinds & _CONNECTION) and not kinds & {"BotoCoreError", "TimeoutError"}


def _examine(error: BaseException | None) -> tuple[int | None, str, set[str]]:
    """Return HTTP status, the store's word and classes of an error and those it came from."""
    status, word, kinds = None, type(error).__name__, set[str]()
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kinds |= {kind.__name__ for kind in type(error).__mro__}
        found = getattr(error, "status", None)
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            word = str(response.get("Error", {}).get("Code", word))
        if status is None and isinstance(found, int):
            status = found
        error = error.__cause__ or error.__context__
    return status, word, kinds


def _describe(error: BaseException, *, on_s3: bool) -> tuple[str, str]:
    """Return what an error of a library means, and what can be done."""
    status, word, kinds = _examine(error)
    if status == 412 or "FileExistsError" in kinds:
        return EXISTS, "Use --overwrite (overwrite=True) to replace it."
    if status in {401, 403} or (status is None and "PermissionError" in kinds):
        shown = f" ({status})" if status else ""
        return f"may not be accessed{shown}", _CREDENTIALS if on_s3 else _SIGNATURE
    if status is not None and status >= 400 and status not in {404, 410}:
        return f"the server answers {status} ({word})", _LATER
    if kinds & {"NoCredentialsError", "PartialCredentialsError"}:
        return "no credentials were found for it", _CREDENTIALS
    if kinds & _CONNECTION and status not in {404, 410}:
        return f"cannot be reached ({word})", _NETWORK
    if status in {404, 410} or "FileNotFoundError" in kinds:
        return ABSENT, _CHECK_S3 if on_s3 else "Check the URL."
    return f"cannot be accessed ({word})", _NETWORK
