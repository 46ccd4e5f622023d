"""Servers on loopback: an S3 store, and a web server that can fail."""

import contextlib
import http.server
import logging
import os
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Start moto's S3 server; yield its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@contextlib.contextmanager
def s3_bucket(endpoint: str, name: str, patch: Any) -> Iterator[Any]:
    """Make a store's only bucket, with an environment that knows the store; yield s3fs's view."""
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
class WebServer:
    """A web server's content, and what it was asked for.

    Parameters
    ----------
    address : str
        ``http://127.0.0.1:port``.
    fail : callable
        Returns, for the number of a request, another status (without content), the bytes after
        which the connection is closed (negative), or None.
    """

    address: str
    content: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fail: Callable[[int], int | None] = lambda _: None


@contextlib.contextmanager
def web_server() -> Iterator[WebServer]:
    """Start a web server in a thread; it refuses HEAD, as for a URL that is presigned for GET."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._send(403, b"")

        def do_GET(self) -> None:
            failure = state.fail(len(state.requests))
            state.requests.append(self.path)
            data = state.content.get(self.path.partition("?")[0])
            if data is None or (failure is not None and failure > 0):
                self._send(failure or 404, b"")
            else:
                self._send(200, data, -failure if failure else None)

        def _send(self, status: int, data: bytes, cut: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hash(data)}"')
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data[:cut])
            self.close_connection |= cut is not None

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
