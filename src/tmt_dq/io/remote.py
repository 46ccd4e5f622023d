"""Bytes of files elsewhere, through fsspec: ranges where the server gives them, in bounded memory.

fsspec finds the library of a protocol, and its own configuration (environment, files) says with
which credentials and at which endpoint. It is imported here and nowhere else.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from tmt_dq.errors import ConfigError, RemoteError
from tmt_dq.files.urls import Url
from tmt_dq.io.remote_errors import missing_library, remote_errors, status_of

__all__ = [
    "AHEAD",
    "PIECE",
    "Remote",
    "begin",
    "connect",
    "file_info",
    "filesystem",
    "is_s3",
    "mark_of",
    "pieces",
    "pieces_of",
]

T = TypeVar("T")

PIECE = 16 * 1024 * 1024
"""Bytes that are asked for at once."""

AHEAD = 4
"""Pieces that are on their way at the same time."""

_FIRST = 64 * 1024
_MOST_AHEAD = 4 * 1024 * 1024
_ATTEMPTS = 5
_WAIT_S = 0.1
_GROWTH = 1.7
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_HTTP = {"http", "https"}
_S3 = {"s3", "s3a"}
_CACHES = re.compile(r"(?:^|::)(simplecache|filecache|blockcache|cached)::")
_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "VersionId", "Last-Modified")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


def filesystem(url: Url) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the file's name in it.

    Raises
    ------
    ConfigError
        Raised if a library is missing, the protocol is not known, or is one of fsspec's caches.
    """
    try:
        import fsspec
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise missing_library(error, url) from None
    if cache := _CACHES.search(url.full):
        raise ConfigError(
            f"goes through {cache[1]}::, which does not notice that a file has changed",
            where=url,
            hint=f"Leave {cache[1]}:: out: exposures are read once, masks are fetched once.",
        )
    options = dict(url.options)
    if url.protocol in _S3 and "?versionId=" in url.full:
        options.setdefault("version_aware", True)
    try:
        with remote_errors(url):
            try:
                if url.protocol in _HTTP:
                    # The URL itself: :: in an address or query begins no chain.
                    return fsspec.filesystem(url.protocol, **options), url.full
                fs, path = url_to_fs(url.full, **options)
            except ImportError as error:
                raise missing_library(error, url) from None
            except ValueError as error:
                if "rotocol" not in str(error):
                    raise
                raise ConfigError(
                    f"has the protocol {url.protocol}, which fsspec does not know",
                    where=url,
                    hint="Use s3://, https:// or another one that fsspec has.",
                ) from None
    except TypeError:
        raise ConfigError("fsspec does not take these options", where=url) from None
    return fs, path


def is_s3(fs: Any) -> bool:
    """Tell whether a file system is s3fs."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return "s3" in protocols and hasattr(fs, "call_s3")


def file_info(url: Url) -> dict[str, Any] | None:
    """Ask for what is known of a file now, not what was known before; None if it is not there."""
    fs, path = filesystem(url)
    with remote_errors(url):
        fs.invalidate_cache()
        try:
            found: dict[str, Any] = fs.info(path)
        except FileNotFoundError as error:
            if status_of(error) not in {None, 404, 410}:
                raise
            return None
    return found


def mark_of(info: dict[str, Any]) -> str | None:
    """Return what changes when a file's content does: its ETag, or its time of change."""
    for name in (*_MARKS, *_TIMES):
        if info.get(name):
            return f"{name} {info[name]}"
    return None


class Remote(Protocol):
    """A file elsewhere, opened for reading."""

    url: Url
    fs: Any
    path: str
    size: int | None
    mark: str | None
    ranged: bool

    def read_range(self, start: int, size: int) -> bytes:
        """Return exactly these bytes; from any thread."""
        ...

    def stream(self) -> Iterator[bytes]:
        """Yield the file from its beginning, piece by piece."""
        ...

    def state(self) -> tuple[int | None, str | None]:
        """Ask for size and mark as they are now."""
        ...


def connect(url: Url) -> Remote:
    """Open a file elsewhere.

    Raises
    ------
    RemoteError
        Raised if it is not there, may not be read, or the server does not answer.
    ConfigError
        Raised if a library is missing.
    """
    fs, path = filesystem(url)
    if url.protocol in _HTTP:
        from tmt_dq.io.remote_web import Web

        return Web(url, fs, path)
    return _File(url, fs, path)


class _File:
    """A file in any file system of fsspec."""

    ranged = True

    def __init__(self, url: Url, fs: Any, path: str) -> None:
        self.url, self.fs, self.path = url, fs, path
        self.size, self.mark = self.state()

    def state(self) -> tuple[int | None, str | None]:
        with remote_errors(self.url):
            self.fs.invalidate_cache(self.path)
            info = self.fs.info(self.path)
        if info.get("type") == "directory":
            raise RemoteError(
                "is a folder; expected a file", where=self.url, hint="Name a file in it."
            )
        return info.get("size"), mark_of(info)

    def read_range(self, start: int, size: int) -> bytes:
        if size == 0:
            return b""
        with remote_errors(self.url):
            data = again(lambda: self.fs.cat_file(self.path, start=start, end=start + size))
        if len(data) != size:
            raise changed(self.url, f"ended {size - len(data)} bytes early while it was being read")
        return bytes(data)

    def stream(self) -> Iterator[bytes]:
        assert self.size is not None
        return pieces(self, 0, self.size)


def changed(url: Url, what: str = "changed while it was being read") -> RemoteError:
    """Return the error for a file that is not the one that was opened any more."""
    return RemoteError(
        what, where=url, hint="Something else writes it; try again when it is complete."
    )


def again(ask: Any) -> Any:
    """Ask a server, a bounded number of times if what goes wrong may pass."""
    for attempt in range(_ATTEMPTS):
        try:
            return ask()
        except Exception as error:
            if attempt + 1 == _ATTEMPTS or not _may_pass(error):
                raise
        time.sleep(_WAIT_S * _GROWTH**attempt)
    raise AssertionError("unreachable")


def _may_pass(error: BaseException) -> bool:
    status = status_of(error)
    if status is not None:
        return status in _TRY_AGAIN
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # s3fs has its own attempts: what it raises has been tried often enough.
    if kinds & {"BotoCoreError", "FSTimeoutError"}:
        return False
    if isinstance(error, TimeoutError):
        return False  # it took minutes: several of them are no better
    passing = {"ClientPayloadError", "ServerDisconnectedError", "ClientOSError"}
    return isinstance(error, ConnectionError) or bool(kinds & passing)


def pieces(
    remote: Remote, start: int, size: int, *, piece: int = PIECE, ahead: int = AHEAD
) -> Iterator[bytes]:
    """Yield a range of a file in order, the next pieces being on their way meanwhile.

    Parameters
    ----------
    remote : Remote
        The file.
    start, size : int
        The range.
    piece, ahead : int
        Bytes of a piece, and how many of them are in memory at most.

    Yields
    ------
    bytes
        The next piece.
    """
    yield from pieces_of(
        lambda place, count: remote.read_range(start + place, count), size, piece=piece, ahead=ahead
    )


def pieces_of(
    read: Callable[[int, int], T], size: int, *, piece: int = PIECE, ahead: int = AHEAD
) -> Iterator[T]:
    """Yield what `read` returns for each piece of `size` bytes, in order, a few of them ahead."""
    if size <= piece:
        if size:
            yield read(0, size)
        return
    places = iter(range(0, size, piece))
    waiting: deque[Future[T]] = deque()
    while True:
        while len(waiting) < ahead and (place := next(places, None)) is not None:
            waiting.append(begin(read, place, min(piece, size - place)))
        if not waiting:
            return
        yield waiting.popleft().result()


def begin(work: Callable[..., T], *args: Any) -> Future[T]:
    """Begin work in a thread that the end of the process does not wait for.

    `ThreadPoolExecutor` would: after Ctrl-C, until a server that is silent is given up.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="tmt-dq-transfer", daemon=True).start()
    return future


class Ahead:
    """Reads small parts with few requests: more and more at once where one follows the other."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._start = 0
        self._data = b""
        self._count = _FIRST

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer at the end of the file."""
        total = self._remote.size
        assert total is not None
        size = max(0, min(size, total - offset))
        inside = offset - self._start
        if inside < 0 or inside + size > len(self._data):
            end = self._start + len(self._data)
            goes_on = self._start <= offset <= end and self._data
            self._count = min(_MOST_AHEAD, 4 * self._count) if goes_on else _FIRST
            self._start, inside = offset, 0
            count = min(max(size, self._count), total - offset)
            self._data = self._remote.read_range(offset, count) if size else b""
        return self._data[inside : inside + size]
