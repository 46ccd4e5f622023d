"""A cache with three contexts, and exposures that they are for."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

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
        deliver_mask(mask, cache=root, max_flagged=1, force=True, yes=True)
        mask.unlink()
    return root


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache, made once: two deliveries take half a second."""
    with pytest.MonkeyPatch.context() as patch:
        # CRDS' own certify takes two seconds; other tests run it.
        target = "tmt_dq.references.crds_tools.certify_reference"
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
