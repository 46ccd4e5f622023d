"""Masks that may be delivered, small caches to deliver into, and what they answer."""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from builders import mask_hdus, write_hdus
from reference_helpers import make_cache, rmap_text
from tmt_dq.references import select_reference
from tmt_dq.references.cache import open_cache

PROVENANCE = {
    "PEDIGREE": "INFLIGHT 2026-04-01 2026-04-30",
    "AUTHOR": "A. Astronomer",
    "DESCRIP": "Bad pixels of April",
    "HISTORY": "Found in the darks of April, by hand",
}
OLD = "tmt_iris_mask_0001.fits"
NEW = "tmt_iris_mask_0002.fits"


def deliverable(
    path: Path,
    dq: npt.NDArray[Any] | None = None,
    *,
    start: tuple[int, int] = (101, 201),
    useafter: str | None = "2026-05-01T00:00:00",
    header: Mapping[str, object] | None = None,
    checksum: bool = True,
    **options: Any,
) -> Path:
    """Write a mask with all that a delivery demands: by default, of a small subarray."""
    if dq is None:
        dq = np.zeros((6, 8), np.uint32)
        dq[2, 3] = 2049
    cards = {**PROVENANCE, "SUBARRAY": "CUSTOM", "USEAFTER": useafter, **(header or {})}
    hdus = mask_hdus(dq, start=start, header=cards, **options)
    return write_hdus(path, hdus, checksum=checksum)


def full_frame() -> npt.NDArray[np.uint32]:
    """Return the flags of a whole detector with nothing but its border of reference pixels."""
    dq = np.zeros((4096, 4096), np.uint32)
    dq[:4] = dq[-4:] = dq[:, :4] = dq[:, -4:] = 1 << 31
    return dq


def small_cache(root: Path, *, config: bool = False, rules: Any = None) -> Path:
    """Make a cache with one context, tmt_0001.pmap, and a mask of the same small subarray."""
    rules = rules or {("IRIS1", "CUSTOM"): {"2015-10-01 00:00:00": OLD}}
    declared = (
        "{'latest_context': 'tmt_0001.pmap', 'operational_context': 'tmt_0001.pmap', "
        "'observatory': 'tmt', 'bad_files_list': []}"
    )
    make_cache(root, rmap_text(rules), config=declared if config else None)
    deliverable(root / "references/tmt/iris" / OLD, np.zeros((6, 8), np.uint32), useafter=None)
    return root


def exposure(date: str, **changes: object) -> dict[str, object]:
    """Return the keywords of an exposure of the small subarray."""
    return {
        "INSTRUME": "IRIS",
        "DETECTOR": "IRIS1",
        "SUBARRAY": "CUSTOM",
        "DATE-OBS": date,
    } | changes


def answer(root: Path, date: str, *, context: str | None = None, **changes: object) -> str | None:
    """Return the mask that a cache selects."""
    return select_reference(exposure(date, **changes), crds_path=root, context=context).name


def default_context(root: Path) -> str:
    """Return a cache's default context."""
    return open_cache(root, "tmt").context("latest")


@pytest.fixture
def mask(folder: Path) -> Path:
    """Return a mask for exposures from 1 May 2026 on."""
    return deliverable(folder / "mask.fits")


@pytest.fixture(params=[False, True], ids=["no server_config", "server_config"])
def root(folder: Path, request: pytest.FixtureRequest) -> Path:
    """Return a cache with one mask."""
    return small_cache(folder / "cache", config=request.param)


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def header_of(path: Path) -> dict[str, Any]:
    """Return the header of a file of rules, read without any of our code."""
    tree = ast.parse(path.read_text())
    [value] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "header"
    ]
    header: dict[str, Any] = ast.literal_eval(value)
    return header
