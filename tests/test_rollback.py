"""Deliveries taken back: the context before is in force again, and nothing else moves."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from builders import failing, folder_state, invoke
from delivery_helpers import (
    NEW,
    OLD,
    answer,
    default_context,
    deliverable,
    header_of,
    mask,
    root,
    sha256,
    small_cache,
)
from tmt_dq.delivery.deliver import deliver_mask
from tmt_dq.delivery.receipts import Receipt
from tmt_dq.delivery.rollback import rollback
from tmt_dq.errors import DeliveryError

__all__ = ["mask", "root"]
pytestmark = pytest.mark.usefixtures("no_crds")
NOON = "2026-06-01T12:00:00"


def test_the_context_before_is_in_force_and_files_stay(root: Path, mask: Path) -> None:
    receipt = deliver_mask(mask, cache=root, yes=True)
    before = folder_state(root)
    taken_back = rollback(receipt)
    assert taken_back.rolled_back is not None
    # An exposure that chose the new context a moment ago still finds its mask and the rules.
    assert receipt.mask_path is not None
    assert sha256(receipt.mask_path) in (root / "references/tmt/SHA256SUMS").read_text()
    if (root / "config").exists():
        assert answer(root, NOON, context=receipt.context) == NEW
    assert default_context(root) == "tmt_0001.pmap"
    assert answer(root, "2026-05-01T00:00:00") == OLD
    after = folder_state(root)
    own = {"deliveries/tmt/tmt_0002.json"}
    if (root / "config").exists():
        assert after.keys() == before.keys()
        own |= {"config/tmt/server_config"}
    else:
        assert before.keys() - after.keys() == {"mappings/tmt/tmt_0002.pmap"}
        assert (root / "deliveries/tmt/withdrawn/tmt_0002.pmap").is_file()
    assert {name for name in before.keys() & after.keys() if after[name] != before[name]} == own


def test_names_are_not_used_again(root: Path, mask: Path) -> None:
    rollback(deliver_mask(mask, cache=root, yes=True))
    again = deliver_mask(mask, cache=root, yes=True)
    assert (again.mask, again.context) == ("tmt_iris_mask_0003.fits", "tmt_0003.pmap")
    assert again.context_before == "tmt_0001.pmap"
    assert header_of(root / "mappings/tmt/tmt_0003.pmap")["derived_from"] == "tmt_0001.pmap"


def test_only_the_last_and_only_once(root: Path, mask: Path) -> None:
    first = deliver_mask(mask, cache=root, yes=True)
    second = deliver_mask(mask, cache=root, useafter="2026-06-01", force=True, yes=True)
    with pytest.raises(DeliveryError, match=r"context is tmt_0003\.pmap, not tmt_0002\.pmap"):
        rollback(first)
    rollback(second)
    with pytest.raises(DeliveryError, match="already"):
        rollback(second)
    rollback(first)
    assert default_context(root) == "tmt_0001.pmap"


def test_a_cache_that_moved_with_a_damaged_mask(root: Path, mask: Path) -> None:
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert receipt.mask_path is not None
    receipt.mask_path.write_bytes(b"SIMPLE  = something else")
    moved = root.rename(root.with_name("moved"))
    rollback(moved / "deliveries/tmt/tmt_0002.json")
    assert default_context(moved) == "tmt_0001.pmap"
    assert answer(moved, NOON) == OLD


def test_what_is_no_receipt(root: Path, folder: Path, mask: Path) -> None:
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert receipt.path is not None
    for text in ("", "[]", "{}", '{"format": "tmt-dq receipt 1"}'):
        (folder / "no.json").write_text(text)
        with pytest.raises(DeliveryError, match="not a receipt"):
            rollback(folder / "no.json")
    # No cache can be three folders above the last one.
    for path in (folder / "missing.json", Path("/nowhere.json")):
        with pytest.raises(DeliveryError, match="not a receipt"):
            rollback(path)
    shutil.copyfile(receipt.path, folder / "copy.json")
    with pytest.raises(DeliveryError, match="copy of a receipt"):
        rollback(folder / "copy.json")


@pytest.fixture
def delivered(folder: Path) -> Receipt:
    root = small_cache(folder / "cache", config=True)
    return deliver_mask(deliverable(folder / "mask.fits"), cache=root, yes=True)


def changed(receipt: Receipt, **changes: Any) -> Path:
    assert receipt.path is not None
    table = json.loads(receipt.path.read_text())
    receipt.path.write_text(json.dumps({**table, **changes}))
    return receipt.path


@pytest.mark.parametrize("key", ["instrument", "mask", "context_before"])
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
    ("key", "value"), [("size", float("inf")), ("path", "a\0b"), ("path", "\ud800"), ("sha256", 5)]
)
def test_a_receipt_with_a_damaged_file_entry(delivered: Receipt, key: str, value: Any) -> None:
    assert delivered.path is not None
    files = json.loads(delivered.path.read_text())["files"]
    files[0][key] = value
    outcome = invoke("rollback", changed(delivered, files=files), code=8)
    assert "not a receipt" in outcome.err
    assert default_context(delivered.cache) == delivered.context


def test_a_rollback_whose_note_cannot_be_written(
    delivered: Receipt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt's note is for people: what counts is the context."""

    def is_receipt(_: object, target: object, **options: object) -> bool:
        return str(target) == str(delivered.path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(errno.EACCES, os.replace, is_receipt))
        assert rollback(delivered).rolled_back is not None
    assert default_context(delivered.cache) == "tmt_0001.pmap"
    with pytest.raises(DeliveryError, match="not in force"):
        rollback(delivered)
    again = deliver_mask(folder / "mask.fits", cache=delivered.cache, yes=True)
    assert again.mask == "tmt_iris_mask_0003.fits"
