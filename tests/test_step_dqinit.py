"""The step: one result whichever way the exposure comes in, and stpipe's traps kept shut."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, arrays, compress_gzip, data_unit, make_mask, make_ramp, run_python
from tmt_dq import DQInitStep, apply_dq
from tmt_dq.datamodels import TMTMaskModel, TMTRampModel
from tmt_dq.errors import (
    AlreadyInitializedError,
    ConfigError,
    GeometryError,
    MaskFormatError,
    OutputError,
    RampFormatError,
    SelectionError,
)
from tmt_dq.references import selection

pytestmark = pytest.mark.usefixtures("here")

KEYWORDS = ("S_DQINIT", "R_MASK", "CRDS_CTX", "CRDS_VER", "CAL_VER")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: Any) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def user_dq(here: Any) -> Any:
    flags = np.zeros((6, 8), np.int32)
    flags[5, 7] = CONVENTION["WARM"]
    fits.HDUList([fits.PrimaryHDU(flags)]).writeto(here / "mine.fits")
    return str(here / "mine.fits")


def outcome(path: Any) -> Any:
    """Return what a user of an output looks at."""
    header = fits.getheader(path)
    images = arrays(path)
    definitions = None
    with fits.open(path) as file:
        if "DQ_DEF" in file:
            rows = file["DQ_DEF"].data
            definitions = dict(zip(rows["NAME"], rows["VALUE"].tolist(), strict=True))
    return {
        "keywords": {key: header.get(key) for key in KEYWORDS},
        "history": list(header.get("HISTORY", [])),
        "flags": {key: images[key].tolist() for key in ("PIXELDQ", "GROUPDQ") if key in images},
        "types": {key: images[key].dtype.name for key in ("PIXELDQ", "GROUPDQ") if key in images},
        "sci": images["SCI"].tolist(),
        "definitions": definitions,
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask": True},
        {"mask": True, "user_dq": True, "propagate_do_not_use": True},
        {"mask": "N/A", "user_dq": True},
    ],
    ids=["rules", "override", "everything", "user's flags alone"],
)
def test_file_function_step_and_model_give_one_result(
    here: Any, user_dq: Any, options: Any
) -> None:
    flags = np.full((6, 8), 4, np.uint32)
    groups = np.full((1, 3, 6, 8), 2, np.uint8)
    ramp = make_ramp(here / "ramp_uncal.fits", pixeldq=flags, groupdq=groups)
    named = dict(options)
    if options.get("mask") is True:
        named["mask"] = str(make_mask(here / "mask.fits"))
    if options.get("user_dq"):
        named["user_dq"] = user_dq
    expected = compare_ways(here, ramp, named)
    assert expected["keywords"]["S_DQINIT"] == "COMPLETE"
    assert expected["flags"]["PIXELDQ"] != flags.tolist()


def compare_ways(here: Any, ramp: Any, named: dict[str, Any]) -> Any:
    """Flag a ramp by every way, check that the outputs are alike, and return what they say."""
    applied = apply_dq(ramp, here / "function.fits", **named)
    renamed = {"mask": "override_mask", "user_dq": "user_supplied_dq"}
    parameters: dict[str, Any] = {renamed.get(key, key): named[key] for key in named}

    streamed = DQInitStep.call(ramp, output_file="step.fits", suffix="s", **parameters)
    assert (here / "step_s.fits").exists()
    deferred = DQInitStep.call(str(ramp), **parameters)
    deferred.model.save(here / "deferred.fits")
    with TMTRampModel(ramp) as model:
        DQInitStep.call(model, **parameters).save(here / "model.fits")

    expected = outcome(applied.output)
    for name in ("step_s.fits", "deferred.fits", "model.fits"):
        assert outcome(here / name) == expected
    assert streamed.applied.counts == applied.counts
    return expected


def test_subarrays_read_with_the_frame_are_flagged_alike(here: Any) -> None:
    subarr_map = np.zeros((6, 8), np.uint16)
    subarr_map[1:3, 2:5] = 1
    extra = [fits.ImageHDU(subarr_map, name="SUBARR_MAP")]
    ramp = make_ramp(here / "ramp_uncal.fits", extra=extra)
    expected = compare_ways(here, ramp, {"mask": "N/A"})
    value = CONVENTION["NON_SCIENCE"] | CONVENTION["DO_NOT_USE"]
    assert expected["flags"]["PIXELDQ"] == (np.sign(subarr_map) * value).tolist()

    packed = compress_gzip(ramp, here / "packed.fits.gz")
    flags = DQInitStep.call(packed, override_mask="N/A").pixeldq
    np.testing.assert_array_equal(flags, np.sign(subarr_map) * value)

    header = {"SUBARRID": 1, "SUBSTRT1": 3, "SUBSTRT2": 2}
    ramp = make_ramp(here / "sub_uncal.fits", (1, 1, 2, 3), header=header, extra=extra)
    mask = str(make_mask(here / "mask.fits"))
    for source in (ramp, TMTRampModel(ramp)):
        result = DQInitStep.call(source, override_mask=mask)
        assert np.argwhere(result.pixeldq).tolist() == [[1, 1]]
    header["SUBSTRT1"] = 1
    ramp = make_ramp(here / "sub_uncal.fits", (1, 1, 2, 3), header=header, extra=extra)
    for source in (ramp, TMTRampModel(ramp)):
        with pytest.raises(GeometryError, match="subarray 1"):
            DQInitStep.call(source, override_mask=mask)


@pytest.mark.parametrize(("choice", "status"), [("skip", "SKIPPED"), ("continue", "COMPLETE")])
def test_an_exposure_without_a_rule_is_skipped_or_continued_on_request(
    here: Any, user_dq: Any, choice: Any, status: Any
) -> None:
    none = np.zeros((6, 8), np.uint32)
    groups = np.zeros((1, 3, 6, 8), np.uint8)
    header = {"DATE-OBS": "1999-01-01"}
    ramp = make_ramp(here / "ramp_uncal.fits", header=header, pixeldq=none, groupdq=groups)
    with pytest.raises(SelectionError):
        DQInitStep.call(ramp)
    expected = compare_ways(here, ramp, {"if_no_mask": choice, "user_dq": user_dq})
    assert expected["keywords"]["S_DQINIT"] == status
    assert expected["keywords"]["R_MASK"] == "N/A"
    assert any("no mask: no rule" in line for line in expected["history"])
    flagged = np.count_nonzero(expected["flags"]["PIXELDQ"])
    assert flagged == (status == "COMPLETE")


def test_a_path_is_streamed_and_never_opened_as_a_model(here: Any, monkeypatch: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    before = ramp.read_bytes()

    def refuse(*_args: Any) -> None:
        raise AssertionError("the ramp was opened as a model")

    monkeypatch.setattr(TMTRampModel, "__init__", refuse)
    result = DQInitStep.call(ramp, save_results=True)
    assert repr(result).startswith("<FlaggedRamp of")
    assert result.status == "COMPLETE"
    assert data_unit(here / "ramp_dqinit.fits", "SCI") == data_unit(ramp, "SCI")
    assert ramp.read_bytes() == before


def test_nothing_is_written_until_it_is_saved(here: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    result = DQInitStep.call(ramp)
    assert [path.name for path in here.iterdir()] == ["ramp_uncal.fits"]
    assert result.applied is None
    assert result.save("a.fits", dir_path=str(here)) == str(here / "a.fits")
    assert result.save(lambda name: f"of_{name}") == "of_ramp_uncal.fits"
    assert data_unit(here / "a.fits", "SCI") == data_unit(ramp, "SCI")
    with pytest.raises(OutputError, match="already exists"):
        result.save(here / "a.fits", overwrite=False)


def test_the_result_is_used_like_a_model(here: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    mask = make_mask(here / "mask.fits")
    with DQInitStep.call(ramp, override_mask=mask) as result:
        assert result.pixeldq[0, 0] == CONVENTION["DEAD"]
        assert result.groupdq.shape == (1, 3, 6, 8)
        assert result.meta.cal_step.dq_init == "COMPLETE"
        assert result.get_crds_parameters()["meta.instrument.detector"] == "IRIS1"
        result.meta.origin = "changed"
        result.pixeldq = result.pixeldq | 1
        result.save(here / "changed.fits")
    with TMTRampModel(here / "changed.fits") as changed:
        assert changed.meta.origin == "changed"
        assert (changed.pixeldq & 1).all()
        assert changed.pixeldq[0, 0] == CONVENTION["DEAD"] | 1
    result = DQInitStep.call(make_ramp(here / "ramp_uncal.fits"), save_results=True)
    assert result.meta.filename == "ramp_dqinit.fits"
    with pytest.raises(AlreadyInitializedError, match="already initialized, with mask crds://"):
        DQInitStep.call(result, override_mask="N/A")
    again = DQInitStep.call(result, override_mask="N/A", again=True)
    assert again.meta.cal_step.dq_init == "SKIPPED"


def test_the_input_model_is_not_modified(here: Any, user_dq: Any) -> None:
    path = make_ramp(here / "ramp.fits")
    with TMTRampModel(path) as model, TMTRampModel(path) as untouched:
        result = DQInitStep.call(
            model,
            override_mask=make_mask(here / "mask.fits"),
            user_supplied_dq=user_dq,
            propagate_do_not_use=True,
        )
        for name in ("data", "pixeldq", "groupdq"):
            assert np.array_equal(getattr(model, name), getattr(untouched, name))
            assert not np.shares_memory(getattr(model, name), getattr(result, name))
        left, right = (m.to_flat_dict(include_arrays=False) for m in (model, untouched))
        assert left == right
        assert model.dq_def is None


def test_a_plain_model_of_an_output_gets_one_card_each(here: Any) -> None:
    from stdatamodels import DataModel

    mask = make_mask(here / "mask.fits")
    TMTRampModel(make_ramp(here / "ramp.fits")).save(here / "model.fits")
    apply_dq(here / "model.fits", here / "out.fits", mask=mask)
    with fits.open(here / "out.fits", "update") as file:
        file["SCI"].header["OBSERVER"] = "Hale"  # in no schema: kept where it is
    with DataModel(here / "out.fits") as plain:
        before = [list(card) for card in plain.instance["extra_fits"]["PRIMARY"]["header"]]
        with pytest.raises(AlreadyInitializedError, match=r"with mask .*mask\.fits"):
            DQInitStep.call(plain, override_mask=mask)
        DQInitStep.call(plain, override_mask=mask, again=True).save(here / "saved.fits")
        after = plain.instance["extra_fits"]["PRIMARY"]["header"]
        assert [list(card) for card in after] == before
    with fits.open(here / "saved.fits") as saved, fits.open(here / "out.fits") as first:
        assert [hdu.name for hdu in saved].count("SCI") == 1
        np.testing.assert_array_equal(saved["SCI"].data, first["SCI"].data)
        assert saved["SCI"].header["OBSERVER"] == "Hale"
        keywords = [keyword for keyword in saved[0].header if keyword not in ("HISTORY", "")]
        assert len(keywords) == len(set(keywords))
        for keyword in ("S_DQINIT", "R_MASK", "CAL_VER", "INSTRUME", "SUBSTRT1", "DATE-OBS"):
            assert saved[0].header[keyword] == first[0].header[keyword]


def test_what_a_plain_model_saved_is_saved_again(here: Any) -> None:
    from stdatamodels import DataModel

    apply_dq(make_ramp(here / "ramp.fits"), here / "out.fits", mask=make_mask(here / "mask.fits"))
    with DataModel(here / "out.fits") as plain:
        plain.save(here / "plain.fits")
        with pytest.raises(RampFormatError, match="open it with TMTRampModel"):
            DQInitStep.call(plain, again=True)
    with TMTRampModel(here / "plain.fits") as model:
        model.save(here / "saved.fits")
    with fits.open(here / "saved.fits") as saved, fits.open(here / "out.fits") as first:
        for name in ("SCI", "PIXELDQ", "GROUPDQ"):
            assert [hdu.name for hdu in saved].count(name) == 1
            np.testing.assert_array_equal(saved[name].data, first[name].data)
        for keyword in ("S_DQINIT", "R_MASK", "INSTRUME"):
            assert saved[0].header.count(keyword) == 1
            assert saved[0].header[keyword] == first[0].header[keyword]


@pytest.mark.parametrize("way", ["path", "model"])
def test_not_applicable_by_the_rules_is_skipped(here: Any, way: Any, monkeypatch: Any) -> None:
    def not_applicable(*_args: Any, **_kwargs: Any) -> Any:
        return selection.Selection(
            observatory="tmt",
            reftype="mask",
            context="tmt_0001.pmap",
            name=None,
            path=None,
            rules=(),
            crds_version="14.0.3",
            cache=Path("/cache"),
        )

    monkeypatch.setattr(selection, "select_reference", not_applicable)
    ramp = make_ramp(here / "ramp_uncal.fits")
    DQInitStep.call(ramp if way == "path" else TMTRampModel(ramp), save_results=True)
    header = fits.getheader(here / "ramp_dqinit.fits")
    assert [header[key] for key in KEYWORDS[:4]] == ["SKIPPED", "N/A", "tmt_0001.pmap", "14.0.3"]


@pytest.mark.parametrize("way", ["path", "model"])
def test_a_path_that_contains_na_is_a_path(here: Any, way: Any) -> None:
    for folder in ("archive/n/a/cache", "N/A"):
        (here / folder).mkdir(parents=True)
        mask = make_mask(here / folder / "mask.fits")
        ramp = make_ramp(here / folder / "ramp.fits")
        source = ramp if way == "path" else TMTRampModel(ramp)
        result = DQInitStep.call(source, override_mask=str(mask))
        assert result.meta.cal_step.dq_init == "COMPLETE"
        assert result.meta.ref_file.mask.name == str(mask)
        assert result.pixeldq[0, 0] == CONVENTION["DEAD"]


@pytest.mark.parametrize("way", ["path", "model"])
def test_a_mask_model_overrides(here: Any, way: Any) -> None:
    mask = TMTMaskModel((6, 8))
    mask.meta.name, mask.meta.detector = "IRIS", "IRIS1"
    mask.flag_pixels("RC", yx=[(5, 7)], do_not_use="keep")
    ramp = make_ramp(here / "ramp_uncal.fits")
    source = ramp if way == "path" else TMTRampModel(ramp)
    result = DQInitStep.call(source, override_mask=mask, save_results=True)
    mask.dq[...] = 0
    assert np.argwhere(result.pixeldq).tolist() == [[5, 7]]
    assert result.pixeldq[5, 7] == CONVENTION["RC"]
    assert fits.getheader(here / "ramp_dqinit.fits")["R_MASK"] == "TMTMaskModel"

    mask.meta.detector = "IRIS2"
    with pytest.raises(MaskFormatError, match="IRIS2"):
        DQInitStep.call(source, override_mask=mask)
    mask.meta.detector = "IRIS1"
    mask.meta.subarray.xstart = 100
    with pytest.raises(GeometryError, match="the mask covers"):
        DQInitStep.call(source, override_mask=mask)


def test_the_rules_choose_by_the_exposure(here: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits", header={"DETECTOR": "IRIS3"})
    step = DQInitStep()
    by_path = step.get_reference_file(ramp, "mask")
    by_model = step.get_reference_file(TMTRampModel(ramp), "mask")
    by_result = step.get_reference_file(DQInitStep.call(ramp), "mask")
    assert by_path == by_model == by_result
    assert fits.getheader(by_path)["DETECTOR"] == "IRIS3"
    assert DQInitStep(override_mask="N/A").get_reference_file(ramp, "mask") == "N/A"
    with pytest.raises(MaskFormatError, match=r"missing\.fits"):
        DQInitStep(override_mask="missing.fits").get_reference_file(ramp, "mask")
    with pytest.raises(ConfigError, match="'flat' is not a reference of this step"):
        step.get_reference_file(ramp, "flat")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ({"DETECTOR": "N/A"}, SelectionError),
        ({"DETECTOR": None}, RampFormatError),
        ({"DATE-OBS": "yesterday"}, RampFormatError),
        ({"DATE-OBS": "1999-01-01"}, SelectionError),
        ({"SUBSTRT1": None}, GeometryError),
        ({"SUBSIZE1": 9}, GeometryError),
    ],
)
def test_bad_headers_are_the_same_error_by_every_way(here: Any, header: Any, kind: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits", header=header)
    texts = []
    with pytest.raises(kind) as caught:
        apply_dq(ramp)
    texts.append(caught.value.what)
    for source in (ramp, TMTRampModel(ramp)):
        with pytest.raises(kind) as caught:
            DQInitStep.call(source, save_results=True)
        texts.append(caught.value.what)
    assert texts[0] == texts[1]
    assert [path.name for path in here.iterdir()] == ["ramp_uncal.fits"]


def test_definitions_of_other_bits_in_a_model_are_refused(here: Any) -> None:
    model = TMTRampModel(make_ramp(here / "ramp.fits"))
    model.dq_def = np.array(
        [(0, 1, "DEAD", "")],
        dtype=[("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")],
    )
    with pytest.raises(RampFormatError, match="another meaning"):
        DQInitStep.call(model, override_mask="N/A")


def test_an_input_that_is_neither_is_refused() -> None:
    for thing in (5, None, [1]):
        with pytest.raises(ConfigError, match="expected a path or a data model"):
            DQInitStep().run(thing)
    with pytest.raises(RampFormatError, match="no data"):
        DQInitStep.call(TMTRampModel())


@pytest.mark.contract
def test_the_place_can_be_said(here: Any, shared: Any) -> None:
    sample = shared / "iris_readout_sample_ramp.fits"
    for source in (sample, TMTRampModel(sample)):
        with pytest.raises(GeometryError, match="SUBSTRT1, SUBSTRT2"):
            DQInitStep.call(source)
        result = DQInitStep.call(source, subarray=(1, 1))
        flagged = result.pixeldq & CONVENTION["REFERENCE_PIXEL"] != 0
        expected = np.zeros((10, 10), bool)
        expected[:4] = expected[:, :4] = True
        assert np.array_equal(flagged, expected)
        place = result.meta.subarray
        assert (place.xstart, place.ystart, place.xsize, place.ysize) == (1, 1, 10, 10)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("ramp_uncal.fits", {}, "ramp_dqinit.fits"),
        ("ramp.fits", {}, "ramp_dqinit.fits"),
        ("a_uncal_b.fits", {}, "a_uncal_b_dqinit.fits"),
        ("ramp_uncal.fits", {"output_dir": "new/folder"}, "new/folder/ramp_dqinit.fits"),
        ("ramp_uncal.fits", {"suffix": "flagged"}, "ramp_flagged.fits"),
        ("ramp_uncal.fits", {"output_file": "mine.fits"}, "mine_dqinit.fits"),
    ],
)
def test_outputs_have_the_expected_names(
    here: Any, name: Any, parameters: Any, expected: Any
) -> None:
    for folder in ("raw", "new/folder"):  # stpipe 0.11 does not make output_dir
        (here / folder).mkdir(parents=True)
    ramp = make_ramp(here / "raw" / name)
    DQInitStep.call(ramp, save_results=True, override_mask="N/A", **parameters)
    assert (here / expected).exists()
    (here / expected).unlink()
    model = TMTRampModel(ramp)
    DQInitStep.call(model, save_results=True, override_mask="N/A", **parameters)
    assert (here / expected).exists()


def test_outputs_are_replaced_but_never_the_input(here: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    (here / "ramp_dqinit.fits").write_bytes(b"old")
    DQInitStep.call(ramp, save_results=True)
    assert (here / "ramp_dqinit.fits").read_bytes()[:6] == b"SIMPLE"
    before = ramp.read_bytes()
    with pytest.raises(OutputError, match="same file"):
        DQInitStep.call(ramp).save(ramp)
    opened = DQInitStep.call(ramp)
    assert opened.pixeldq.any()
    for name in ("ramp_uncal.fits", str(ramp)):
        with pytest.raises(OutputError, match="same file"):
            opened.save(name)
    assert ramp.read_bytes() == before


def test_crds_is_not_asked_for_parameters_nor_allowed_to_end_the_process(
    here: Any, monkeypatch: Any
) -> None:
    import stpipe.crds_client

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("stock crds was asked")

    monkeypatch.setattr(stpipe.crds_client, "get_multiple_reference_paths", refuse)
    monkeypatch.setenv("CRDS_SERVER_URL", "https://nowhere.invalid")
    ramp = make_ramp(here / "ramp.fits")
    assert DQInitStep.call(ramp).status == "COMPLETE"
    assert DQInitStep.call(TMTRampModel(ramp)).meta.cal_step.dq_init == "COMPLETE"
    assert not DQInitStep.get_config_from_reference(str(ramp))
    monkeypatch.setenv("CRDS_PATH", str(here / "wrong"))
    with pytest.raises(ConfigError, match="CRDS_PATH"):
        DQInitStep.call(ramp)
    assert DQInitStep.call(ramp, override_mask=make_mask(here / "mask.fits")).status == "COMPLETE"


def test_listing_the_steps_imports_none_of_them() -> None:
    code = "import sys, tmt_dq.stpipe_steps; print('tmt_dq.step.step' in sys.modules)"
    assert run_python("-c", code).stdout.strip() == "False"


def test_strun_runs_it_by_name(here: Any) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    mask = make_mask(here / "mask.fits")
    strun = Path(sys.executable).with_name("strun")
    name = "tmt-dq::dq_init"
    run_python(strun, name, ramp, f"--override_mask={mask}", cwd=here, code=0)
    assert arrays(here / "ramp_dqinit.fits")["PIXELDQ"][0, 0] == CONVENTION["DEAD"]
    failed = run_python(strun, name, ramp, "--subarray=3,1", cwd=here, code=GeometryError.exit_code)
    shown = " ".join(f"{failed.stdout} {failed.stderr}".split())
    assert "SUBSTRT1 is 1 in the header, but the caller says 3" in shown
    assert "Traceback" not in shown


def test_strun_beside_another_package_with_a_dq_init(here: Any) -> None:
    """As where jwst is installed, whose step has the same alias."""
    packages = here / "packages"
    described = packages / "peer-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: peer\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[stpipe.steps]\npeer = peer_steps:get_steps\n")
    (packages / "peer_steps.py").write_text(
        "def get_steps():\n    return [('peer_steps.DQInitStep', 'dq_init', False)]\n"
    )
    ramp, mask = make_ramp(here / "ramp_uncal.fits"), make_mask(here / "mask.fits")
    strun = Path(sys.executable).with_name("strun")
    words, env = (ramp, f"--override_mask={mask}"), {**os.environ, "PYTHONPATH": str(packages)}
    alone = run_python(strun, "dq_init", *words, cwd=here, env=env)
    assert alone.returncode != 0
    assert not (here / "ramp_dqinit.fits").exists()
    run_python(strun, "tmt-dq::dq_init", *words, cwd=here, env=env, code=0)
    assert arrays(here / "ramp_dqinit.fits")["PIXELDQ"][0, 0] == CONVENTION["DEAD"]
