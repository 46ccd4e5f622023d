"""History as data: a series of dated maps, delivered one by one; exposures select theirs."""

import datetime as dt
import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from builders import make_ramp
from delivery_helpers import answer, deliverable, small_cache
from tmt_dq import apply_dq, deliver_mask

pytestmark = pytest.mark.usefixtures("no_crds")

DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)


def at(date: str, shift: dt.timedelta = dt.timedelta(0)) -> str:
    return (dt.datetime.fromisoformat(date) + shift).isoformat(timespec="seconds")


@pytest.mark.parametrize("order", ["as it happened", "backwards", "shuffled"])
def test_a_series_in_any_order(folder: Path, order: str) -> None:
    """Whatever the order of delivery, an exposure gets the latest map that began before it."""
    root = small_cache(folder / "cache")
    dates = [f"2026-0{month}-{day:02d}" for month, day in itertools.product((3, 4, 5), (1, 15))]
    order_of_delivery = list(enumerate(dates))
    if order == "backwards":
        order_of_delivery.reverse()
    elif order == "shuffled":
        random.Random(7).shuffle(order_of_delivery)
    delivered = {}
    for number, date in order_of_delivery:
        dq = np.zeros((6, 8), np.uint32)
        dq.flat[: number + 1] = 1024
        path = deliverable(folder / f"{number}.fits", dq, useafter=at(date))
        delivered[number] = deliver_mask(path, cache=root, max_flagged=1, yes=True).mask
    assert len(set(delivered.values())) == len(dates)
    for number, date in enumerate(dates):
        before = delivered.get(number - 1, "tmt_iris_mask_0001.fits")
        assert answer(root, at(date, -SECOND)) == before
        assert answer(root, at(date)) == delivered[number]
        assert answer(root, at(date, DAY)) == delivered[number]
        ramp = make_ramp(
            folder / f"ramp{number}.fits",
            (1, 2, 6, 8),
            start=(101, 201),
            header={"DATE-OBS": at(date, DAY), "TIME-OBS": None, "SUBARRAY": "CUSTOM"},
        )
        applied = apply_dq(ramp, folder / f"done{number}.fits", crds_path=root)
        # As many DEAD pixels as the map of that time has.
        assert applied.counts["DEAD"] == number + 1
