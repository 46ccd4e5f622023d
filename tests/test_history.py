"""History as data: a series of dated maps, delivered one by one; exposures select theirs."""

import datetime as dt
import itertools
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

from builders import make_ramp
from delivery_helpers import answer, deliverable, no_crds, small_cache
from tmt_dq import apply_dq, deliver_mask
from tmt_dq.masks.mask import read_mask

__all__ = ["no_crds"]

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


def frame(path: Path) -> npt.NDArray[np.uint32]:
    """Put a 2048 x 2048 map of bad pixels into the frame of a 4096 x 4096 detector."""
    dq = np.zeros((4096, 4096), np.uint32)
    with fits.open(path) as hdus:
        bad = next(hdu.data for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2)
        dq[1024:3072, 1024:3072] = (bad != 0).astype(np.uint32) * 1025
    return dq


def test_dated_maps_of_another_telescope(folder: Path, shared: Path) -> None:
    """grizli's maps of NIRCam's detector A5, of 6 December 2023 and 12 January 2024."""
    maps = {
        "2023-12-06": shared / "masks/nrc_badpix_231206_NRCALONG.fits.gz",
        "2024-01-12": shared / "masks/nrc_badpix_240112_NRCALONG.fits.gz",
    }
    root = folder / "cache"
    receipts = {}
    for date, source in maps.items():
        flags = frame(source)
        mask = deliverable(
            folder / "mask.fits",
            flags,
            start=(1, 1),
            useafter=at(date),
            header={"SUBARRAY": "GENERIC"},
            checksum=False,
        )
        receipts[date] = deliver_mask(mask, cache=root, border=False, create=True, yes=True)
        assert receipts[date].mask_path is not None
        assert (read_mask(receipts[date].mask_path).dq == flags).all()
    names = [receipt.mask for receipt in receipts.values()]
    for subarray in ("FULL", "CUSTOM"):
        for date, expected in (
            ("2016-01-01", "tmt_iris_mask_0101.fits"),
            ("2023-12-05T23:59:59", "tmt_iris_mask_0101.fits"),
            ("2023-12-06T00:00:00", names[0]),
            ("2024-01-11T23:59:59", names[0]),
            ("2024-01-12T00:00:00", names[1]),
            ("2031-07-01T12:00:00", names[1]),
        ):
            assert answer(root, at(date), SUBARRAY=subarray) == expected
            assert answer(root, at(date), SUBARRAY=subarray, DETECTOR="IRIS3") == (
                "tmt_iris_mask_0103.fits"
            )
    first = receipts["2023-12-06"]
    assert answer(root, "2031-01-01T00:00:00", context=first.context) == first.mask
