"""Parameters of the step: all that `apply_dq` can be told about flags, the step can be told too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stpipe.config_parser import ConfigObj

from builders import CONVENTION, arrays, make_mask, make_ramp
from tmt_dq import DQInitStep, GuideWindow, Reading, Window, apply_dq
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import ConfigError, UnknownFlagError

pytestmark = pytest.mark.usefixtures("here")

HOT, DEAD, AD_FLOOR, SATURATED = (
    CONVENTION[name] for name in ("HOT", "DEAD", "AD_FLOOR", "SATURATED")
)


@pytest.fixture
def ramp(here: Path) -> Path:
    return make_ramp(here / "a_uncal.fits")


@pytest.fixture
def mask(here: Path) -> str:
    return str(make_mask(here / "mask.fits"))


RECIPE: dict[str, Any] = {
    "guide_windows": "2,2,2,1; 5,5,1,1,2:3",
    "guide_parts": ["box"],
    "guide_expand": 0,
    "dropout_values": [7.0],
    "ad_floor": 1.0,
    "full_scale": 143.0,
    "non_finite": True,
    "reference_pixels": True,
}


def test_recipe(here: Path, ramp: Path, mask: str) -> None:
    recipe = {
        **RECIPE,
        "guide_windows": (
            GuideWindow(Window(1, 1, 1, 2)),
            GuideWindow(Window(4, 4, 1, 1), groups=(1, 3)),
        ),
    }
    apply_dq(ramp, here / "direct.fits", mask=mask, recipe=recipe)
    expected = arrays(here / "direct.fits")
    assert expected["GROUPDQ"].any()
    DQInitStep.call(str(ramp), override_mask=mask, **RECIPE).save(here / "path.fits")
    flagged = DQInitStep.call(TMTRampModel(ramp), override_mask=mask, **RECIPE)
    # In a parameter file everything is text.
    texts = {key: each if isinstance(each, list) else str(each) for key, each in RECIPE.items()}
    names = {"name": "dq_init", "class": "tmt_dq.DQInitStep", "override_mask": mask}
    step = DQInitStep.from_config_section(ConfigObj({**names, **texts}))
    step.run(str(ramp)).save(here / "file.fits")
    for name in ("PIXELDQ", "GROUPDQ"):
        for path in (here / "path.fits", here / "file.fits"):
            np.testing.assert_array_equal(arrays(path)[name], expected[name])
        np.testing.assert_array_equal(getattr(flagged, name.lower()), expected[name])
    # The counts go from 0 to 143: two at the floor, the last one saturated, one 7.
    assert expected["GROUPDQ"][0, 0, 0, :2].tolist() == [AD_FLOOR, AD_FLOOR]
    assert expected["GROUPDQ"][0, 2, 5, 7] == SATURATED
    assert expected["GROUPDQ"][0, 0, 0, 7] == CONVENTION["DROPOUT"]


@pytest.mark.parametrize("as_model", [False, True])
@pytest.mark.parametrize(
    ("text", "said", "reading"),
    [
        ("x y\n3 2\n", {"user_flag": "HOT", "user_base": 1}, Reading(flag="HOT", base=1)),
        (
            "1 1 16\n2 1 4\n",
            {
                "user_values": "16:HOT; 4:DEAD",
                "user_base": 1,
                "user_at": [3, 2],
                "user_columns": ["x", "y", "flag"],
            },
            Reading(values={16: "HOT", 4: "DEAD"}, base=1, at=(3, 2), columns=("x", "y", "flag")),
        ),
        (
            "# base: 0\nx y flag\n2 1 2048\n",
            {"user_values": "convention"},
            Reading(values="convention"),
        ),
    ],
)
def test_user_file(
    here: Path,
    ramp: Path,
    mask: str,
    as_model: bool,
    text: str,
    said: dict[str, Any],
    reading: Reading,
) -> None:
    (here / "list.txt").write_text(text)
    apply_dq(ramp, here / "a.fits", mask=mask, user_dq="list.txt", user_reading=reading)
    result = DQInitStep.call(
        TMTRampModel(ramp) if as_model else str(ramp),
        override_mask=mask,
        user_supplied_dq="list.txt",
        **said,
    )
    if not as_model:
        result.save(here / "b.fits")
        result = TMTRampModel(here / "b.fits")
    np.testing.assert_array_equal(result.pixeldq, arrays(here / "a.fits")["PIXELDQ"])
    assert result.pixeldq[1, 2] & HOT


def test_commas_on_the_command_line(here: Path, ramp: Path) -> None:
    """strun splits texts at their commas before a step sees them."""
    (here / "list.txt").write_text("# base: 1\nx y flag\n3 2 16\n")
    words = [
        "--override_mask=N/A",
        "--user_supplied_dq=list.txt",
        "--user_values=16=HOT,4=DEAD",
        "--user_do_not_use=DEAD,RC",
        "--guide_windows=5,5,1,1,2:3;6,6,1,1",
        "--guide_parts=box,",
    ]
    DQInitStep.from_cmdline(["tmt_dq.DQInitStep", str(ramp), *words])
    pixels = np.zeros((6, 8), np.uint32)
    pixels[1, 2] = HOT
    pixels[4, 4] = pixels[5, 5] = CONVENTION["NON_SCIENCE"] | CONVENTION["DO_NOT_USE"]
    np.testing.assert_array_equal(arrays(here / "a_dqinit.fits")["PIXELDQ"], pixels)


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"guide_windows": "1,2,3"}, ConfigError, "guide_windows: '1,2,3' is not a window"),
        ({"guide_parts": ["boxes"]}, ConfigError, "guide_parts: 'boxes' is not possible; expected"),
        (
            {"user_bad": "many"},
            ConfigError,
            "user_bad: 'many' is not a value; expected a whole number or nonzero",
        ),
        ({"user_values": "x:HOT"}, ConfigError, "user_values: 'x:HOT' does not give the meaning"),
        ({"user_values": "all"}, ConfigError, "user_values: 'all' does not give the meaning"),
        ({"user_flag": "HAUT"}, UnknownFlagError, "HAUT"),
    ],
)
def test_wrong_values(
    here: Path, ramp: Path, mask: str, parameters: dict[str, Any], kind: type, message: str
) -> None:
    (here / "list.txt").write_text("# base: 1\nx y\n3 2\n")
    with pytest.raises(kind, match=message):
        DQInitStep.call(str(ramp), override_mask=mask, user_supplied_dq="list.txt", **parameters)
