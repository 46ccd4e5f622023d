"""Inputs on web servers, with ranges and without, and what can go wrong on the way."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import compress_gzip, compress_tiles, invoke, make_mask, make_ramp, unit_bytes
from remote_helpers import Answer, WebServer, web_server
from tmt_dq import apply_dq, select_mask
from tmt_dq.errors import ConfigError, MaskFormatError, OutputError, RemoteError, TmtDqError
from tmt_dq.files.urls import Url, is_url, place_of, redacted
from tmt_dq.io import remote

SECRET = "X-Amz-Credential=AKIAME&X-Amz-Signature=deadbeef"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_WAIT_S", 0.001)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def mask(folder: Path) -> Path:
    dq = np.zeros((30, 24), np.uint32)
    dq[2, 3] = 1024
    return make_mask(folder / "mask.fits", dq)


@pytest.fixture
def ramp(folder: Path, web: WebServer) -> Path:
    """Write a ramp of more than what is asked for first."""
    path = make_ramp(folder / "a_uncal.fits", (1, 60, 30, 24))
    web.content["/a_uncal.fits"] = path.read_bytes()
    return path


def same_data(one: Path, two: Path) -> None:
    with fits.open(one) as first, fits.open(two, checksum=True) as second:
        assert [hdu.name for hdu in first] == [hdu.name for hdu in second]
    for number in range(1, 5):
        assert unit_bytes(one, number) == unit_bytes(two, number)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("ending", ["", ".gz", ".fz"])
def test_with_ranges_and_without(
    folder: Path, web: WebServer, ramp: Path, mask: Path, ending: str, *, ranges: bool
) -> None:
    web.ranges = ranges
    if ending:
        compress = compress_gzip if ending == ".gz" else compress_tiles
        packed = compress(ramp, folder / f"a_uncal.fits{ending}")
        web.content[f"/a_uncal.fits{ending}"] = packed.read_bytes()
    url = f"{web.address}/a_uncal.fits{ending}"
    expected = apply_dq(folder / f"a_uncal.fits{ending}", folder / "expected.fits", mask=mask)
    applied = apply_dq(url, output_dir=folder, mask=mask)
    assert applied.output == folder / "a_dqinit.fits"
    assert applied.counts == expected.counts
    same_data(folder / "expected.fits", folder / "a_dqinit.fits")
    assert select_mask(url).uri == select_mask(ramp).uri
    assert {method for method, _, _ in web.requests} == {"GET"}


def test_headers_are_few_bytes(web: WebServer, ramp: Path) -> None:
    select_mask(f"{web.address}/a_uncal.fits")
    assert web.sent < 70_000 < ramp.stat().st_size
    assert len(web.requests) == 1


def test_a_presigned_url_shows_its_secret_nowhere(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    web.content["/mask.fits"] = mask.read_bytes()
    user = folder / "list.csv"
    user.write_text("x,y,flag\n2,3,HOT\n")
    web.content["/list.csv"] = user.read_bytes()
    output = folder / "out.fits"
    outcome = invoke(
        "apply", f"{web.address}/a_uncal.fits?{SECRET}", "-o", output, "--json",
        "--mask", f"{web.address}/mask.fits?{SECRET}",
        "--user-dq", f"{web.address}/list.csv?{SECRET}", "--user-base", "1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert all(path.endswith(SECRET) for _, path, _ in web.requests)
    told = json.loads(outcome.out)
    assert f"{web.address}/mask.fits?..." in json.dumps(told)
    for text in (outcome.out, outcome.err, output.read_bytes().decode("latin-1")):
        assert "deadbeef" not in text
        assert "AKIAME" not in text
    assert fits.getval(output, "R_MASK") == f"{web.address}/mask.fits?..."
    assert fits.getval(output, "FILENAME") == "out.fits"


@pytest.mark.parametrize("status", [401, 403, 404, 500])
@pytest.mark.parametrize("which", ["ramp", "mask", "user"])
def test_errors_show_no_secret(
    folder: Path, web: WebServer, ramp: Path, mask: Path, status: int, which: str
) -> None:
    web.misbehave = lambda _: Answer(status=status)
    url = f"https://me:pass@{web.address[7:]}/x.fits?{SECRET}".replace("https", "http")
    named = {"ramp": str(ramp), "mask": str(mask), "user": None, which: url}
    with pytest.raises(TmtDqError) as caught:
        apply_dq(str(named["ramp"]), folder / "out.fits", mask=named["mask"], user_dq=named["user"])
    assert isinstance(caught.value, RemoteError)
    assert caught.value.exit_code == 11
    import traceback

    text = "".join(traceback.format_exception(caught.value))
    assert str(status) in str(caught.value)
    assert "deadbeef" not in text
    assert "pass@" not in text
    assert caught.value.where == f"{web.address}/x.fits?..."
    assert not (folder / "out.fits").exists()


def test_what_may_pass_is_tried_again(folder: Path, web: WebServer, ramp: Path, mask: Path) -> None:
    trouble = {0: Answer(status=500), 1: Answer(cut=100), 2: Answer(status=503)}
    web.misbehave = trouble.get
    apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    same_data(folder / "expected.fits", folder / "out.fits")
    web.requests.clear()
    web.misbehave = lambda _: Answer(status=503)
    with pytest.raises(RemoteError, match="the server answers 503"):
        select_mask(f"{web.address}/a_uncal.fits")
    assert len(web.requests) == 5


def test_a_connection_that_breaks_off_every_time(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    web.misbehave = lambda number: Answer(cut=5000) if number else None
    with pytest.raises(RemoteError, match="broke off"):
        apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    assert len(web.requests) == 1 + 5
    web.ranges = False
    with pytest.raises(RemoteError, match="broke off"):
        apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    assert sorted(path.name for path in folder.iterdir()) == ["a_uncal.fits", "mask.fits"]


@pytest.mark.parametrize("ranges", [True, False])
def test_another_etag_on_the_way(
    folder: Path, web: WebServer, ramp: Path, mask: Path, *, ranges: bool
) -> None:
    web.ranges = ranges
    web.misbehave = lambda number: Answer(etag='"two"') if number > 1 else None
    with pytest.raises(RemoteError, match="changed while it was being read"):
        apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask)
    assert not (folder / "out.fits").exists()


def test_outputs_cannot_be_on_web_servers(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    for given in ({"output": f"{web.address}/out.fits"}, {"output_dir": web.address}, {}):
        source = ramp if given else f"{web.address}/a_uncal.fits"
        with pytest.raises(OutputError, match="for reading only"):
            apply_dq(source, mask=mask, **given)
    assert not web.requests


def test_no_server(folder: Path, mask: Path) -> None:
    with web_server() as gone:
        address = gone.address
    with pytest.raises(RemoteError, match="cannot be reached"):
        apply_dq(f"{address}/a_uncal.fits", folder / "out.fits", mask=mask)
    with pytest.raises(ConfigError, match="fsspec does not know"):
        select_mask("nonsense://a/b.fits")


@pytest.mark.parametrize(("library", "url"), [("fsspec", "s3://b/a"), ("s3fs", "s3://b/a")])
def test_a_library_that_is_not_installed(
    library: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, "s3", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"not installed .*{library}") as caught:
        select_mask(url)
    assert 'pip install "tmt-dq[remote]"' in str(caught.value.hint)


def test_a_server_that_does_not_answer_in_time(folder: Path, mask: Path) -> None:
    import aiohttp

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a_uncal.fits"
        told = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=0.2)}}
        with pytest.raises(RemoteError, match="does not answer in time"):
            apply_dq(url, folder / "out.fits", mask=mask, fsspec_kwargs=told)


_SILENT = """
import sys
from tmt_dq.cli import main
main(sys.argv[1:])
"""


def test_ctrl_c_does_not_wait_for_a_silent_server(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(number: int) -> None:
        if number:
            asked.set()
            over.wait(60)

    web.misbehave = silent
    with subprocess.Popen(
        [sys.executable, "-c", _SILENT, "apply", f"{web.address}/a_uncal.fits", "-o",
         folder / "out.fits", "--mask", mask],
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        while not asked.wait(0.1):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        # It ends while the server is still silent.
        assert process.wait(30) == 130
        assert not over.is_set()
        over.set()
    assert not (folder / "out.fits").exists()


def test_what_is_no_mask(folder: Path, web: WebServer, ramp: Path) -> None:
    web.content["/page.html"] = b"<html>Please log in</html>"
    with pytest.raises(MaskFormatError, match=r"page\.html: is not a FITS file"):
        apply_dq(ramp, folder / "out.fits", mask=f"{web.address}/page.html")


def test_recipes_that_look_at_counts(folder: Path, web: WebServer) -> None:
    mask = make_mask(folder / "mask.fits")
    ramp = make_ramp(folder / "a_uncal.fits", (1, 1000, 6, 8))
    web.content["/a_uncal.fits"] = ramp.read_bytes()
    recipe = {"ad_floor": 0.0, "full_scale": 65535.0}
    expected = apply_dq(ramp, folder / "expected.fits", mask=mask, recipe=recipe)
    applied = apply_dq(f"{web.address}/a_uncal.fits", folder / "out.fits", mask=mask, recipe=recipe)
    assert applied.counts == expected.counts
    same_data(folder / "expected.fits", folder / "out.fits")
    # 1000 small planes are not 1000 requests.
    assert len(web.requests) < 20


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_other_protocols(folder: Path, ramp: Path, mask: Path, protocol: str) -> None:
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    if protocol == "file":
        source, target = f"file://{ramp}", f"file://{folder}/out.fits"
    else:
        import fsspec

        fsspec.filesystem("memory").pipe("/night/a_uncal.fits", ramp.read_bytes())
        source, target = "memory://night/a_uncal.fits", "memory://night/out.fits"
    apply_dq(source, target, mask=mask)
    with pytest.raises(OutputError, match="exists already"):
        apply_dq(source, target, mask=mask)
    if protocol == "memory":
        (folder / "out.fits").write_bytes(fsspec.filesystem("memory").cat("/night/out.fits"))
        fsspec.filesystem("memory").rm("/night", recursive=True)
    same_data(folder / "expected.fits", folder / "out.fits")


_NOTHING_OF_FSSPEC = """
import sys
from tmt_dq import apply_dq
apply_dq(sys.argv[1], sys.argv[2], mask="file://" + sys.argv[3])
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"fsspec", "aiohttp", "s3fs", "botocore", "asyncio"}, loaded
"""


def test_local_files_load_nothing_of_it(folder: Path, mask: Path) -> None:
    ramp = make_ramp(folder / "a_uncal.fits")
    subprocess.run(
        [sys.executable, "-c", _NOTHING_OF_FSSPEC, ramp, folder / "out.fits", mask],
        check=True,
        env={**os.environ},
    )


@pytest.mark.parametrize(
    ("url", "shown", "name"),
    [
        ("s3://bucket/a/b.fits", "s3://bucket/a/b.fits", "b.fits"),
        ("https://me:pw@host/a/b%20c.fits?sig=x#y", "https://host/a/b%20c.fits?...", "b c.fits"),
        ("https://host/a.fits#access_token=x", "https://host/a.fits?...", "a.fits"),
        ("simplecache::https://u@h/b.fits?k=1", "simplecache::https://h/b.fits?...", "b.fits"),
    ],
)
def test_urls_as_they_are_shown(url: str, shown: str, name: str) -> None:
    place = place_of(url)
    assert isinstance(place, Url)
    assert str(place) == redacted(url) == shown
    assert url not in repr(place) or url == shown
    assert place.name == name
    assert place.full == url


def test_what_is_a_url(folder: Path) -> None:
    assert place_of("file:///a/b%20c.fits") == Path("/a/b c.fits")
    assert place_of("file://localhost/a.fits") == Path("/a.fits")
    assert place_of(folder) == folder
    assert not is_url("file:///a.fits")
    assert not is_url("a:/b.fits")
    with pytest.raises(ConfigError, match="no file of this machine"):
        place_of("file://elsewhere/a.fits")
    assert str(Url("s3://b/c?x=1") / "d.fits") == "s3://b/c/d.fits"
    assert str(Url("s3://b/c/d.fits").parent) == "s3://b/c"


def test_pieces_are_bounded_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the pieces ahead are asked for before the first is taken."""
    data = np.arange(1000, dtype=np.uint8).tobytes()
    asked = []

    def read(place: int, size: int) -> bytes:
        asked.append(place)
        return data[place : place + size]

    given = remote.pieces_of(read, len(data), piece=64, ahead=3)
    first = next(given)
    assert len(asked) <= 3
    assert first + b"".join(given) == data
    stopped = remote.pieces_of(read, len(data), piece=64, ahead=3)
    asked.clear()
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert len(asked) <= 4
