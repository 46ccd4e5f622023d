"""Servers on loopback: an S3 store in a process of its own, and a web server that can fail."""

import contextlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Answer", "WebServer", "s3_bucket", "s3_server", "web_server"]

HERE = Path(__file__).parent
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Start moto's S3 server; yield its address."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "s3_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def s3_bucket(endpoint: str, name: str, patch: Any) -> Iterator[Any]:
    """Make a store's only bucket, with an environment that knows the store; yield s3fs's view.

    The connection is kept from one test to the next: making one takes longer than most tests.
    """
    for variable in [key for key in os.environ if key.startswith(("AWS_", "FSSPEC_"))]:
        patch.delenv(variable)
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "who",
        "AWS_SECRET_ACCESS_KEY": "verysecret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(variable, value)
    import s3fs

    fs = s3fs.S3FileSystem()
    fs.invalidate_cache()
    fs.call_s3("create_bucket", Bucket=name)
    yield fs
    reset = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    with urllib.request.urlopen(reset) as answer:
        assert answer.status == 200


@dataclass
class Answer:
    """What the web server is to do with a request, instead of what is right.

    Parameters
    ----------
    status : int or None
        Another status, without content.
    cut : int or None
        Bytes after which the connection is closed.
    etag : str or None
        Another ETag.
    shift : int
        Bytes by which a range that does not begin the file is another one than was asked for.
    more : int
        Bytes that the file is said to have more of, where a range is sent.
    headers : dict
        Further headers.
    pause_s : float
        Seconds to wait in the middle of what is sent.
    """

    status: int | None = None
    cut: int | None = None
    etag: str | None = None
    shift: int = 0
    more: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0


@dataclass
class WebServer:
    """A web server's content and what it was asked for.

    Parameters
    ----------
    address : str
        ``http://127.0.0.1:port``.
    """

    address: str
    ranges: bool = True
    etag: str | None = '"one"'
    content: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    misbehave: Callable[[int], Answer | None] = lambda _: None
    sent: int = 0


def _write(stream: Any, data: bytes, pause_s: float) -> None:
    """Send data, in four parts if there are to be pauses."""
    step = -(-len(data) // 4) if pause_s else max(1, len(data))
    for begin in range(0, len(data), step):
        stream.write(data[begin : begin + step])
        time.sleep(pause_s)


@contextlib.contextmanager
def web_server() -> Iterator[WebServer]:
    """Start a web server in a thread."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            # As for a URL that is presigned for GET.
            state.requests.append(("HEAD", self.path, None))
            self._empty(403)

        def do_PUT(self) -> None:
            state.requests.append(("PUT", self.path, None))
            self._empty(405)

        def _empty(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            number = len(state.requests)
            asked = self.headers.get("Range")
            state.requests.append(("GET", self.path, asked))
            answer = state.misbehave(number) or Answer()
            data = state.content.get(self.path.partition("?")[0])
            if answer.status is not None or data is None:
                self._empty(answer.status or 404)
                return
            match = _RANGE.fullmatch(asked or "") if state.ranges else None
            if match is None:
                self.send_response(200)
                part = data
            else:
                first, last = int(match[1]), min(int(match[2]), len(data) - 1)
                shift = answer.shift * bool(first)
                first, last = first - shift, last - shift
                self.send_response(206)
                total = len(data) + answer.more
                self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
                part = data[first : last + 1]
            etag = answer.etag or state.etag
            if etag is not None:
                self.send_header("ETag", etag)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                _write(self.wfile, part[: answer.cut], answer.pause_s)
                state.sent += len(part[: answer.cut])
            self.close_connection |= answer.cut is not None and answer.cut < len(part)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state = WebServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
