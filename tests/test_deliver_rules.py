"""Deliveries with dates at the ends of the calendar, and into caches that are not complete."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import invoke
from delivery_helpers import (
    NEW,
    OLD,
    answer,
    deliverable,
    exposure,
    full_frame,
    no_crds,
    small_cache,
)
from tmt_dq.delivery.deliver import deliver_mask
from tmt_dq.errors import SelectionError
from tmt_dq.references import select_reference

__all__ = ["no_crds"]

pytestmark = pytest.mark.usefixtures("no_crds")


@pytest.mark.parametrize("useafter", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_ends_of_the_calendar(folder: Path, useafter: str) -> None:
    root = small_cache(folder / "cache")
    mask = deliverable(folder / "mask.fits", useafter=useafter)
    assert deliver_mask(mask, cache=root, yes=True).mask == NEW
    assert answer(root, useafter) == NEW


@pytest.fixture
def impatient() -> Iterator[None]:
    """End the test's process if it waits for a pipe that nobody writes to."""
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "name",
    [
        "mappings/tmt/tmt_0001.pmap",
        "mappings/tmt/tmt_iris_mask_0001.rmap",
        "config/tmt/server_config",
        "references/tmt/SHA256SUMS",
    ],
)
def test_pipes_in_a_cache_do_not_hang(folder: Path, name: str) -> None:
    root = small_cache(folder / "cache", config=True)
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    with pytest.raises(SelectionError, match="not a regular file"):
        answer(root, "2020-01-01T00:00:00")


def test_a_mask_whose_time_a_later_rule_ends(folder: Path) -> None:
    """June's mask is there already: May's is told until when it is used."""
    root = small_cache(folder / "cache")
    june = deliverable(folder / "june.fits", useafter="2026-06-01T00:00:00")
    may = deliverable(folder / "may.fits", useafter="2026-05-01T00:00:00")
    first = deliver_mask(june, cache=root, yes=True)
    assert not any("CUSTOM" in warning for warning in first.warnings)
    second = deliver_mask(may, cache=root, yes=True)
    expected = (
        "from 2026-06-01T00:00:00 on, exposures of IRIS1 with SUBARRAY CUSTOM get "
        f"{first.mask}, not the new mask"
    )
    assert expected in second.warnings
    assert answer(root, "2026-05-31T23:59:59") == second.mask
    assert answer(root, "2026-06-01T00:00:00") == first.mask


def test_a_mask_that_hides_a_newer_one(folder: Path) -> None:
    """A rule for FULL comes before a newer one for all subarrays: that must not go unsaid."""
    root = small_cache(folder / "cache")
    for name, useafter, subarray in (
        ("june", "2026-06-01T00:00:00", "GENERIC"),
        ("full", "2026-05-15T00:00:00", "FULL"),
    ):
        deliverable(
            folder / f"{name}.fits",
            full_frame(),
            start=(1, 1),
            useafter=useafter,
            header={"SUBARRAY": subarray},
        )
    first = deliver_mask(folder / "june.fits", cache=root, yes=True)
    second = deliver_mask(folder / "full.fits", cache=root, yes=True)
    expected = (
        "from 2026-06-01T00:00:00 on, exposures of IRIS1 with SUBARRAY FULL no longer get "
        f"{first.mask}"
    )
    assert expected in second.warnings


def test_a_mask_for_n_a_where_rules_say_generic(folder: Path) -> None:
    """Certification warns of what a delivery will refuse, and both say what to write."""
    root = small_cache(folder / "cache", rules={("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": OLD}})
    mask = deliverable(folder / "mask.fits", full_frame(), start=(1, 1), header={"SUBARRAY": "N/A"})
    outcome = invoke("certify", mask, "--crds-path", root)
    assert outcome.code == 0, outcome.err
    assert "Write GENERIC" in outcome.out
    outcome = invoke("deliver", mask, "--cache", root, "--dry-run")
    # GENERIC and N/A both match everything: which of the two comes first is chance.
    assert outcome.code == 8
    assert f"select {OLD} for" in outcome.err
    assert "write SUBARRAY = GENERIC into the mask" in outcome.err


def test_references_that_are_links(folder: Path) -> None:
    """As in crds, links are followed, out of the cache too; the content must be that on record."""
    root = small_cache(folder / "cache")
    place = root / "references/tmt/iris" / OLD
    elsewhere = folder / "shared.fits"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert select_reference(exposure("2026-05-01T00:00:00"), crds_path=root).path == place
    digest = hashlib.sha256(elsewhere.read_bytes()).hexdigest()
    record = root / "references/tmt/SHA256SUMS"
    record.write_text(f"{digest}  iris/{OLD}\n")
    assert select_reference(exposure("2026-05-01T00:00:00"), crds_path=root).path == place
    elsewhere.write_bytes(elsewhere.read_bytes()[:-1] + b"x")
    with pytest.raises(SelectionError, match="sha256"):
        select_reference(exposure("2026-05-01T00:00:00"), crds_path=root)
    elsewhere.unlink()
    with pytest.raises(SelectionError, match="cannot be read: No such file"):
        select_reference(exposure("2026-05-01T00:00:00"), crds_path=root)
