"""A cache with three contexts, exposures of it, and the comparison of two outputs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

from builders import CONVENTION, make_ramp
from delivery_helpers import deliverable, small_cache
from tmt_dq import deliver_mask

FIRST, OLD, NEW = "tmt_0001.pmap", "tmt_0002.pmap", "tmt_0003.pmap"
BAD = CONVENTION["HOT"] | CONVENTION["DO_NOT_USE"]
DEAD, WARM = CONVENTION["DEAD"], CONVENTION["WARM"]


def old_flags() -> npt.NDArray[np.uint32]:
    """Flags of the mask of `OLD`: a dead pixel, and one that is good again in `NEW`."""
    dq = np.zeros((6, 8), np.uint32)
    dq[0, 0], dq[2, 3] = DEAD, BAD
    return dq


def new_flags() -> npt.NDArray[np.uint32]:
    """Flags of the mask of `NEW`: the same dead pixel, and a new bad one."""
    dq = np.zeros((6, 8), np.uint32)
    dq[0, 0], dq[5, 7] = DEAD, BAD
    return dq


def make_contexts(root: Path, flags: Any = None) -> Path:
    """Make a cache with the contexts; masks cover 8 x 6 pixels from (101, 201), from May 2026."""
    small_cache(root)
    for number, dq in enumerate(flags or (old_flags(), new_flags())):
        useafter = f"2026-05-0{number + 1}T00:00:00"
        mask = deliverable(root.parent / "mask.fits", dq, useafter=useafter)
        deliver_mask(mask, cache=root, max_flagged=1)
        mask.unlink()
    return root


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache, made once: two deliveries take half a second."""
    with pytest.MonkeyPatch.context() as patch:
        # CRDS' own certify takes two seconds; other tests run it.
        target = "tmt_dq.references.crds_certify.certify_reference"
        patch.setattr(target, lambda *_args, **_options: ())
        return make_contexts(tmp_path_factory.mktemp("contexts") / "cache")


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """Return a cache of the test's own."""
    return Path(shutil.copytree(template, tmp_path / "cache"))


def exposure(path: Path, shape: tuple[int, ...] = (1, 3, 6, 8), **options: Any) -> Path:
    """Write a raw ramp that both masks apply to."""
    cards = {"DATE-OBS": "2026-06-01", "SUBARRAY": "CUSTOM", **options.pop("header", {})}
    return make_ramp(path, shape, start=(101, 201), header=cards, **options)


def assert_same(left: Path, right: Path, *, replaced: int = 1) -> None:
    """Compare all units of two files, data bit by bit, without what names and dates a file.

    `replaced` is how many outcomes the HISTORY of `left` says that were taken back.
    """
    own = {"DATE", "FILENAME", "CHECKSUM", "DATASUM", ""}
    with fits.open(left, checksum=True) as first, fits.open(right, checksum=True) as second:
        assert [hdu.name for hdu in first] == [hdu.name for hdu in second]
        for one, other in zip(first, second, strict=True):
            if one.name == "ASDF":
                continue  # it holds the file's name; it has a test of its own
            assert data_of(left, one) == data_of(right, other)
            assert one.header.get("DATASUM") == other.header.get("DATASUM")
            cards = [
                [c.image for c in h.header.cards if c.keyword not in {*own, "HISTORY"}]
                for h in (one, other)
            ]
            assert cards[0] == cards[1]
            said = entries(one)
            kept = [entry for entry in said if not entry.startswith("in place of COMPLETE")]
            assert kept == entries(other)
            assert len(said) - len(kept) == (replaced if one.name == "PRIMARY" else 0)


def entries(hdu: Any) -> list[str]:
    """Return HISTORY, put together from its cards."""
    text = "".join(card.ljust(72) for card in hdu.header.get("HISTORY", []))
    return [" ".join(part.split()) for part in text.split("tmt-dq 0.1.0 dq_init: ")]


def data_of(path: Path, hdu: Any) -> bytes:
    info = hdu.fileinfo()
    with path.open("rb") as file:
        file.seek(info["datLoc"])
        return file.read(info["datSpan"])
