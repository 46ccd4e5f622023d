"""Receipts that lie, and changes of a cache that cannot be ended: nothing is lost or half done."""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from builders import folder_state
from delivery_helpers import NEW, OLD, answer, default_context, deliverable, no_crds, small_cache
from tmt_dq.delivery.deliver import deliver_mask, rollback
from tmt_dq.delivery.receipts import Receipt
from tmt_dq.errors import DeliveryError, OutputError

__all__ = ["no_crds"]

pytestmark = pytest.mark.usefixtures("no_crds")
NOON = "2026-06-01T12:00:00"


@pytest.fixture
def delivered(folder: Path) -> Receipt:
    root = small_cache(folder / "cache", config=True)
    return deliver_mask(deliverable(folder / "mask.fits"), cache=root)


def file_entry(root: Path, path: str) -> dict[str, Any]:
    raw = (root / path).read_bytes()
    return {"path": path, "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def changed(receipt: Receipt, **changes: Any) -> Path:
    assert receipt.path is not None
    table = json.loads(receipt.path.read_text())
    receipt.path.write_text(json.dumps({**table, **changes}))
    return receipt.path


def with_file(receipt: Receipt, number: int, path: str) -> list[dict[str, Any]]:
    assert receipt.path is not None
    files = json.loads(receipt.path.read_text())["files"]
    files[number] = file_entry(receipt.cache, path)
    return list(files)


def test_a_receipt_outside_of_any_cache() -> None:
    # No cache can be three folders above it.
    with pytest.raises(DeliveryError, match="not a receipt"):
        rollback(Path("/nowhere.json"))
    path = Path("/tmp") / f"tmt-dq-test-{os.getpid()}.json"
    entry = {"path": "x", "size": 1, "sha256": "0"}
    table = {"format": "tmt-dq receipt 1", "files": [entry] * 4, "warnings": []}
    path.write_text(json.dumps(table))
    try:
        with pytest.raises(DeliveryError, match="not a receipt"):
            rollback(path)
    finally:
        path.unlink()


@pytest.mark.parametrize("key", ["instrument", "mask", "context_before", "rolled_back"])
def test_a_receipt_with_numbers_for_text(delivered: Receipt, key: str) -> None:
    with pytest.raises(DeliveryError, match="not a receipt"):
        rollback(changed(delivered, **{key: 5}))


@pytest.mark.parametrize(
    ("number", "path", "names"),
    [
        (0, f"references/tmt/iris/{OLD}", {}),
        (0, f"references/tmt/iris/{OLD}", {"mask": OLD}),
        (1, "mappings/tmt/tmt_iris_mask_0001.rmap", {}),
        (2, "mappings/tmt/tmt_iris_0001.imap", {}),
        (1, "config/tmt/server_config", {}),
        (0, "config/tmt/server_config", {}),
        (3, "mappings/tmt/tmt_0001.pmap", {}),
    ],
)
def test_a_receipt_that_names_what_others_delivered(
    delivered: Receipt, number: int, path: str, names: dict[str, str]
) -> None:
    lie = changed(delivered, files=with_file(delivered, number, path), **names)
    before = folder_state(delivered.cache)
    with pytest.raises(DeliveryError):
        rollback(lie)
    assert folder_state(delivered.cache) == before


@pytest.mark.parametrize("context", ["latest", "tmt_0002.pmap"])
def test_a_receipt_with_another_context_before(delivered: Receipt, context: str) -> None:
    lie = changed(delivered, context_before=context)
    before = folder_state(delivered.cache)
    with pytest.raises(DeliveryError, match="context"):
        rollback(lie)
    assert folder_state(delivered.cache) == before
    assert answer(delivered.cache, NOON) == NEW


def test_a_rollback_that_cannot_be_ended_is_ended_by_the_next(
    delivered: Receipt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert delivered.mask_path is not None
    assert delivered.path is not None
    replace = os.replace

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if str(source) == str(delivered.mask_path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OutputError):
            rollback(delivered.path)
    # The decisive step was done, the rest is still to do.
    assert default_context(delivered.cache) == "tmt_0001.pmap"
    assert delivered.mask_path.exists()
    with pytest.raises(DeliveryError, match="taken back already"):
        rollback(delivered.path)
    assert not delivered.mask_path.exists()
    assert not list((delivered.cache / ".tmt-dq").iterdir())
    again = deliver_mask(folder / "mask.fits", cache=delivered.cache)
    assert again.mask == "tmt_iris_mask_0003.fits"
