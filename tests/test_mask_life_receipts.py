"""Receipts that are damaged or lie: nothing is taken back by mistake, nothing is half done."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from builders import folder_state, invoke
from delivery_helpers import NEW, answer, default_context, deliverable, no_crds, small_cache
from tmt_dq.delivery.deliver import deliver_mask
from tmt_dq.delivery.receipts import Receipt
from tmt_dq.delivery.rollback import rollback
from tmt_dq.errors import DeliveryError

__all__ = ["no_crds"]

pytestmark = pytest.mark.usefixtures("no_crds")
NOON = "2026-06-01T12:00:00"


@pytest.fixture
def delivered(folder: Path) -> Receipt:
    root = small_cache(folder / "cache", config=True)
    return deliver_mask(deliverable(folder / "mask.fits"), cache=root, yes=True)


def changed(receipt: Receipt, **changes: Any) -> Path:
    assert receipt.path is not None
    table = json.loads(receipt.path.read_text())
    receipt.path.write_text(json.dumps({**table, **changes}))
    return receipt.path


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


@pytest.mark.parametrize("context", ["latest", "tmt_0002.pmap"])
def test_a_receipt_with_another_context_before(delivered: Receipt, context: str) -> None:
    lie = changed(delivered, context_before=context)
    before = folder_state(delivered.cache)
    with pytest.raises(DeliveryError, match="context"):
        rollback(lie)
    assert folder_state(delivered.cache) == before
    assert answer(delivered.cache, NOON) == NEW


@pytest.mark.parametrize(
    ("key", "value"),
    [("size", float("inf")), ("size", 1.5), ("path", "a\0b"), ("path", "\ud800"), ("sha256", 5)],
)
def test_a_receipt_with_a_damaged_file_entry(delivered: Receipt, key: str, value: Any) -> None:
    assert delivered.path is not None
    files = json.loads(delivered.path.read_text())["files"]
    files[0][key] = value
    outcome = invoke("rollback", changed(delivered, files=files))
    assert outcome.code == 8
    assert "not a receipt" in outcome.err
    assert default_context(delivered.cache) == delivered.context


def test_a_rollback_whose_note_cannot_be_written(
    delivered: Receipt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt's note is for people: what counts is the context."""
    replace = os.replace

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if str(target) == str(delivered.path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        assert rollback(delivered).rolled_back is not None
    assert default_context(delivered.cache) == "tmt_0001.pmap"
    with pytest.raises(DeliveryError, match="not in force"):
        rollback(delivered)
    again = deliver_mask(folder / "mask.fits", cache=delivered.cache, yes=True)
    assert again.mask == "tmt_iris_mask_0003.fits"
