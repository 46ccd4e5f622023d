"""The record of an initialization: DQ_SOURCES, and what follows from it for the next one."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, arrays, data_unit, folder_state, invoke, make_mask, make_ramp
from tmt_dq import DQInitStep, Reading, apply_dq, select_mask
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import AlreadyInitializedError, ConfigError, UnexplainedFlagsError
from tmt_dq.exposures.dq_sources import mask_row, read_sources
from tmt_dq.fits.file import open_input

WARM = CONVENTION["WARM"]


def rows(path: Path) -> list[tuple[str, str, str, int, dict[str, Any]]]:
    """Return DQ_SOURCES as astropy reads it."""
    table = fits.getdata(path, "DQ_SOURCES")
    return [
        (row["KIND"], row["NAME"], row["SHA256"], row["PIXELS"], json.loads(row["PARAMETERS"]))
        for row in table
    ]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_each_source_has_a_row(folder: Path) -> None:
    mask = make_mask(folder / "mask.fits")  # two pixels
    user = folder / "naïve.txt"
    user.write_text("x y\n3 2\n")
    ramp = make_ramp(folder / "ramp.fits", pixeldq=np.eye(6, 8, dtype=np.uint32) * WARM)
    apply_dq(
        ramp,
        folder / "out.fits",
        mask=mask,
        user_dq=user,
        user_reading=Reading(flag="HOT", base=1),
        recipe={"full_scale": 142},
    )
    found = rows(folder / "out.fits")
    assert found[0] == ("flags before", "", "", 6, {"groups": False})
    assert found[1][:4] == ("mask", str(mask), sha256(mask), 2)
    assert "lacks the border of reference pixels" in found[1][4]["remarks"][0]
    name, digest = "na\\xefve.txt", sha256(user)
    assert found[2][:4] == ("user DQ", name, digest, 1)
    assert found[2][4] | {"remarks": []} == {"flag": "HOT", "base": 1, "remarks": []}
    # Counts from 0 to 143: two of them are 142 or more.
    samples = {"samples": {"SATURATED": 2}}
    assert found[3] == ("A/D limits", "", "", 0, {"full_scale": 142, **samples})
    assert len(found) == 4
    with open_input(folder / "out.fits") as file:
        read = read_sources(file)
    assert read is not None
    assert [(r.kind, r.name, r.sha256, r.pixels, r.parameters) for r in read] == found


def test_rules_are_recorded_with_the_mask(folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits")
    selection = select_mask(ramp)
    assert selection.path is not None
    apply_dq(ramp, folder / "out.fits")
    row = rows(folder / "out.fits")[1]
    assert row[:3] == ("mask", f"crds://{selection.name}", sha256(selection.path))
    assert row[4] == {"context": selection.context}
    ramp = make_ramp(folder / "ramp.fits", header={"CRDS_CTX": "tmt_0001.pmap"})
    apply_dq(ramp, folder / "skipped.fits", mask="N/A")
    assert rows(folder / "skipped.fits") == [("mask", "N/A", "", 0, {})]
    with open_input(ramp) as file:
        assert read_sources(file) is None
        assert mask_row(file) is None
    # Not initialized: the flags come without --again.
    apply_dq(folder / "skipped.fits", folder / "second.fits", mask=make_mask(folder / "mask.fits"))
    assert arrays(folder / "second.fits")["PIXELDQ"].any()


def test_an_initialized_exposure_is_refused(folder: Path) -> None:
    mask = make_mask(folder / "mask.fits")
    apply_dq(make_ramp(folder / "ramp.fits"), folder / "out.fits", mask=mask)
    before = folder_state(folder)
    with pytest.raises(AlreadyInitializedError, match=r"already initialized.*mask\.fits"):
        apply_dq(folder / "out.fits", folder / "second.fits", mask=mask)
    outcome = invoke(
        "apply", folder / "out.fits", "-o", folder / "second.fits", "--mask", mask, code=3
    )
    assert "--again" in outcome.err
    with pytest.raises(AlreadyInitializedError):
        DQInitStep.call(folder / "out.fits", override_mask=str(mask))
    with TMTRampModel(folder / "out.fits") as model, pytest.raises(AlreadyInitializedError):
        DQInitStep.call(model, override_mask=str(mask))
    with pytest.raises(ConfigError, match="again and start_over"):
        apply_dq(folder / "out.fits", mask=mask, again=True, start_over=True)
    assert folder_state(folder) == before


def test_flags_that_were_there_are_kept_and_reported(folder: Path) -> None:
    """The default mask has flags in 2 pixels, the user's list in 3 others."""
    (folder / "list.txt").write_text("x y flag\n1 2 HOT\n2 2 HOT\n3 2 HOT\n")
    first = invoke(
        *("apply", make_ramp(folder / "ramp.fits"), "-o", folder / "a.fits", "--mask", "N/A"),
        *("--user-dq", folder / "list.txt", "--user-base", 1),
        code=0,
    )
    assert "flags from before" not in first.out
    again = ("apply", folder / "a.fits", "--mask", make_mask(folder / "mask.fits"), "--again")
    shown = invoke(*again, "-o", folder / "b.fits")
    assert "flags from before: 3 pixels" in shown.out
    report = json.loads(invoke(*again, "-o", folder / "c.fits", "--json").out)["ramps"][0]
    assert report["pixels_before"] == 3
    assert report["counts"]["GOOD"] == 6 * 8 - 5


@pytest.mark.parametrize("way", ["function", "command", "step"])
def test_start_over(folder: Path, way: str) -> None:
    """The output is that of the raw ramp but for HISTORY, which keeps the earlier lines."""
    ramp = make_ramp(folder / "ramp.fits", extra=[fits.ImageHDU(np.ones((2, 2)), name="OTHER")])
    recipe = {"full_scale": 142}
    apply_dq(ramp, folder / "first.fits", recipe=recipe)
    other = np.zeros((6, 8), np.uint32)
    other[4, 4] = WARM
    mask = make_mask(folder / "two.fits", other)
    second, fresh = folder / "second.fits", folder / "fresh.fits"
    if way == "function":
        apply_dq(folder / "first.fits", second, mask=mask, start_over=True)
    elif way == "command":
        words = ["apply", folder / "first.fits", "-o", second, "--mask", mask, "--start-over"]
        assert invoke(*words).code == 0
    else:
        result = DQInitStep.call(folder / "first.fits", override_mask=str(mask), start_over=True)
        result.save(second)
    apply_dq(ramp, fresh, mask=mask)
    with fits.open(second, checksum=True) as ours, fits.open(fresh) as theirs:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        assert "CRDS_CTX" not in ours[0].header  # the mask is by hand now
    for name in ("SCI", "OTHER", "PIXELDQ", "GROUPDQ", "DQ_DEF", "DQ_SOURCES"):
        assert data_unit(second, name) == data_unit(fresh, name)


@pytest.mark.parametrize("why", ["flags before", "another step", "no record"])
def test_start_over_where_it_could_lose_flags(folder: Path, why: str) -> None:
    own: dict[str, Any] = {}
    if why == "flags before":
        own = {"pixeldq": np.full((6, 8), WARM, np.uint32)}
    mask = make_mask(folder / "mask.fits")
    apply_dq(make_ramp(folder / "ramp.fits", **own), folder / "out.fits", mask=mask)
    with fits.open(folder / "out.fits", mode="update") as hdus:
        if why == "another step":
            hdus[0].header["S_LINEAR"] = "COMPLETE"
        if why == "no record":
            del hdus["DQ_SOURCES"]
    before = folder_state(folder)
    with pytest.raises(UnexplainedFlagsError):
        apply_dq(folder / "out.fits", folder / "new.fits", mask=mask, start_over=True)
    assert folder_state(folder) == before


def test_a_model_has_the_same_record(folder: Path) -> None:
    mask = make_mask(folder / "mask.fits")
    ramp = make_ramp(folder / "ramp.fits")
    apply_dq(ramp, folder / "file.fits", mask=mask)
    with TMTRampModel(ramp) as model:
        DQInitStep.call(model, override_mask=str(mask)).save(folder / "model.fits")
    assert rows(folder / "model.fits") == rows(folder / "file.fits")
    # A model of an output keeps the record.
    with TMTRampModel(folder / "file.fits") as model:
        model.save(folder / "copy.fits")
    assert rows(folder / "copy.fits") == rows(folder / "file.fits")


@pytest.mark.parametrize("as_model", [False, True])
def test_again_leaves_nothing_of_the_rules_before(folder: Path, as_model: bool) -> None:
    """A mask of one's own has no context: not in the header, the tree of ASDF or a model."""
    with TMTRampModel(make_ramp(folder / "ramp.fits")) as model:
        flagged = DQInitStep.call(model)
        assert flagged.meta.ref_file.crds.context_used == select_mask(folder / "ramp.fits").context
        flagged.save(folder / "first.fits")  # with an extension ASDF
    mask, second = str(make_mask(folder / "mask.fits")), folder / "second.fits"
    if as_model:
        with TMTRampModel(folder / "first.fits") as model:
            DQInitStep.call(model, override_mask=mask, again=True).save(second)
    else:
        apply_dq(folder / "first.fits", second, mask=mask, again=True)
    assert not {"CRDS_CTX", "CRDS_VER"} & set(fits.getheader(second))
    assert b"context_used" not in fits.getdata(second, "ASDF").tobytes()
    with TMTRampModel(second) as model:
        assert model.meta.ref_file.mask.name == mask
        assert model.meta.ref_file.crds.context_used is None
        assert model.meta.ref_file.crds.sw_version is None
