"""What an ordinary run imports: each library costs more time than the work on a small ramp."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, GOLDEN_DQ_DEF, make_mask, make_ramp, run_python

SLOW = {"asdf", "astropy", "crds", "dask", "fsspec", "requests", "rich", "stdatamodels", "stpipe"}


def imported(code: str, *words: object) -> set[str]:
    """Return what of the slow libraries a program imports in a process of its own."""
    tell = "\nimport sys\nprint('imported', *{name.split('.')[0] for name in sys.modules})"
    result = run_python("-c", code + tell, *words, code=0)
    return SLOW & set(result.stdout.splitlines()[-1].split()[1:])


@pytest.fixture
def ramp(folder: Path) -> Path:
    """Return a ramp whose headers have cards of all ordinary forms, and flags of its own."""
    cards: dict[str, object] = {
        "LONG": "a text that goes on " * 9,
        "QUOTED": "it's",
        "EXPTIME": (1.5e-7, "a comment"),
        "BIG": 2**40,
        "COMPLETE": True,
        "NOTHING": None,
        "HISTORY": "made for tests",
        "COMMENT": "a comment",
        "": "a card without a keyword",
    }
    path = make_ramp(folder / "ramp.fits", pixeldq=np.ones((6, 8), np.uint32), checksum=True)
    with fits.open(path, mode="update") as hdus:
        for keyword, value in cards.items():
            hdus[0].header[keyword] = value
            hdus[1].header[keyword] = value
    return path


@pytest.fixture
def mask(folder: Path) -> Path:
    flags = np.ones((6, 8), np.uint32)
    return make_mask(folder / "mask.fits", flags, rows=GOLDEN_DQ_DEF)


def test_the_module_imports_none_of_them() -> None:
    assert imported("import tmt_dq.apply.apply") == set()


@pytest.mark.parametrize("by", ["mask", "rules"])
def test_the_command_line_imports_none_of_them(
    folder: Path, ramp: Path, mask: Path, by: str
) -> None:
    """But for crds, with all that it imports, where the rules choose the mask."""
    code = "import sys\nfrom tmt_dq.cli import run\nassert run(sys.argv[1:]) == 0"
    named = ["--mask", mask] if by == "mask" else []
    found = imported(code, "apply", ramp, "-o", folder / "out.fits", *named)
    assert found & {"dask", "rich", "stdatamodels", "stpipe"} == set()
    assert by == "rules" or found == set()
    assert (fits.getdata(folder / "out.fits", "PIXELDQ") & CONVENTION["DO_NOT_USE"]).all()


def test_the_step_needs_no_data_model_for_a_path(folder: Path, ramp: Path, mask: Path) -> None:
    code = (
        "import sys\nfrom tmt_dq.step import DQInitStep\n"
        "DQInitStep.call(sys.argv[1], override_mask=sys.argv[2]).save(sys.argv[3])"
    )
    found = imported(code, ramp, mask, folder / "out.fits")
    assert found & {"stdatamodels", "fsspec", "dask"} == set()
    assert (fits.getdata(folder / "out.fits", "PIXELDQ") & CONVENTION["DO_NOT_USE"]).all()
