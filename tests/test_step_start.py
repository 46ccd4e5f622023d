"""Results of the step that are saved, changed, copied or lost, and steps of others beside it."""

from pathlib import Path
from typing import Any

import pytest

from builders import CONVENTION, arrays, folder_state, make_ramp, run_python
from tmt_dq import DQInitStep
from tmt_dq.errors import MaskFormatError, RampFormatError, SelectionError

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("fault", ["rules", "user", "interrupt"])
def test_an_error_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    header = {"DETECTOR": "NONE"} if fault == "rules" else {}
    ramp = make_ramp(here / "ramp_uncal.fits", header=header)
    before = folder_state(here)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if fault == "interrupt":
        monkeypatch.setattr(DQInitStep, "_note", interrupt)
    error = {"rules": SelectionError, "user": MaskFormatError, "interrupt": KeyboardInterrupt}
    options = {"user_supplied_dq": "missing.fits"} if fault == "user" else {}
    with pytest.raises(error[fault]):
        DQInitStep.call(ramp, save_results=True, **options)
    assert folder_state(here) == before


def test_an_input_that_changed_since_is_not_saved(here: Path) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    result = DQInitStep.call(ramp)
    make_ramp(ramp, (1, 4, 6, 8))
    before = folder_state(here)
    with pytest.raises(RampFormatError, match="changed since it was read"):
        result.save("out.fits")
    assert folder_state(here) == before


def test_a_result_that_was_changed_is_saved_changed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(_: object, result: Any, __: object) -> None:
        result.pixeldq |= CONVENTION["WARM"]

    monkeypatch.setattr(DQInitStep, "finalize_result", change)
    ramp = make_ramp(here / "ramp_uncal.fits")
    DQInitStep.call(ramp, save_results=True)
    assert (arrays(here / "ramp_dqinit.fits")["PIXELDQ"] & CONVENTION["WARM"]).all()


def test_other_steps_ask_crds_as_ever(here: Path) -> None:
    code = """
import sys
import tmt_dq.step.step
from tmt_dq.references import register
register()
from stpipe import Step
class Flat(Step):
    class_alias = "flat"
    spec = "output_ext = string(default='.fits')"
    reference_file_types = ["flat"]
    def process(self, ramp):
        return self.get_reference_file(ramp, "flat")
    @classmethod
    def _get_crds_parameters(cls, _):
        return {"META.INSTRUMENT.NAME": "NIRCAM"}, "jwst"
    @classmethod
    def get_config_from_reference(cls, *_, **__):
        return {}
assert "override_flat" in Flat.load_spec_file()
try:
    Flat().run("ramp.fits")
except SystemExit as error:  # what crds does where there is neither cache nor server
    print("crds said", error.code)
"""
    env = {"CRDS_PATH": str(here), "CRDS_SERVER_URL": "http://127.0.0.1:9", "CRDS_MODE": "local"}
    done = run_python("-c", code, env=env)
    assert done.stdout.strip() == "crds said -1", done.stderr


def test_a_step_made_of_this_one_has_its_references() -> None:
    class More(DQInitStep):  # type: ignore[misc]
        reference_file_types = ["mask", "flat"]  # noqa: RUF012 - stpipe's own form

    spec = More.load_spec_file()
    assert {"override_mask", "override_flat", "user_supplied_dq"} <= set(spec)
    ours = DQInitStep.load_spec_file()
    assert ours["override_mask"] == spec["override_mask"] == "is_string_or_datamodel(default=None)"
    assert ours.inline_comments["override_mask"] == spec.inline_comments["override_mask"]
