"""What all tests share: an environment without CRDS, one cache a session, and paths."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import builders
import published_files

# Files and cold imports make the time of a first example meaningless.
settings.register_profile("tmt-dq", deadline=None)
settings.load_profile("tmt-dq")

# A job in a shell's background ignores Ctrl-C, and so would everything that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the embedded CRDS cache: one for the session, shared by its workers."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each worker has a folder of its own inside that of the session; expansion is locked.
        base = base.parent
    folder = base / "tmt-dq-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path
) -> None:
    """Keep the user's home, caches and CRDS settings out of the tests."""
    for name in [name for name in os.environ if name.startswith(("CRDS_", "TMT_DQ_"))]:
        if name != "TMT_DQ_SHARED_DATA":
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("TMT_DQ_CACHE_DIR", str(cache_dir))


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """Mask of 6 × 8 pixels for the ramps of `builders.make_ramp`."""
    return builders.make_mask(tmp_path / "mask.fits")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Folder for outputs, which is not there yet."""
    return tmp_path / "out"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of data files made elsewhere, or of stand-ins of the same forms."""
    return published_files.data_folder()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 store on loopback: one for the session."""
    from remote_helpers import s3_server

    with s3_server() as address:
        yield address


@pytest.fixture
def store(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return fsspec's file system of a store with an empty bucket "night"."""
    from remote_helpers import s3_bucket

    with s3_bucket(s3_endpoint, "night", monkeypatch) as fs:
        yield fs


@pytest.fixture
def web() -> Iterator[Any]:
    """Return a web server on loopback (`remote_helpers.WebServer`)."""
    from remote_helpers import web_server

    with web_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder of the test's own."""
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own: stpipe writes to the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_crds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out CRDS' own certify, which takes two seconds; other tests run it."""
    monkeypatch.setattr(
        "tmt_dq.references.crds_tools.certify_reference", lambda *_args, **_options: ()
    )
