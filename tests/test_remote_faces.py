"""Remote files in functions, verbs, batch and step: the results are those of local files.

What could go wrong: an output that differs, or is there though the work failed; a file or report
that names the staged copy; a secret of a URL in what is printed or written.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import invoke, make_mask, make_ramp
from remote_helpers import WebServer, s3_bucket, web_server
from tmt_dq import diff, explain, select_mask, summarize

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


@pytest.fixture
def store(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return fsspec's file system of a store with an empty bucket "night"."""
    with s3_bucket(s3_endpoint, "night", monkeypatch) as fs:
        yield fs


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def ramp(folder: Path) -> Path:
    return make_ramp(folder / "a_uncal.fits")


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits")


def test_selections_and_reports(folder: Path, store: Any, ramp: Path, mask: Path) -> None:
    store.put([str(ramp), str(mask)], "night/")
    url = "s3://night/mask.fits"
    assert select_mask("s3://night/a_uncal.fits").uri == select_mask(ramp).uri
    found = summarize(url)
    assert str(found.path) == url
    assert found.flagged == summarize(mask).flagged == 2
    assert str(explain(url, x=4, y=3).path) == url
    assert diff(url, mask).changed == 0
    for words in (("inspect", url), ("explain", url, "--pixel", "4,3"), ("diff", url, mask)):
        outcome = invoke(*words, "--json")
        assert outcome.code == 0, outcome.err
        assert "staged" not in outcome.out
    outcome = invoke("select", "s3://night/a_uncal.fits", "--json")
    assert json.loads(outcome.out)["ramp"] == "s3://night/a_uncal.fits"
