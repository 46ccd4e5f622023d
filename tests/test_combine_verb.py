"""Masks made from masks: merged, with flags added and taken away."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, folder_state, invoke
from builders import make_mask as build_mask
from tmt_dq import Reading, combine_masks
from tmt_dq.errors import (
    ConfigError,
    GeometryError,
    MaskFormatError,
    OutputError,
    TmtDqError,
    UnknownFlagError,
)
from tmt_dq.masks.mask import read_mask

HOT, DEAD, WARM, DNU = (CONVENTION[name] for name in ("HOT", "DEAD", "WARM", "DO_NOT_USE"))


def mask_of(path: Path, values: list[int], **options: Any) -> Path:
    """Write a mask of one row at the detector's origin."""
    return build_mask(path, np.array([values], np.uint32), **options)


def pixels(path: Path, count: int) -> list[int]:
    """Return the first flags of the first row, after looking that all others are good."""
    dq = read_mask(path).dq
    assert dq.shape == (4096, 4096)
    assert np.count_nonzero(dq) == np.count_nonzero(dq[0, :count])
    return [int(value) for value in dq[0, :count]]


@pytest.fixture
def three(folder: Path) -> list[Path]:
    return [
        mask_of(folder / "a.fits", [HOT, HOT, HOT | DEAD, 0]),
        mask_of(folder / "b.fits", [HOT, HOT | WARM, DEAD, WARM]),
        mask_of(folder / "c.fits", [HOT, 0, 0, DEAD]),
    ]


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"rule": "any"}, [HOT, HOT | WARM, HOT | DEAD, WARM | DEAD]),
        ({"rule": "all"}, [HOT, 0, 0, 0]),
        ({"rule": 2}, [HOT, HOT, DEAD, 0]),
        ({"rule": "all", "per_flag": {"DEAD": "any"}}, [HOT, 0, DEAD, DEAD]),
        ({"rule": "any", "per_flag": {"HOT": 3, "WARM": 2}}, [HOT, 0, DEAD, DEAD]),
    ],
    ids=str,
)
def test_masks_are_merged_flag_by_flag(
    three: list[Path], folder: Path, options: dict[str, Any], want: list[int]
) -> None:
    before = folder_state(folder)
    combine_masks(three, folder / "new.fits", do_not_use="keep", **options)
    assert pixels(folder / "new.fits", 4) == want
    after = folder_state(folder)
    del after["new.fits"]
    assert after == before


def test_the_policy_holds_for_the_result(three: list[Path], folder: Path) -> None:
    made = combine_masks(three, folder / "new.fits", do_not_use=["HOT"], author="me")
    want = [HOT | DNU, HOT | WARM | DNU, HOT | DEAD | DNU, WARM | DEAD]
    assert pixels(folder / "new.fits", 4) == want
    assert made.do_not_use_added == 3
    assert made.gained == {"DO_NOT_USE": 3}
    assert made.missing == ("USEAFTER", "PEDIGREE", "DESCRIP")
    header = fits.getheader(folder / "new.fits")
    assert (header["DNUFLAGS"], header["AUTHOR"]) == ("HOT", "me")
    assert "USEAFTER" not in header


def test_flags_of_lists_are_added_and_taken_away(folder: Path) -> None:
    old = mask_of(folder / "old.fits", [HOT | DNU, DEAD | HOT | DNU, 0, WARM])
    new_hot, healed = folder / "new.txt", folder / "healed.csv"
    new_hot.write_text("x y\n2:3 0\n")
    healed.write_text("x,y,flag\n1:2,1,HOT|DO_NOT_USE\n")
    made = combine_masks(
        old,
        folder / "new.fits",
        add=[(new_hot, Reading(flag="HOT", base=0))],
        remove=[(str(healed), Reading(base=1))],
        do_not_use=["HOT", "DEAD"],
    )
    # The first pixel is healed; the second is still dead, so it must not be used.
    want = [0, DEAD | DNU, HOT | DNU, WARM | HOT | DNU]
    assert pixels(folder / "new.fits", 4) == want
    assert [source.role for source in made.sources] == ["mask", "clear", "add"]
    assert made.sources[1].remarks == ("2 pixels had a flag to clear",)
    assert made.sources[2].remarks == ("2 pixels got a flag they did not have",)
    assert made.gained == {"DO_NOT_USE": 2, "HOT": 2}
    assert made.lost == {"DO_NOT_USE": 1, "HOT": 2}
    history = " ".join(fits.getheader(folder / "new.fits")["HISTORY"])
    for name in ("old.fits", "new.txt", "healed.csv"):
        assert name in history


def test_the_same_flag_cannot_be_added_and_taken_away(folder: Path) -> None:
    old = mask_of(folder / "old.fits", [HOT, 0])
    both = folder / "list.txt"
    both.write_text("x y flag\n1 0 HOT\n")
    with pytest.raises(MaskFormatError, match=r"in 1 pixels, the first is HOT at x = 2, y = 1"):
        combine_masks(
            old,
            folder / "new.fits",
            add=[(both, Reading(base=0))],
            remove=[(both, Reading(base=0))],
        )


def test_the_history_of_the_mask_goes_on(folder: Path) -> None:
    old = mask_of(folder / "old.fits", [HOT], header={"HISTORY": "flagged on Monday"})
    combine_masks(old, folder / "one.fits")
    combine_masks(folder / "one.fits", folder / "two.fits")
    history = " ".join(fits.getheader(folder / "two.fits")["HISTORY"])
    assert history.startswith("flagged on Monday")
    assert history.index("mask old.fits") < history.index("mask one.fits")


def test_flags_grow_on_request(folder: Path) -> None:
    old = mask_of(folder / "old.fits", [0, HOT, 0, WARM])
    for name, options in (("import", ["--detector", "IRIS1"]), ("combine", [])):
        output = folder / f"{name}.fits"
        done = invoke(name, old, "-o", output, *options, "--grow", "plus:HOT", "--json", code=0)
        dq = read_mask(output).dq
        assert dq[0, :4].tolist() == [HOT | DNU, HOT | DNU, HOT | DNU, WARM]
        assert np.count_nonzero(dq[1:]) == 1
        assert dq[1, 1] == HOT | DNU
        assert "HOT grown (plus): 3 pixels got a flag" in json.loads(done.out)["history"][-2]
    assert invoke("combine", old, "--dry-run", "--grow", "HOT").code == 2


def test_the_detector_is_asked_for_where_no_mask_says_it(folder: Path) -> None:
    old = mask_of(folder / "old.fits", [HOT], header={"DETECTOR": None})
    with pytest.raises(ConfigError, match="detector=…"):
        combine_masks(old, folder / "new.fits")
    assert combine_masks(old, folder / "new.fits", detector="IMG4").detector == "IRIS4"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"header": {"DETECTOR": "IRIS2"}}, MaskFormatError, "has DETECTOR IRIS2; the mask is"),
        ({"header": {"INSTRUME": "LIGER"}}, MaskFormatError, "has INSTRUME LIGER"),
        ({"header": {"FASTAXIS": 2}}, GeometryError, "FASTAXIS"),
        ({"start": (2, 1)}, GeometryError, "covers x 2"),
        ({"rows": [(0, 1, "HTO")]}, UnknownFlagError, "HTO"),
    ],
)
def test_masks_that_do_not_go_together(
    folder: Path, options: dict[str, Any], error: type[TmtDqError], message: str
) -> None:
    first = mask_of(folder / "a.fits", [HOT, 0], header={"FASTAXIS": 1})
    second = mask_of(folder / "b.fits", [1, 0], **options)
    with pytest.raises(error, match=message):
        combine_masks([first, second], folder / "new.fits")
    assert not (folder / "new.fits").exists()


def test_wrong_input(three: list[Path], folder: Path) -> None:
    output = folder / "new.fits"
    with pytest.raises(ConfigError, match="no masks"):
        combine_masks([], output)
    with pytest.raises(ConfigError, match="from 1 to 3"):
        combine_masks(three, output, rule=4)
    with pytest.raises(MaskFormatError, match="No such file"):
        combine_masks(folder / "absent.fits", output)
    listed = folder / "list.txt"
    listed.write_text("x y flag\n0 0 HOT\n")
    with pytest.raises(ConfigError, match="first pixel"):
        combine_masks(three, output, add=[listed])
    with pytest.raises(OutputError, match="same file"):
        combine_masks(three, three[1], overwrite=True)
    assert not output.exists()


def test_the_command_line(three: list[Path], folder: Path) -> None:
    new = folder / "list.csv"
    new.write_text("x,y\n3,0\n")
    done = invoke(
        *("combine", *three, "-o", folder / "new.fits", "--rule", "2", "--rule", "DEAD=any"),
        *("--add", new, "--flag", "RC", "--base", "0", "--do-not-use", "RC", "--json"),
        *("--clear", new, "--clear-flag", "DEAD"),
        code=0,
    )
    rc = CONVENTION["RC"]
    assert pixels(folder / "new.fits", 4) == [HOT, HOT, DEAD, rc | DNU]
    report = json.loads(done.out)
    assert report["gained"] == {"DO_NOT_USE": 1, "RC": 1}
    assert report["lost"] == {"DEAD": 1}
    shown = invoke("combine", *three, "--rule", "all", "--dry-run", code=0)
    assert "HOT" in shown.out


@pytest.mark.parametrize(
    "options",
    [
        ["--rule", "some"],
        ["--rule", "9"],
        ["--rule", "1", "--rule", "2"],
        ["--base", "0"],
        ["--clear-flag", "HOT"],
        [],
    ],
    ids=lambda options: " ".join(options) or "no output",
)
def test_wrong_options_of_the_command_line(
    three: list[Path], folder: Path, options: list[str]
) -> None:
    last = ["--dry-run"] if options else []
    done = invoke("combine", *three, *options, *last, code=2)
    assert "Traceback" not in done.err
