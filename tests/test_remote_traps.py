"""Servers that lie, names that mislead, and secrets in places where nobody looks for them."""

import dataclasses
import gzip
import io
import pickle
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from builders import invoke, make_mask, make_ramp, unit_bytes
from remote_helpers import Answer, WebServer, web_server
from tmt_dq import apply_dq, select_mask
from tmt_dq.errors import ConfigError, OutputError, RemoteError
from tmt_dq.files.urls import Url, place_of, redacted
from tmt_dq.io import fetched, remote, remote_inputs, remote_web
from tmt_dq.io.remote_errors import describe


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_WAIT_S", 0.001)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits")


@pytest.fixture
def ramp(folder: Path, web: WebServer) -> Path:
    """Write a ramp of more than what is asked for first; no two of its rows are the same."""
    path = make_ramp(folder / "a_uncal.fits", (1, 1000, 6, 8))
    web.content["/a_uncal.fits"] = path.read_bytes()
    return path


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = MemoryFileSystem()
    yield fs
    fs.rm("/", recursive=True)


@pytest.mark.parametrize(
    "answer",
    [Answer(shift=2880), Answer(more=2880), Answer(etag="W/x")],
    ids=["shift", "more", "etag"],
)
def test_a_range_that_is_another_one(
    folder: Path, web: WebServer, ramp: Path, mask: Path, answer: Answer
) -> None:
    """What was not asked for is never taken for what was, with or without an ETag."""
    web.etag = None
    web.misbehave = lambda number: answer if number else None
    with pytest.raises(RemoteError, match=r"were asked for|changed while"):
        apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    assert not (folder / "out.fits").exists()


def test_a_file_that_was_emptied_meanwhile(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    web.etag = None
    state = remote.connect(Url(f"{web.address}/a_uncal.fits"))
    web.misbehave = lambda _: Answer(status=416)
    assert state.state() != (state.size, state.mark)


@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_packed_for_the_way(
    folder: Path, web: WebServer, ramp: Path, mask: Path, *, ranges: bool
) -> None:
    """Length and ranges are then those of the packed file; the result is that of the plain one."""
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    web.ranges = ranges
    web.misbehave = lambda _: Answer(headers={"Content-Encoding": "gzip"})
    web.content["/a_uncal.fits"] = gzip.compress(ramp.read_bytes())
    apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    for number in range(1, 5):
        assert unit_bytes(folder / "out.fits", number) == unit_bytes(
            folder / "expected.fits", number
        )
    web.content["/list.csv"] = gzip.compress(b"x,y,flag\n2,3,HOT\n")
    url = Url(f"{web.address}/list.csv")
    assert fetched.fetch(url).read_bytes() == b"x,y,flag\n2,3,HOT\n"


def test_another_file_where_there_are_no_ranges(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    """Asked for before and after, it is the old one: of two machines behind one name, say."""
    web.ranges = False
    web.misbehave = lambda number: Answer(etag='"two"') if number == 1 else None
    with pytest.raises(RemoteError, match="changed while it was being read"):
        apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)


def test_silence_is_given_up_and_slowness_is_not(
    folder: Path, web: WebServer, ramp: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_web, "_SILENCE_S", 0.6)
    web.ranges = False
    web.misbehave = lambda number: Answer(pause_s=0.2) if number == 1 else None
    apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    web.misbehave = lambda _: Answer(pause_s=1.5)
    with pytest.raises(RemoteError, match="does not answer in time"):
        apply_dq(f"{web.address}/a_uncal.fits", folder / "two.fits", mask=mask)
    assert not (folder / "two.fits").exists()


def test_an_s3_store_that_is_silent(folder: Path, mask: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = {
            "key": "who",
            "secret": "verysecret",
            "endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "config_kwargs": {"read_timeout": 0.05, "retries": {"max_attempts": 0}},
        }
        with pytest.raises(RemoteError, match="does not answer in time"):
            apply_dq("s3://night/a.fits", folder / "out.fits", mask=mask, fsspec_kwargs=told)


@pytest.mark.parametrize("name", ["..%2F..%2Fa", "%2Fa", "a%0Ab", "a%00"])
def test_a_server_has_no_say_in_where_things_are_written(
    folder: Path, web: WebServer, ramp: Path, mask: Path, name: str
) -> None:
    web.content[f"/{name}_uncal.fits"] = ramp.read_bytes()
    web.content[f"/{name}"] = mask.read_bytes()
    inner = folder / "one" / "two"
    inner.mkdir(parents=True)
    applied = apply_dq(
        f"{web.address}/{name}_uncal.fits", output_dir=inner, mask=f"{web.address}/{name}"
    )
    assert list(folder.rglob("*_dqinit.fits")) == [applied.output]
    assert Path(str(applied.output)).parent == inner
    assert Path(str(applied.output)).name.isprintable()


@pytest.mark.parametrize(
    ("url", "shown", "name"),
    [
        ("https://me:p@ss@host/a.fits", "https://host/a.fits", "a.fits"),
        ("https://host/a.fits?sig=one::two", "https://host/a.fits?...", "a.fits"),
        ("https://[::1]:80/a.fits?sig=x", "https://[::1]:80/a.fits?...", "a.fits"),
        (" https://host/a.fits?sig=x", " https://host/a.fits?...", "a.fits"),
        ("s3://night/a#1.fits", "s3://night/a#1.fits", "a#1.fits"),
        ("s3://night/a@2.fits", "s3://night/a@2.fits", "a@2.fits"),
        ("s3://night/a.fits?versionId=3", "s3://night/a.fits?...", "a.fits"),
        ("zip://b.fits::https://h/a.zip?k=1", "zip://b.fits::https://h/a.zip?...", "b.fits"),
        ("http://host:8080/~me@here/a.fits", "http://host:8080/~me@here/a.fits", "a.fits"),
    ],
)
def test_urls_as_they_are_shown(url: str, shown: str, name: str) -> None:
    place = place_of(url)
    assert str(place) == redacted(url) == shown
    assert place.name == name


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "pa#ss", "pa/s@s"])
def test_a_password_that_would_be_taken_for_a_path(folder: Path, password: str) -> None:
    with pytest.raises(ConfigError, match="user or password") as caught:
        apply_dq(f"https://me:{password}@host/a.fits", folder / "out.fits")
    assert "ss" not in str(caught.value.where)
    assert str(caught.value.where) == "https://host/a.fits"


def test_a_secret_with_signs_that_end_urls_elsewhere() -> None:
    """Libraries write names their own way; what follows the ? is not theirs to end."""
    error = OSError("403, url=URL('http://h/x?sig=a)secret'secret'), again http://u:s'cret@h/y")
    what, hint = describe(error, Url("http://h/x?other"))
    assert "cret" not in what + hint
    assert "http://h/x?..." in what
    assert "http://h/y" in what


def test_reports_show_no_secret(folder: Path, web: WebServer, ramp: Path, mask: Path) -> None:
    """Also where a dataclass with a URL becomes JSON, and where names are told before any work."""
    web.content |= {"/m.fits": mask.read_bytes(), "/b/a_uncal.fits": ramp.read_bytes()}
    address = web.address.replace("//", "//me:pa@ss@")
    url, told = f"{address}/m.fits?sig=deadbeef", "?sig=deadbeef"
    doubles = [f"{address}{name}_uncal.fits{told}" for name in ("/a", "/b/a")]
    for words in (
        ("inspect", url, "--json"),
        ("explain", url, "--pixel", "4,3", "--json"),
        ("diff", url, url, "--json"),
        ("apply", doubles[0], "--output-dir", folder, "--mask", url, "--dry-run", "--json"),
        ("batch", *doubles, "--output-dir", folder, "--mask", url),
        ("apply", *doubles, "--output-dir", folder, "--mask", url),
    ):
        outcome = invoke(*words)
        assert outcome.code == (2 if doubles[1] in words else 0), outcome.err
        assert "deadbeef" not in outcome.out + outcome.err
        assert "ss@" not in outcome.out + outcome.err
    applied = apply_dq(doubles[0], folder / "out.fits", mask=url)
    assert "deadbeef" not in repr(dataclasses.asdict(applied))
    assert pickle.loads(pickle.dumps(Url(url, {"anon": True}))).options == {"anon": True}


def test_caches_of_fsspec_are_refused(
    folder: Path, memory: MemoryFileSystem, ramp: Path, mask: Path
) -> None:
    """They would give the old file, known by the new one's size and time."""
    memory.pipe("/a_uncal.fits", ramp.read_bytes())
    for cache in ("simplecache", "filecache", "blockcache"):
        with pytest.raises(ConfigError, match=f"goes through {cache}::"):
            apply_dq(f"{cache}::memory://a_uncal.fits", folder / "out.fits", mask=mask)
    with pytest.raises(ConfigError, match="goes through simplecache::"):
        apply_dq(ramp, "simplecache::memory://out.fits", mask=mask)


def test_no_input_is_an_output_whatever_it_is_called(
    memory: MemoryFileSystem, ramp: Path, mask: Path
) -> None:
    memory.pipe({"/a_uncal.fits": ramp.read_bytes(), "/mask.fits": mask.read_bytes()})
    (user := ramp.with_name("user.csv")).write_text("x,y,flag\n2,3,HOT\n")
    memory.pipe("/user.csv", user.read_bytes())
    told: dict[str, Any] = {"mask": "memory://mask.fits", "user_dq": "memory://user.csv"}
    for name in ("a_uncal.fits", "mask.fits", "user.csv"):
        for output in (f"memory://{name}", f"memory:///{name}"):
            with pytest.raises(OutputError, match="are the same file"):
                apply_dq("memory://a_uncal.fits", output, overwrite=True, **told)
    assert memory.cat("/mask.fits") == mask.read_bytes()
    assert memory.cat("/a_uncal.fits") == ramp.read_bytes()


class _Forgetful(MemoryFileSystem):  # type: ignore[misc]
    """A file system that takes ``autocommit=False`` and does not heed it, as many do."""

    protocol = "forgetful"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "wb":
            return super()._open(path, mode, **options)
        self.store[path] = MemoryFile(self, path)
        return io.BytesIO()


def test_stores_that_cannot_discard_are_refused(
    folder: Path, memory: MemoryFileSystem, ramp: Path, mask: Path
) -> None:
    import fsspec

    fsspec.register_implementation("forgetful", _Forgetful, clobber=True)
    with pytest.raises(OutputError, match="whole or not at all"):
        apply_dq(ramp, "forgetful://out.fits", mask=mask)
    assert memory.find("/") == []


def test_threads_that_fetch_the_same_mask(
    web: WebServer, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that comes second does not empty the file that the first one has just named."""
    web.content["/mask.fits"] = mask.read_bytes()
    url = Url(f"{web.address}/mask.fits")
    meet = threading.Barrier(2)
    fetch_into = remote_inputs.fetch_into
    sizes = []
    comes_second = iter((False, True))
    done = threading.Event()

    def both_open(*args: Any) -> None:
        meet.wait(20)
        if next(comes_second):
            done.wait(20)
        fetch_into(*args)

    def work() -> None:
        path = fetched.fetch(url)
        sizes.append(path.stat().st_size)
        done.set()

    monkeypatch.setattr(remote_inputs, "fetch_into", both_open)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = fetched.fetch(url)
    assert path.read_bytes() == mask.read_bytes()
    assert sizes == [mask.stat().st_size] * 2
    assert sorted(path.parent.iterdir()) == [path]


def test_addresses_of_the_sixth_version_and_colons_in_queries(
    folder: Path, web: WebServer, ramp: Path
) -> None:
    assert select_mask(f"{web.address}/a_uncal.fits?sig=one::two").uri == select_mask(ramp).uri
    outcome = invoke("select", "http://[::1]:1/a_uncal.fits?sig=secret")
    assert outcome.code == 11
    assert "secret" not in outcome.out + outcome.err
    assert "cannot be reached" in outcome.err


def test_names_with_signs(folder: Path, web: WebServer, ramp: Path, mask: Path) -> None:
    for quoted, plain in {
        "a%20b%2Bc": "a b+c", "50%25": "50%", "no%23one": "no#one", "caf%C3%A9": "café",
        "x+y": "x+y",
    }.items():  # fmt: skip
        web.content[f"/{quoted}_uncal.fits"] = ramp.read_bytes()
        applied = apply_dq(f"{web.address}/{quoted}_uncal.fits", output_dir=folder, mask=mask)
        assert applied.output == folder / f"{plain}_dqinit.fits"
    assert Url("https://host/%2E%2E").name == "%2E%2E"
