"""History of a detector's masks: what each gained, lost and kept, and when a delivery is due."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import builders
import reference_helpers
from builders import invoke
from tmt_dq import mask_history
from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.report.colours import flag_colour

FLAG = builders.CONVENTION
NAMES = ["tmt_iris_mask_0003.fits", "tmt_iris_mask_0001.fits", "tmt_iris_mask_0002.fits"]
DATES = ["2021-05-01 00:00:00", "2022-05-01 00:00:00", "2023-05-01 00:00:00"]


def flags(*pixels: tuple[int, int, str]) -> npt.NDArray[np.uint32]:
    dq = np.zeros((6, 8), np.uint32)
    for y, x, names in pixels:
        for name in names.split("|"):
            dq[y, x] |= FLAG[name]
    return dq


BAD = "HOT|DO_NOT_USE"
MASKS = [
    flags((1, 1, BAD), (1, 2, "WARM")),
    flags((1, 1, BAD), (2, 2, BAD)),
    flags((2, 2, BAD), (1, 2, "WARM")),
]


@pytest.fixture
def cache(folder: Path) -> Path:
    rules = {("IRIS1", "GENERIC"): dict(zip(DATES, NAMES, strict=True))}
    root = reference_helpers.make_cache(
        folder / "cache", reference_helpers.rmap_text(rules), files=()
    )
    for name, dq in zip(NAMES, MASKS, strict=True):
        builders.make_mask(root / "references" / "tmt" / "iris" / name, dq)
    return root


def test_masks_are_compared_by_date(cache: Path) -> None:
    history = mask_history("IMG1", crds_path=cache)
    assert [mask.name for mask in history.masks] == NAMES
    assert [mask.flagged for mask in history.masks] == [2, 2, 2]
    assert [mask.changed for mask in history.masks] == [1, 1, 1]
    assert history.masks[1].do_not_use_fraction == pytest.approx(2 / 48)
    rows = {(row.mask, row.name): row for row in history.flags}
    hot = rows[NAMES[1], "HOT"]
    assert (hot.pixels, hot.gained, hot.lost, hot.kept) == (2, 1, 0, 1)
    warm = rows[NAMES[1], "WARM"]
    assert (warm.pixels, warm.gained, warm.lost, warm.kept) == (0, 0, 1, 0)
    assert not history.due


def test_masks_that_no_rule_names_are_listed_and_not_in_force(folder: Path, cache: Path) -> None:
    for name, useafter in (("late.fits", "2029-01-01T00:00:00"), ("undated.fits", "2029-13-01")):
        path = cache / "references" / "tmt" / "iris" / name
        builders.make_mask(path, MASKS[1], header={"USEAFTER": useafter})
    candidate = builders.make_mask(folder / "new.fits", MASKS[2])
    history = mask_history("IRIS1", crds_path=cache, candidate=candidate)
    assert [(mask.name, mask.in_context) for mask in history.masks] == [
        ("undated.fits", False),
        *((name, True) for name in NAMES),
        ("late.fits", False),
        ("new.fits", False),
    ]
    assert [mask.useafter for mask in history.masks][::4] == ["", "2029-01-01 00:00:00"]
    assert not history.due  # it has the flags of NAMES[2], which late.fits does not replace
    assert len(history.figure().axes[1].lines[0].get_xdata()) == 6


def test_a_damaged_mask_does_not_end_the_history(cache: Path) -> None:
    (cache / "references" / "tmt" / "iris" / NAMES[1]).write_bytes(b"SIMPLE  =")
    history = mask_history("IRIS1", crds_path=cache)
    assert history.masks[1].problem
    rows = {row.name: row for row in history.flags if row.mask == NAMES[2]}
    assert (rows["HOT"].gained, rows["HOT"].lost, rows["WARM"].kept) == (1, 1, 1)


@pytest.mark.parametrize(
    ("dq", "due", "changed"),
    [
        (MASKS[2], False, 0),
        (flags((2, 2, BAD), (1, 2, "WARM"), (4, 4, BAD)), True, 1),
        (flags((2, 2, BAD), (1, 2, "WARM"), (4, 4, "WARM")), False, 0),
    ],
)
def test_a_candidate_is_compared_with_the_mask_in_force(
    folder: Path, cache: Path, dq: Any, due: bool, changed: int
) -> None:
    candidate = builders.make_mask(folder / "new.fits", dq)
    words = ["history", "--detector", "IRIS1", "--crds-path", cache, "--candidate", candidate]
    done = invoke(*words, "--json")
    report = json.loads(done.out)
    assert done.code == int(due)
    assert report["due"] is due
    assert report["masks"][-1]["changed"] == changed
    shown = invoke(*words)
    assert f"a delivery is {'' if due else 'not '}due" in shown.out


def test_the_trend_is_drawn_by_date_in_the_colours_of_flags(folder: Path, cache: Path) -> None:
    picture, candidate = folder / "trend.png", builders.make_mask(folder / "new.fits", MASKS[1])
    invoke("history", "--detector", "IRIS1", "--crds-path", cache, "--plot", picture, code=0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    lower = mask_history("IRIS1", crds_path=cache, candidate=candidate).figure().axes[1]
    days = np.diff(np.array(lower.lines[0].get_xdata(), "datetime64[D]")).astype(int)
    assert days.tolist() == [365, 365, 30]
    # A mask holds until the next one: no slope between them.
    assert {line.get_drawstyle() for line in lower.lines} == {"steps-post"}
    assert "candidate" in lower.get_xlabel()
    assert mask_history("IRIS1", crds_path=cache).figure().axes[1].get_xlabel() == "USEAFTER"
    assert {text.get_text() for text in lower.get_legend().get_texts()} == {
        "DO_NOT_USE",
        "HOT",
        "WARM",
    }
    for line in lower.lines:
        assert line.get_color() == flag_colour(str(line.get_label()))


def test_a_candidate_of_other_pixels_is_refused(folder: Path, cache: Path) -> None:
    other = builders.make_mask(folder / "a.fits", flags(), header={"DETECTOR": "IRIS2"})
    with pytest.raises(MaskFormatError, match=r"a\.fits: is a mask of IRIS2; expected IRIS1"):
        mask_history("IRIS1", crds_path=cache, candidate=other)
    larger = builders.make_mask(folder / "b.fits", np.zeros((7, 8), np.uint32))
    with pytest.raises(ConfigError, match=r"b\.fits: covers"):
        mask_history("IRIS1", crds_path=cache, candidate=larger)


def test_flags_that_make_finds_have_colours_of_their_own() -> None:
    names = {finder.flag for finder, _ in load_recipe("iris").finders.values()}
    assert len(names) > 10
    assert len({flag_colour(name) for name in names}) == len(names)


def test_a_detector_that_is_not_known_is_an_error_of_the_option() -> None:
    refused = invoke("history", "--detector", "IRIS9", code=2)
    assert "IRIS has IRIS1" in refused.err
    assert "of the file" not in refused.err


def test_a_mask_that_is_missing_takes_one_line(cache: Path) -> None:
    (cache / "references" / "tmt" / "iris" / NAMES[1]).unlink()
    problem = mask_history("IRIS1", crds_path=cache).masks[1].problem
    assert problem is not None
    assert "is not in the cache" in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (NAMES[2:], "compared with the candidate"),
        (NAMES, "no other mask is compared with the candidate"),
    ],
)
def test_a_missing_mask_in_force_is_named(
    folder: Path, cache: Path, missing: list[str], said: str
) -> None:
    for name in missing:
        (cache / "references" / "tmt" / "iris" / name).unlink()
    candidate = builders.make_mask(folder / "new.fits", MASKS[1])
    words = ["history", "--detector", "IRIS1", "--crds-path", cache, "--candidate", candidate]
    done = invoke(*words, "--json", code=1)
    report = json.loads(done.out)
    assert f"the mask in force, {NAMES[2]}, cannot be read" in report["reason"]
    assert said in report["reason"]
    assert [text.split()[0] for text in report["warnings"]] == missing
    for name in missing:
        assert f"Warning: {name} is not compared" in done.err
    assert "--crds-path" in done.err
