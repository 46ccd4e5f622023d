"""What a delivery puts into a cache, what it refuses, and how it is taken back."""

import datetime as dt
import errno
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import arrays, failing, folder_state, invoke, unit_bytes
from delivery_helpers import (
    NEW,
    OLD,
    answer,
    default_context,
    deliverable,
    full_frame,
    header_of,
    mask,
    root,
    sha256,
    small_cache,
)
from reference_helpers import published_cache
from tmt_dq import deliver_mask, rollback
from tmt_dq.delivery.caches import exclusive
from tmt_dq.delivery.new_rules import derive
from tmt_dq.delivery.receipts import Changes, read_receipt
from tmt_dq.errors import (
    CertificationError,
    ConfigError,
    DeliveryError,
    MaskFormatError,
    OutputError,
    SelectionError,
)
from tmt_dq.references import embedded

__all__ = ["mask", "root"]
pytestmark = pytest.mark.usefixtures("no_crds")


def files(root: Path) -> set[str]:
    """Return the files of a cache, but that of its lock."""
    found = {name for name, content in folder_state(root).items() if content != "folder"}
    return found - {".tmt-dq.lock"}


def test_the_mask_is_selected_from_its_useafter_on(root: Path, mask: Path) -> None:
    assert answer(root, "2026-05-01T00:00:00") == OLD
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert receipt.mask == NEW
    assert default_context(root) == receipt.context == "tmt_0002.pmap"
    assert answer(root, "2026-04-30T23:59:59.999") == OLD
    assert answer(root, "2026-05-01T00:00:00") == NEW
    assert answer(root, "2031-01-01T00:00:00") == NEW
    # Who asks the old context gets the old answer.
    assert answer(root, "2026-05-01T00:00:00", context="tmt_0001.pmap") == OLD


def test_the_files_that_are_there_stay_as_they_are(root: Path, mask: Path) -> None:
    before = folder_state(root)
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert receipt.path is not None
    table = json.loads(receipt.path.read_text())
    expected = (NEW, str(mask), sha256(mask), "tmt_0001.pmap")
    keys = ("mask", "source", "source_sha256", "context_before")
    assert tuple(table[key] for key in keys) == expected
    for file in table["files"]:
        path = root / file["path"]
        assert (file["size"], file["sha256"]) == (path.stat().st_size, sha256(path))
    after = folder_state(root)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed <= {"config/tmt/server_config"}
    new = files(root) - before.keys()
    own = "deliveries/tmt/tmt_0002.json"
    assert new == {
        "mappings/tmt/tmt_0002.pmap",
        "mappings/tmt/tmt_iris_0002.imap",
        "mappings/tmt/tmt_iris_mask_0002.rmap",
        f"references/tmt/iris/{NEW}",
        "references/tmt/SHA256SUMS",
        own,
    }
    assert {file.path for file in receipt.files} | {own} == new | changed


def test_rules_have_right_names_origins_and_sums(root: Path, mask: Path) -> None:
    deliver_mask(mask, cache=root, yes=True)
    rules = root / "mappings/tmt"
    for new, old in (
        ("tmt_0002.pmap", "tmt_0001.pmap"),
        ("tmt_iris_0002.imap", "tmt_iris_0001.imap"),
        ("tmt_iris_mask_0002.rmap", "tmt_iris_mask_0001.rmap"),
    ):
        header = header_of(rules / new)
        assert header["name"] == new
        assert header["derived_from"] == old
        lines = (rules / new).read_text().splitlines(keepends=True)
        kept = "".join(line for line in lines if "sha1sum" not in line)
        assert header["sha1sum"] == hashlib.sha1(kept.encode()).hexdigest()
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum here")
    outcome = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=root / "references/tmt",
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout.splitlines() == [f"iris/{NEW}: OK"]


def test_useafter_can_be_given(root: Path, folder: Path) -> None:
    mask = deliverable(folder / "mask.fits", useafter=None)
    receipt = deliver_mask(mask, cache=root, useafter="2026-06-01", yes=True)
    assert receipt.useafter == "2026-06-01T00:00:00"
    assert fits.getval(receipt.mask_path, "USEAFTER") == "2026-06-01T00:00:00"
    assert answer(root, "2026-05-31T23:59:59") == OLD
    assert answer(root, "2026-06-01T00:00:00") == NEW
    later = deliver_mask(
        mask, cache=root, useafter=dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC), force=True, yes=True
    )
    assert later.useafter == "2026-07-01T12:00:00"


def test_older_and_equal_dates(root: Path, mask: Path) -> None:
    """A mask may be delivered for the past; one of the same date takes the place of the other."""
    deliver_mask(mask, cache=root, yes=True)
    past = deliver_mask(mask, cache=root, useafter="2020-01-01", yes=True)
    assert (past.mask, past.replaces) == ("tmt_iris_mask_0003.fits", None)
    again = deliver_mask(mask, cache=root, force=True, yes=True)
    assert again.replaces == NEW
    assert answer(root, "2026-05-01T00:00:00") == again.mask == "tmt_iris_mask_0004.fits"
    assert answer(root, "2026-04-30T00:00:00") == past.mask


def test_alias_of_the_detector(root: Path, folder: Path) -> None:
    mask = deliverable(folder / "mask.fits", header={"DETECTOR": "IMG1"})
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert fits.getval(receipt.mask_path, "DETECTOR") == "IRIS1"
    assert answer(root, "2026-05-01T00:00:00", DETECTOR="IMG1") == NEW


def test_exposures_that_keep_another_mask(folder: Path) -> None:
    """A rule for FULL comes before a newer one for GENERIC; without a rule there is no mask."""
    rules = {
        ("IRIS1", "FULL"): {"2015-10-01 00:00:00": OLD},
        ("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": OLD},
    }
    root = small_cache(folder / "cache", rules=rules)
    receipt = deliver_mask(deliverable(folder / "mask.fits"), cache=root, yes=True)
    expected = f"SUBARRAY FULL or GENERIC get {OLD}, not the new mask"
    assert any(expected in text for text in receipt.warnings)
    assert answer(root, "2026-06-01T00:00:00", SUBARRAY="FULL") == OLD
    saved = json.loads((root / "deliveries/tmt/tmt_0002.json").read_text())
    assert tuple(saved["warnings"]) == receipt.warnings


def test_dry_run(root: Path, mask: Path) -> None:
    before = folder_state(root)
    receipt = deliver_mask(mask, cache=root, dry_run=True, yes=True)
    assert folder_state(root) == before
    assert receipt.dry_run
    assert receipt.mask_path is None
    assert (receipt.mask, receipt.context) == (NEW, "tmt_0002.pmap")
    assert f"+        '2026-05-01 00:00:00' : '{NEW}',\n" in receipt.difference
    assert "+    'MASK' : 'tmt_iris_mask_0002.rmap',\n" in receipt.difference
    assert "--- tmt_0001.pmap\n+++ tmt_0002.pmap\n" in receipt.difference
    with pytest.raises(DeliveryError, match="not delivered"):
        rollback(receipt)


def test_a_new_cache_starts_as_a_copy_of_the_embedded_one(folder: Path, mask: Path) -> None:
    root = folder / "new"
    root.mkdir()
    with pytest.raises(ConfigError, match="no cache here") as caught:
        deliver_mask(mask, cache=root)
    assert "--create" in str(caught.value)
    dry = deliver_mask(mask, cache=root, create=True, dry_run=True, yes=True)
    assert dry.context == "tmt_0101.pmap"
    assert list(root.iterdir()) == []
    receipt = deliver_mask(mask, cache=root, create=True, yes=True)
    assert (receipt.mask, receipt.context) == ("tmt_iris_mask_0106.fits", "tmt_0101.pmap")
    assert answer(root, "2026-05-01T00:00:00") == "tmt_iris_mask_0106.fits"
    assert answer(root, "2026-05-01T00:00:00", SUBARRAY="FULL") == "tmt_iris_mask_0101.fits"
    assert answer(root, "2026-05-01T00:00:00", DETECTOR="IFU") == "tmt_iris_mask_0105.fits"
    lines = (root / "references/tmt/SHA256SUMS").read_text().splitlines()
    assert len(lines) == 6
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
    # What is changed in it does not reach the embedded one.
    assert not embedded.provides("tmt_iris_mask_0106.fits")
    assert answer(embedded.cache_path(), "2026-05-01T00:00:00") == "tmt_iris_mask_0101.fits"
    rollback(receipt)
    assert default_context(root) == "tmt_0100.pmap"


def test_tmts_published_rules(folder: Path, mask: Path) -> None:
    """Their headers have wrong names and sums that are to be ignored; the new ones are right."""
    root = published_cache(folder / "cache")
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert (receipt.mask, receipt.context) == (NEW, "tmt_0002.pmap")
    names = {Path(file.path).name for file in receipt.files}
    assert {"tmt_iris_0004.imap", "tmt_iris_mask_0002.rmap"} <= names
    assert header_of(root / "mappings/tmt/tmt_iris_0004.imap")["derived_from"] == (
        "tmt_iris_0003.imap"
    )
    assert "ignore_checksum" not in header_of(root / "mappings/tmt/tmt_0002.pmap")
    imap = (root / "mappings/tmt/tmt_iris_0004.imap").read_text()
    assert "'FLAT' : 'tmt_iris_flat_0003.rmap'" in imap


class TestRefused:
    """Nothing is delivered, and the cache is as it was."""

    @pytest.fixture(autouse=True)
    def _unchanged(self, root: Path) -> Any:
        before = folder_state(root)
        yield
        after = folder_state(root)
        assert {name: after[name] for name in after if not name.startswith(".tmt-dq")} == before

    @pytest.mark.parametrize(
        ("dq", "header", "words"),
        [(None, {"AUTHOR": None, "DESCRIP": None}, "AUTHOR[^$]*DESCRIP"), (2048, {}, "plausible")],
    )
    def test_mask_that_does_not_pass(
        self, root: Path, folder: Path, dq: int | None, header: dict[str, Any], words: str
    ) -> None:
        flags = None if dq is None else np.full((6, 8), dq, np.uint32)
        mask = deliverable(folder / "mask.fits", flags, header=header)
        with pytest.raises(CertificationError, match=words) as caught:
            deliver_mask(mask, cache=root, yes=True)
        assert caught.value.where == str(mask)

    def test_no_mask_and_no_date(self, root: Path, folder: Path, mask: Path) -> None:
        (folder / "text.fits").write_text("no")
        for name in ("missing.fits", "text.fits"):
            with pytest.raises(MaskFormatError):
                deliver_mask(folder / name, cache=root, yes=True)
        for useafter in ("yesterday", "2026-05-01T00:00:00.5"):
            with pytest.raises(ConfigError, match="date"):
                deliver_mask(mask, cache=root, useafter=useafter, yes=True)

    def test_a_mask_that_changes_meanwhile(
        self, root: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is delivered is what was certified."""

        def late(chain: Any, *rest: Any) -> Any:
            deliverable(mask, full_frame())
            return derive(chain, *rest)

        monkeypatch.setattr("tmt_dq.delivery.plan.derive", late)
        with pytest.raises(DeliveryError, match="was changed while it was certified"):
            deliver_mask(mask, cache=root, yes=True)

    def test_another_delivery_is_under_way(self, root: Path, mask: Path) -> None:
        with exclusive(root, wait_s=0), pytest.raises(DeliveryError, match="under way") as caught:
            deliver_mask(mask, cache=root, wait_s=0.1, yes=True)
        assert caught.value.hint == "Try again when it has ended."

    def test_a_name_that_cannot_be_read(
        self, root: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever cannot see which names were used must not use any."""
        refuse = failing(
            errno.EACCES, Path.read_text, lambda path, *_, **__: path.suffix == ".rmap"
        )
        monkeypatch.setattr(Path, "read_text", refuse)
        with pytest.raises(DeliveryError, match=r"rmap: cannot be read: Permission denied"):
            deliver_mask(mask, cache=root, yes=True)

    def test_rules_that_answer_otherwise(
        self, root: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Should crds put the mask under another date, that is noticed before it counts."""

        def wrong(chain: Any, instrument: Any, header: Any, names: Any) -> Any:
            header = {**header, "USEAFTER": "2026-04-01T00:00:00"}
            return derive(chain, instrument, header, names)

        monkeypatch.setattr("tmt_dq.delivery.plan.derive", wrong)
        with pytest.raises(DeliveryError, match="the new rules would select"):
            deliver_mask(mask, cache=root, yes=True)


@pytest.mark.parametrize("name", [".fits", ".rmap", ".pmap"])
def test_disk_full(root: Path, mask: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever file: the old rules stay in force, and the next delivery works."""

    def is_named(_: object, target: object, **options: object) -> bool:
        return str(target).startswith(str(root)) and str(target).endswith(name)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", failing(errno.ENOSPC, os.link, is_named))
        with pytest.raises(OutputError, match="No space"):
            deliver_mask(mask, cache=root, yes=True)
    assert default_context(root) == "tmt_0001.pmap"
    assert answer(root, "2026-05-01T00:00:00") == OLD
    receipt = deliver_mask(mask, cache=root, yes=True)
    assert answer(root, "2026-05-01T00:00:00") == receipt.mask


def test_folders_that_are_not_writable_are_found_first(
    root: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder_state(root)
    access = os.access

    def refuse(path: Any, mode: int, **options: Any) -> bool:
        return Path(path) != root / "mappings/tmt" and access(path, mode, **options)

    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(OutputError, match="mappings/tmt is not writable"):
        deliver_mask(mask, cache=root, yes=True)
    files = {name: state for name, state in folder_state(root).items() if state != "folder"}
    assert files.keys() - before.keys() <= {".tmt-dq.lock"}


def test_refused_caches(folder: Path, mask: Path) -> None:
    with pytest.raises(ConfigError, match="not to be changed"):
        deliver_mask(mask, cache=embedded.cache_path(), yes=True)
    other = folder / "photos"
    other.mkdir()
    (other / "cat.jpg").write_text("meow")
    with pytest.raises(ConfigError, match="no rules"):
        deliver_mask(mask, cache=other, yes=True)
    with pytest.raises(ConfigError, match="no folder"):
        deliver_mask(mask, cache=folder / "a" / "b", create=True, yes=True)
    with pytest.raises(ConfigError, match="no folder"):
        deliver_mask(mask, cache=mask, yes=True)


def test_hostile_rules(root: Path, mask: Path) -> None:
    rmap = root / "mappings/tmt/tmt_iris_mask_0001.rmap"
    rmap.write_text(f"import os\n{rmap.read_text()}")
    before = folder_state(root)
    with pytest.raises(SelectionError, match="not a file of rules that can be trusted"):
        deliver_mask(mask, cache=root, yes=True)
    assert folder_state(root) == before


def test_a_new_cache_behind_a_link(folder: Path, mask: Path) -> None:
    (folder / "disk").mkdir()
    (folder / "cache").symlink_to("disk")
    deliver_mask(mask, cache=folder / "cache", create=True, yes=True)
    assert (folder / "cache").is_symlink()
    assert default_context(folder / "disk") == "tmt_0101.pmap"


class TestChanges:
    """The mask is compared with the one that is in force from its USEAFTER on."""

    def test_by_flag(self, root: Path, folder: Path) -> None:
        first = np.zeros((20, 20), np.uint32)
        first[:2, 0] = 2049
        second = first.copy()
        second[0, 0], second[5, 5] = 0, 1025
        one = deliverable(folder / "one.fits", first)
        two = deliverable(folder / "two.fits", second, useafter="2026-06-01T00:00:00")
        # The old mask covers 6 x 8 pixels of it; elsewhere no pixel had a flag.
        delivered = deliver_mask(one, cache=root)
        assert delivered.changes == Changes(OLD, 2, 2 / 400, {"DO_NOT_USE": (2, 0), "HOT": (2, 0)})
        receipt = deliver_mask(two, cache=root)
        expected = {"DO_NOT_USE": (1, 1), "DEAD": (1, 0), "HOT": (0, 1)}
        assert receipt.changes == Changes(delivered.mask, 2, 2 / 400, expected)
        assert receipt.path is not None
        assert read_receipt(receipt.path) == receipt

    def test_the_same_flags_twice(self, root: Path, mask: Path) -> None:
        deliver_mask(mask, cache=root, yes=True)
        before = folder_state(root)
        for options in ({}, {"dry_run": True}, {"useafter": "2027-01-01"}):
            with pytest.raises(DeliveryError, match=f"same flags as {NEW}") as caught:
                deliver_mask(mask, cache=root, **options)
            assert "deliveries/tmt/tmt_0002.json" in caught.value.what
        assert folder_state(root) == before
        assert deliver_mask(mask, cache=root, force=True).context == "tmt_0003.pmap"

    @pytest.mark.parametrize(("pixels", "refused"), [(4, False), (5, True)])
    def test_more_than_is_plausible(
        self, root: Path, folder: Path, pixels: int, refused: bool
    ) -> None:
        """iris.toml has: at most 1 % of the pixels."""
        dq = np.zeros((20, 20), np.uint32)
        dq[10, :pixels] = 2048
        mask = deliverable(folder / "mask.fits", dq)
        if refused:
            with pytest.raises(DeliveryError, match=r"5 pixels .*1\.2% .* up to 1\.0%") as caught:
                deliver_mask(mask, cache=root)
            assert "--yes" in str(caught.value)
            assert default_context(root) == "tmt_0001.pmap"
            shown = deliver_mask(mask, cache=root, dry_run=True)
            assert any("needs --yes" in warning for warning in shown.warnings)
        deliver_mask(mask, cache=root, yes=refused)
        assert default_context(root) == "tmt_0002.pmap"

    def test_no_mask_was_in_force(self, root: Path, folder: Path) -> None:
        mask = deliverable(folder / "mask.fits", header={"DETECTOR": "IRIS2"})
        receipt = deliver_mask(mask, cache=root)
        assert receipt.changes is not None
        assert (receipt.changes.mask, receipt.changes.pixels) == (None, 1)

    def test_the_mask_in_force_is_not_there(self, root: Path, mask: Path) -> None:
        (root / "references/tmt/iris" / OLD).unlink()
        receipt = deliver_mask(mask, cache=root)
        assert receipt.changes is None
        assert any("was not compared with" in warning for warning in receipt.warnings)


def test_command_line(root: Path, folder: Path, mask: Path) -> None:
    words = ("deliver", mask, "--crds-path", root)
    outcome = invoke(*words, "--dry-run", code=0)
    assert "+++ tmt_iris_mask_0002.rmap" in outcome.out
    assert f"would be delivered as {NEW}" in outcome.out
    assert "needs --yes" in outcome.err
    outcome = invoke(*words)
    assert (outcome.code, "use --yes" in outcome.err) == (8, True)
    outcome = invoke(*words, "--useafter", "2026-06-01", "--yes", "--json")
    assert (outcome.code, json.loads(outcome.out)["useafter"]) == (0, "2026-06-01T00:00:00")
    outcome = invoke(*words, "--yes", code=0)
    changes = f"(DO_NOT_USE +1 -0, HOT +1 -0) compared with {OLD}"
    assert f"it changes the flags of 1 pixel {changes}" in outcome.out
    path = outcome.out.splitlines()[-1].removeprefix("receipt ")
    outcome = invoke("rollback", path)
    assert (outcome.code, "was taken out" in outcome.out) == (0, True)
    assert invoke("rollback", path).code == 8


def test_data_and_flags(root: Path, folder: Path) -> None:
    """Tables and odd sizes come through byte for byte; an ASDF extension is left out."""
    dq = np.arange(15, dtype=np.uint8).reshape(3, 5) % 2
    asdf = fits.BinTableHDU.from_columns(
        [fits.Column("ASDF_METADATA", "3B", array=np.array([[1, 2, 3]], np.uint8))], name="ASDF"
    )
    extra = fits.ImageHDU(np.arange(7, dtype=np.int16), name="NOTES")
    mask = deliverable(folder / "mask.fits", dq, rows=[(0, 1, "HOT")], extra=[asdf, extra])
    original = mask.read_bytes()
    receipt = deliver_mask(mask, cache=root, max_flagged=1, yes=True)
    assert mask.read_bytes() == original
    copy = receipt.mask_path
    assert copy == root / "references/tmt/iris" / NEW
    with fits.open(copy) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DQ", "DQ_DEF", "NOTES"]
    for name in ("DQ", "DQ_DEF", "NOTES"):
        assert unit_bytes(copy, name) == unit_bytes(mask, name)
    with fits.open(mask) as before, fits.open(copy, checksum=True) as after:
        old, new = before[0].header, after[0].header
        different = {card.keyword for card in new.cards if old.get(card.keyword) != card.value}
    assert different <= {"FILENAME", "CHECKSUM", "DATASUM"}
    assert fits.getval(copy, "FILENAME") == NEW
    assert (arrays(copy)["DQ"] == dq).all()
    assert any(text.startswith("ASDF: ") and "leaves it out" in text for text in receipt.warnings)
