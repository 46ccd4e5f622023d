"""Remote files: fetched whole for the time that they are used, sent whole or not at all."""

import os
from pathlib import Path
from typing import Any

import pytest

from remote_helpers import WebServer
from tmt_dq.errors import ConfigError, OutputError, RampFormatError, RemoteError
from tmt_dq.files import remote
from tmt_dq.files.urls import file_name, folder_of, is_url, joined, local_path, redacted

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


@pytest.fixture
def scratch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_copy_is_there_for_a_block(store: Any, scratch: Path) -> None:
    store.pipe("night/a.fits", b"ramp")
    with remote.local("s3://night/a.fits") as path:
        assert (path.name, path.read_bytes()) == ("a.fits", b"ramp")
        assert remote.name_of(path) == "s3://night/a.fits"
    assert list(scratch.iterdir()) == []
    assert remote.name_of(path) == str(path)


def test_a_path_is_itself(folder: Path) -> None:
    for name in (folder / "a.fits", f"{folder}/a.fits", f"file://{folder}/a.fits"):
        with remote.local(name) as path:
            assert path == folder / "a.fits"
    with pytest.raises(ConfigError, match="no file of this machine"):
        local_path("file://other/a.fits")


def test_a_mask_is_fetched_once_in_each_state(store: Any) -> None:
    store.pipe("night/mask.fits", b"old")
    old = remote.fetch("s3://night/mask.fits")
    assert remote.fetch("s3://night/mask.fits") == old
    store.pipe("night/mask.fits", b"new")
    assert remote.fetch("s3://night/mask.fits").read_bytes() == b"new"
    assert old.read_bytes() == b"old"


def test_an_output_is_sent_when_the_block_ends_well(store: Any, scratch: Path) -> None:
    data = os.urandom(120 << 20)  # in parts
    with remote.sent("s3://night/out/b.fits") as path:
        path.write_bytes(data)
        assert store.find("night") == []
    assert store.cat("night/out/b.fits") == data
    assert list(scratch.iterdir()) == []


def test_nothing_is_sent_after_an_error(store: Any, scratch: Path) -> None:
    def work() -> None:
        with remote.sent("s3://night/b.fits") as path:
            path.write_bytes(b"half")
            raise RampFormatError(f"{path} is half", where=path, hint=f"Look at {path}.")

    with pytest.raises(RampFormatError) as caught:
        work()
    assert str(caught.value) == (
        "s3://night/b.fits: s3://night/b.fits is half\nLook at s3://night/b.fits."
    )
    assert store.find("night") == []
    assert list(scratch.iterdir()) == []


def test_an_output_that_appears_meanwhile_is_left_alone(store: Any) -> None:
    sending = remote.sent("s3://night/b")
    sending.__enter__().write_bytes(b"ours")
    store.pipe("night/b", b"theirs")
    with pytest.raises(OutputError, match="already exists"):
        sending.__exit__(None, None, None)
    assert store.cat("night/b") == b"theirs"
    with remote.sent("s3://night/b", overwrite=True) as path:
        path.write_bytes(b"ours")
    assert store.cat("night/b") == b"ours"


def test_outputs_are_checked_before_any_work(store: Any) -> None:
    store.pipe("night/b", b"theirs")
    with pytest.raises(OutputError, match="already exists"):
        remote.check_output("s3://night/b")
    remote.check_output("s3://night/b", overwrite=True)
    remote.check_output("s3://night/new")
    for source in ("s3://night/b", "s3a://night/b"):
        with pytest.raises(OutputError, match="same file"):
            remote.check_output("s3://night/b", overwrite=True, inputs=["a.fits", source])
    with pytest.raises(OutputError, match="is a folder"):
        remote.check_output("s3://night/out/")
    with pytest.raises(OutputError, match="whole or not at all"):
        remote.check_output("https://host/b.fits")


def test_a_file_that_changes_on_its_way(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe("night/a.fits", b"first")
    get = store.get_file

    def get_and_change(*args: Any) -> None:
        get(*args)
        store.pipe("night/a.fits", b"later")

    monkeypatch.setattr(store, "get_file", get_and_change)
    with pytest.raises(RemoteError, match="changed"), remote.local("s3://night/a.fits"):
        pass
    assert list(scratch.iterdir()) == []


def test_a_full_disk_is_noticed_before_the_transfer(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe("night/a.fits", b"0123456789")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 25}))
    monkeypatch.setattr(store, "get_file", None)
    with pytest.raises(OutputError, match=r"needs .* free"):
        remote.local("s3://night/a.fits", copies=3).__enter__()
    assert list(scratch.iterdir()) == []


def test_a_store_is_searched(store: Any) -> None:
    for name in ("n1/b.fits", "n1/a.fits", "n1/c.txt", "n2/d.fits"):
        store.pipe(f"night/{name}", b"12345")
    found = remote.search("s3://night/n1/", lambda name: name.endswith(".fits"))
    assert found == ["s3://night/n1/a.fits", "s3://night/n1/b.fits"]
    assert remote.search("s3://night/*/d*", lambda _: True) == ["s3://night/n2/d.fits"]
    assert remote.state("s3://night/n1/none") is None


@pytest.mark.parametrize(
    ("url", "error", "what"),
    [
        ("s3://night/none", RemoteError, r"is not there \(404\)"),
        ("s3://nobucket/a", RemoteError, r"is not there \(404\)"),
        ("http://[::1]:1/a?sig=x", RemoteError, "cannot be reached"),
        ("zip://b.fits::https://h/a.zip?sig=x", ConfigError, "chain"),
        ("simplecache::s3://b/a", ConfigError, "chain"),
        ("gs://night/a", ConfigError, r"not installed(.|\n)*pip install fsspec"),
        ("nosuch://a", ConfigError, "nosuch"),
    ],
)
def test_what_cannot_be_read(store: Any, url: str, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what) as caught, remote.local(url):
        pass
    assert "sig=x" not in str(caught.value)


def test_a_presigned_url_for_get_alone(web: WebServer) -> None:
    web.content["/a b.fits"] = web.content["/a%20b.fits"] = b"ramp"
    with remote.local(f"{web.address}/a%20b.fits?sig=secret") as path:
        assert (path.name, path.read_bytes()) == ("a b.fits", b"ramp")
        assert remote.name_of(path) == f"{web.address}/a%20b.fits?..."


@pytest.mark.parametrize("failure", [403, 404, 500, -5])
def test_errors_show_no_secret(web: WebServer, scratch: Path, failure: int) -> None:
    web.content["/a.fits"] = b"0123456789"
    web.fail = lambda _: failure
    url = web.address.replace("//", "//me:p@ss@") + "/a.fits?sig=deadbeef"
    with pytest.raises(RemoteError) as caught, remote.local(url):
        pass
    assert str(caught.value.where) == f"{web.address}/a.fits?..."
    assert "deadbeef" not in str(caught.value)
    assert "p@ss" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown", "name"),
    [
        ("https://me:p@ss@host/a.fits", "https://host/a.fits", "a.fits"),
        ("https://host/a.fits?sig=one::two", "https://host/a.fits?...", "a.fits"),
        ("https://[::1]:80/a.fits?sig=x", "https://[::1]:80/a.fits?...", "a.fits"),
        ("https://host/..%2F..%2Fa?k", "https://host/..%2F..%2Fa?...", "..%2F..%2Fa"),
        ("https://host/%2E%2E", "https://host/%2E%2E", "%2E%2E"),
        ("https://host/50%25%20a", "https://host/50%25%20a", "50% a"),
        ("s3://night/a#1.fits", "s3://night/a#1.fits", "a#1.fits"),
        ("s3://night/a.fits?versionId=3", "s3://night/a.fits?...", "a.fits"),
        ("/data/a.fits", "/data/a.fits", "a.fits"),
    ],
)
def test_urls_as_they_are_shown(url: str, shown: str, name: str) -> None:
    assert redacted(url) == shown
    assert file_name(url) == name
    assert is_url(url) == ("://" in url)


def test_names_in_folders() -> None:
    assert folder_of("s3://night/n1/a.fits?versionId=3") == "s3://night/n1"
    assert joined("s3://night/n1/", "a b#.fits") == "s3://night/n1/a b#.fits"
    assert joined("https://host/list/n1?sig=x", "../a.fits") == "https://host/list/a.fits"


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "pa#ss", "pa/s@s"])
def test_a_password_that_would_be_taken_for_a_path(password: str) -> None:
    url = f"https://me:{password}@host/a.fits"
    assert redacted(url) == "https://host/a.fits"
    with pytest.raises(RemoteError) as caught:
        remote.local(url).__enter__()
    assert "ss@" not in str(caught.value)
