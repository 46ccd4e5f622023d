"""Deliveries with dates at the ends of the calendar, and into caches that are not complete."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import invoke
from delivery_helpers import NEW, OLD, answer, deliverable, exposure, full_frame, small_cache
from tmt_dq.delivery.deliver import deliver_mask
from tmt_dq.errors import SelectionError
from tmt_dq.references import select_reference

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


def test_a_mask_for_n_a_where_rules_say_generic(folder: Path) -> None:
    """GENERIC and N/A both match everything: which of the two comes first is chance."""
    root = small_cache(folder / "cache", rules={("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": OLD}})
    mask = deliverable(folder / "mask.fits", full_frame(), start=(1, 1), header={"SUBARRAY": "N/A"})
    outcome = invoke("deliver", mask, "--crds-path", root, "--dry-run", code=8)
    assert f"select {OLD} for" in outcome.err
    assert "need SUBARRAY = GENERIC in the mask" in outcome.err


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
