"""Files on web servers: with ranges where the server gives them, from beginning to end otherwise.

fsspec's own reading asks with HEAD first, which a URL presigned for GET does not allow, and does
not tell a range from the whole file. Its session, with what its configuration says, is used.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tmt_dq.errors import RemoteError
from tmt_dq.files.urls import Url
from tmt_dq.io.remote import again, changed, pieces
from tmt_dq.io.remote_errors import remote_errors

__all__ = ["Web"]

_PROBE = 64 * 1024
_STREAM = 1024 * 1024
_WHOLE, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_CONNECT_S, _SILENCE_S = 30, 60
"""Seconds until a server that does not answer, or stops in the middle, is given up.

aiohttp's own limit, five minutes for all of a file, would end the reading of a large one.
"""


class Web:
    """A file on a web server."""

    def __init__(self, url: Url, fs: Any, path: str) -> None:
        self.url, self.fs, self.path = url, fs, path
        self.size: int | None = None
        self.mark: str | None = None
        self.ranged = False
        self._start = b""
        with remote_errors(url):
            self._look()

    def _look(self) -> None:
        """Ask for the beginning: one request tells size, mark and whether there are ranges."""
        status, headers, data = again(lambda: self._get(0, _PROBE))
        self.size, self.mark = _size(status, headers), _mark(headers)
        if status == _PARTIAL and self.size is not None:
            # What is not the range that was asked for is no good sign for the next ones.
            self.ranged = _is_range(headers, data, 0, min(_PROBE, self.size))
            self._start = data if self.ranged else b""
        elif status == _UNSATISFIABLE:
            self.ranged = True

    def state(self) -> tuple[int | None, str | None]:
        """Ask for size and mark as they are now."""
        with remote_errors(self.url):
            status, headers, _ = again(lambda: self._get(0, 1))
        return _size(status, headers), _mark(headers)

    def read_range(self, start: int, size: int) -> bytes:
        """Return exactly these bytes."""
        if start + size <= len(self._start):
            return self._start[start : start + size]
        with remote_errors(self.url):
            status, headers, data = again(lambda: self._get(start, size))
        if status != _PARTIAL or (_size(status, headers), _mark(headers)) != (self.size, self.mark):
            raise changed(self.url)
        if not _is_range(headers, data, start, size):
            raise RemoteError(
                f"the server sent {headers.get('Content-Range')} ({len(data)} bytes) where bytes "
                f"{start}-{start + size - 1} were asked for",
                where=self.url,
                hint="Its ranges cannot be relied on: fetch the file another way, and name it.",
            )
        return bytes(data)

    def stream(self) -> Iterator[bytes]:
        """Yield the file from its beginning; what breaks off cannot be gone on with."""
        if self.ranged:
            assert self.size is not None
            yield from pieces(self, 0, self.size)
            return
        session = _Reading(self)
        done = 0
        try:
            with remote_errors(self.url):
                while piece := session.next():
                    done += len(piece)
                    yield piece
        finally:
            session.close()
        if self.size is not None and done != self.size:
            raise changed(self.url, f"has {self.size} bytes, but {done} came")

    def run(self, work: Any, *args: Any) -> Any:
        """Run a coroutine in fsspec's own thread."""
        from fsspec.asyn import sync

        return sync(self.fs.loop, work, *args)

    def _get(self, start: int, size: int) -> tuple[int, Any, bytes]:
        answer: tuple[int, Any, bytes] = self.run(self._ask, start, size)
        return answer

    async def _ask(self, start: int, size: int) -> tuple[int, Any, bytes]:
        """Ask for a range; of a server that sends the whole file, the file is not read."""
        session = await self.fs.set_session()
        headers = {"Range": f"bytes={start}-{start + size - 1}"}
        async with session.get(self.fs.encode_url(self.path), **self.options(headers)) as answer:
            if answer.status == _UNSATISFIABLE:
                return answer.status, answer.headers, b""
            answer.raise_for_status()
            if answer.status != _PARTIAL or _is_encoded(answer.headers):
                # Ranges of what was packed for the way are ranges of something else.
                return _WHOLE, answer.headers, b""
            return answer.status, answer.headers, await answer.read()

    def options(self, headers: dict[str, str]) -> dict[str, Any]:
        """Return the arguments of a request: fsspec's own, with headers and limits added."""
        from aiohttp import ClientTimeout

        options = dict(self.fs.kwargs)
        if "timeout" not in self.fs.client_kwargs:
            limits = ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
            options.setdefault("timeout", limits)
        own = {"Accept-Encoding": "identity", **headers}
        return {**options, "headers": {**options.get("headers", {}), **own}}


class _Reading:
    """One answer, read from another thread than the one it comes in."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._answer: AsyncIterator[bytes] | None = None

    def next(self) -> bytes:
        piece: bytes = self._web.run(self._next)
        return piece

    async def _next(self) -> bytes:
        if self._answer is None:
            self._answer = self._read()
        return await anext(self._answer, b"")

    async def _read(self) -> AsyncIterator[bytes]:
        web = self._web
        session = await web.fs.set_session()
        async with session.get(web.fs.encode_url(web.path), **web.options({})) as answer:
            answer.raise_for_status()
            if _mark(answer.headers) != web.mark:
                raise changed(web.url)
            async for piece in answer.content.iter_chunked(_STREAM):
                yield piece

    def close(self) -> None:
        async def close() -> None:
            closing = getattr(self._answer, "aclose", None)
            if closing is not None:
                await asyncio.wait_for(closing(), 5)

        if self._answer is not None:
            self._web.run(close)


def _size(status: int, headers: Any) -> int | None:
    """Return the size of a file by what is said with an answer; None if nothing is."""
    total = _number(headers.get("Content-Range", "").rpartition("/")[2])
    if status == _PARTIAL:
        return total
    if status == _UNSATISFIABLE:
        return total or 0
    # What is packed for the way is another size than what comes out of it.
    return None if _is_encoded(headers) else _number(headers.get("Content-Length"))


def _is_range(headers: Any, data: bytes, start: int, size: int) -> bool:
    """Tell whether an answer is, and has, exactly this range."""
    said = _RANGE.fullmatch(headers.get("Content-Range", ""))
    return (
        said is not None
        and (int(said[1]), int(said[2])) == (start, start + size - 1)
        and len(data) == size
    )


def _is_encoded(headers: Any) -> bool:
    return headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _mark(headers: Any) -> str | None:
    for name in ("ETag", "Last-Modified"):
        if headers.get(name):
            return f"{name} {headers[name]}"
    return None
