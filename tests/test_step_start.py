"""What the step does before it knows the flags: the copy is begun.

What could go wrong: the copy of a result that is not saved, or saved elsewhere, left behind; an
output that is not what it would be without; stpipe's own way to crds broken for steps of others.
"""

import copy
import errno
import gc
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import (
    CONVENTION,
    arrays,
    compress_gzip,
    folder_state,
    make_mask,
    make_ramp,
    run_python,
    unit_bytes,
)
from tmt_dq import DQInitStep
from tmt_dq.errors import MaskFormatError, SelectionError
from tmt_dq.exposures import record as provenance
from tmt_dq.files import atomic
from tmt_dq.io import headstart
from tmt_dq.io.headstart import Headstart


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, where small ramps get what large ones get."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(headstart, "_WORTH_IT", 1)
    monkeypatch.setattr(provenance, "_now", lambda: "2026-11-22T00:00:00.000")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note for each copy that was begun, and asked for, whether it was used."""
    answers: list[bool] = []
    real = Headstart.belongs_to

    def noting(self: Headstart, *arguments: Any) -> bool:
        answers.append(real(self, *arguments))
        return answers[-1]

    monkeypatch.setattr(Headstart, "belongs_to", noting)
    return answers


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Headstart]]:
    """Note the copies that are begun; in the end, none is open."""
    found: list[Headstart] = []
    real = headstart.Headstart.__init__

    def noting(self: Headstart, *arguments: Any) -> None:
        real(self, *arguments)
        found.append(self)

    monkeypatch.setattr(headstart.Headstart, "__init__", noting)
    yield found
    assert [copy.output.fd for copy in found] == [-1] * len(found)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"output_dir": "folder"},
        {"output_file": "mine.fits"},
        {"output_file": "folder/mine"},
        {"output_file": "mine.fits", "search_output_file": False},
        {"suffix": "flagged"},
        {"user_supplied_dq": "mine.fits"},
    ],
    ids=str,
)
def test_the_copy_that_was_begun_is_the_output(
    here: Path, asked: list[bool], begun: list[Headstart], parameters: dict[str, Any]
) -> None:
    (here / "folder").mkdir()
    make_mask(here / "mine.fits")
    ramp = make_ramp(here / "ramp_uncal.fits", checksum=True)
    DQInitStep.call(ramp, save_results=True, **parameters)
    assert asked == [True]
    (written,) = {*here.rglob("*_dqinit.fits"), *here.rglob("*_flagged.fits")}
    (here / "plain").mkdir()
    flags = {key: value for key, value in parameters.items() if key == "user_supplied_dq"}
    DQInitStep.call(ramp, **flags).save(here / "plain" / written.name)
    assert written.read_bytes() == (here / "plain" / written.name).read_bytes()
    assert unit_bytes(written, "SCI") == unit_bytes(ramp, "SCI")
    assert len(begun) == 1


def test_nothing_is_begun_for_what_is_not_copied(
    here: Path, begun: list[Headstart], asked: list[bool]
) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    DQInitStep.call(ramp)
    DQInitStep.call(ramp, save_results=True, output_ext=".asdf")
    DQInitStep.call(ramp, save_results=True, output_use_model=True)
    DQInitStep.call(ramp, save_results=True, search_output_file=False)
    DQInitStep.call(compress_gzip(ramp, here / "ramp.fits.gz"), save_results=True)
    assert not begun
    assert not asked


def without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behave as NFS does."""
    real = os.open

    def refusing(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(atomic.os, "open", refusing)  # type: ignore[attr-defined]


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("fault", ["rules", "user", "interrupt"])
def test_an_error_leaves_nothing(
    here: Path,
    begun: list[Headstart],
    monkeypatch: pytest.MonkeyPatch,
    nameless: bool,
    fault: str,
) -> None:
    if not nameless:
        without_nameless_files(monkeypatch)
    ramp = make_ramp(
        here / "ramp_uncal.fits", header={"DETECTOR": "NONE"} if fault == "rules" else {}
    )
    before = folder_state(here)
    if fault == "rules":
        with pytest.raises(SelectionError):
            DQInitStep.call(ramp, save_results=True)
    elif fault == "user":
        with pytest.raises(MaskFormatError, match=r"missing\.fits"):
            DQInitStep.call(ramp, save_results=True, user_supplied_dq="missing.fits")
    else:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(DQInitStep, "_note", interrupt)
        with pytest.raises(KeyboardInterrupt):
            DQInitStep.call(ramp, save_results=True)
    assert len(begun) == 1
    assert folder_state(here) == before


@pytest.mark.parametrize("nameless", [True, False])
def test_a_result_that_is_not_saved_leaves_nothing(
    here: Path, begun: list[Headstart], monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        without_nameless_files(monkeypatch)
    ramp = make_ramp(here / "ramp_uncal.fits")
    before = folder_state(here)
    step = DQInitStep(save_results=True)
    step.set_primary_input(str(ramp))
    step._reference_files_used = []
    closed = step.process(str(ramp))
    closed.close()
    lost = step.process(str(ramp))
    assert len(begun) == 2
    del lost
    gc.collect()
    assert folder_state(here) == before
    looked_at = step.process(str(ramp))
    assert looked_at.pixeldq.any()
    looked_at.close()
    assert folder_state(here) == before


def test_a_result_that_was_changed_is_saved_changed(
    here: Path, asked: list[bool], begun: list[Headstart], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(_: object, result: Any, __: object) -> None:
        result.pixeldq |= CONVENTION["WARM"]

    monkeypatch.setattr(DQInitStep, "finalize_result", change)
    ramp = make_ramp(here / "ramp_uncal.fits")
    DQInitStep.call(ramp, save_results=True)
    assert (arrays(here / "ramp_dqinit.fits")["PIXELDQ"] & CONVENTION["WARM"]).all()
    assert asked == []
    assert len(begun) == 1


def test_saved_elsewhere_first(
    here: Path, asked: list[bool], begun: list[Headstart], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(_: object, result: Any, __: object) -> None:
        result.save(here / "first" / "ramp_dqinit.fits")

    (here / "first").mkdir()
    monkeypatch.setattr(DQInitStep, "finalize_result", save)
    ramp = make_ramp(here / "ramp_uncal.fits")
    DQInitStep.call(ramp, save_results=True)
    assert asked == [False]
    assert len(begun) == 1
    first = here / "first" / "ramp_dqinit.fits"
    assert first.read_bytes() == (here / "ramp_dqinit.fits").read_bytes()


@pytest.mark.parametrize(
    "made", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))]
)
def test_copies_of_a_result(
    here: Path, begun: list[Headstart], monkeypatch: pytest.MonkeyPatch, made: Callable[[Any], Any]
) -> None:
    others: list[Any] = []

    def keep(_: object, result: Any, __: object) -> None:
        others.append(made(result))

    monkeypatch.setattr(DQInitStep, "finalize_result", keep)
    ramp = make_ramp(here / "ramp_uncal.fits")
    DQInitStep.call(ramp, save_results=True)
    expected = (here / "ramp_dqinit.fits").read_bytes()
    others[0].save("ramp_dqinit.fits")
    assert (here / "ramp_dqinit.fits").read_bytes() == expected
    assert len(begun) == 1


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
