"""What went wrong with a file elsewhere, told without what is secret in its URL."""

import contextlib
import re
from collections.abc import Iterator
from urllib.parse import quote

from tmt_dq.errors import ConfigError, RemoteError, TmtDqError
from tmt_dq.files.urls import Url, redacted

__all__ = ["describe", "remote_errors", "status_of"]

# A query may hold any sign but a blank: what it ends with cannot be told from what follows.
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s'\"<>)?#]|['\")](?=\S*@))+(?:[?#]\S*)?")
_LONGEST = 300
_S3 = {"s3", "s3a"}
_NO_RIGHT_S3 = (
    "Say who you are as for other AWS tools (AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY), or FSSPEC_S3_ANON=true for what is public."
)
_NO_RIGHT_WEB = (
    "A presigned URL may have expired, or be for another method than GET: ask for a new one."
)
_MISSING_S3 = (
    "Check bucket and key, and AWS_ENDPOINT_URL if the store is not Amazon's. Without the right "
    "to list a bucket, S3 may answer so for what must not be read."
)
_UNREACHED = "Check the network, the host's name, and for S3 AWS_ENDPOINT_URL."
_LATER = "Try again later; nothing was left half done."


@contextlib.contextmanager
def remote_errors(url: Url) -> Iterator[None]:
    """Turn what fsspec and the libraries below it raise into `RemoteError`.

    The original is not chained: its text, and that of the ones below it, may hold the whole URL.
    """
    try:
        yield
    except TmtDqError:
        raise
    except Exception as error:  # noqa: BLE001 - each file system of fsspec has its own
        what, hint = describe(error, url)
    else:
        return
    raise RemoteError(what, where=url, hint=hint) from None


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status in an error, or in one of those it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(code, int):
                return code
        status = getattr(error, "status", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None


def describe(error: BaseException, url: Url) -> tuple[str, str]:
    """Say what an error of a library means, and what can be done.

    Parameters
    ----------
    error : BaseException
        The error.
    url : Url
        The file.

    Returns
    -------
    tuple of str
        What was found, and a hint.
    """
    on_s3 = url.protocol in _S3
    status = status_of(error)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, PermissionError) or status in {401, 403}:
        shown = f" ({status})" if status else ""
        return f"may not be accessed{shown}", _NO_RIGHT_S3 if on_s3 else _NO_RIGHT_WEB
    if "NoCredentialsError" in kinds or "PartialCredentialsError" in kinds:
        return "no credentials were found for it", _NO_RIGHT_S3
    if (isinstance(error, FileNotFoundError) and status in {None, 404}) or status in {404, 410}:
        return "is not there (404)", _MISSING_S3 if on_s3 else "Check the URL."
    if status is not None and status >= 400:
        return f"the server answers {status}: {_plain(error, url)}", _LATER
    if kinds & {"ClientPayloadError", "IncompleteRead", "ResponseStreamingError"}:
        return f"the connection broke off while it was read: {_plain(error, url)}", _LATER
    if isinstance(error, TimeoutError) or kinds & {"ReadTimeoutError", "ConnectTimeoutError"}:
        return "the server does not answer in time", _LATER
    if isinstance(error, ConnectionError) or kinds & {
        "ClientConnectionError",
        "EndpointConnectionError",
        "HTTPClientError",
    }:
        return f"cannot be reached: {_plain(error, url)}", _UNREACHED
    return f"cannot be accessed: {_plain(error, url)}", _LATER


def _plain(error: BaseException, url: Url) -> str:
    """Return the text of an error without secrets, in one line."""
    text = str(error) or type(error).__name__
    query = url.full.partition("?")[2]
    for secret in (url.full, quote(url.full, safe="/:"), query):
        if secret:
            text = text.replace(secret, str(url) if secret != query else "...")
    text = _ANY_URL.sub(lambda found: redacted(found.group()), text)
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text}"[:_LONGEST]


def missing_library(error: ImportError, url: Url) -> ConfigError:
    """Return the error for a library that is not installed."""
    what = getattr(error, "name", None) or str(error)
    known = url.protocol in {*_S3, "http", "https", "memory"}
    return ConfigError(
        f"needs a library that is not installed ({what})",
        where=url,
        hint='Install it with `pip install "tmt-dq[remote]"`.'
        if known
        else "Install the library of fsspec for this protocol, beside tmt-dq[remote].",
    )
