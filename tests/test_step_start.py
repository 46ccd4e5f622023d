"""What the step does before it knows the flags: nothing of crds imported, the copy begun.

What could go wrong: stpipe's own way to crds broken for the steps of others; the copy of a result
that is not saved, or saved elsewhere, left behind; an output that is not what it would be without.
"""

import copy
import errno
import gc
import os
import pickle
from collections.abc import Callable, Iterator
from importlib import metadata
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


SLOW = ["crds", "astropy", "requests"]
if any(needed.startswith("astropy") for needed in metadata.requires("stpipe") or ()):
    SLOW.remove("astropy")  # stpipe before 1.0 imports it for itself


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


TELL = f"""
import sys
def loaded():
    return [name for name in {SLOW} if name in sys.modules]
"""


def run(folder: Path, code: str, *words: object, **options: Any) -> str:
    """Run a program in a process of its own; return what it prints."""
    program = folder / "program.py"
    program.write_text(TELL + code)
    done = run_python(program, *words, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_ramp_is_flagged_without_crds(here: Path) -> None:
    ramp = make_ramp(here / "ramp_uncal.fits")
    code = (
        "from tmt_dq import DQInitStep\n"
        "DQInitStep.call(sys.argv[1], save_results=True)\n"
        "assert 'stpipe' in sys.modules\n"
        "print(loaded())"
    )
    assert run(here, code, ramp, cwd=here).splitlines()[-1] == "[]"
    assert (here / "ramp_dqinit.fits").exists()


def test_what_stpipe_has_of_crds_is_the_real_thing(here: Path) -> None:
    code = """
import tmt_dq.step.step, importlib
before = loaded()
import stpipe.crds_client
from stpipe.crds_client import CrdsError, get_override_name
import crds
assert before == [] and stpipe.crds_client is importlib.import_module("stpipe.crds_client")
assert CrdsError is crds.CrdsError
assert stpipe.crds_client.crds is crds and stpipe.crds_client.get_svn_version() == crds.__version__
assert type(stpipe.crds_client).__name__ == "module"
assert get_override_name("flat") == "override_flat"
print("as ever")
"""
    assert run(here, code) == "as ever"


def test_looking_at_all_modules_loads_nothing(here: Path) -> None:
    code = """
import inspect, tmt_dq.step
client = sys.modules["stpipe.crds_client"]
for module in list(sys.modules.values()):
    for name in ("__file__", "__path__", "__warningregistry__", "__spec__", "__doc__"):
        getattr(module, name, None)
inspect.getmodule(sys._getframe())
assert loaded() == [] and client.__file__.endswith("crds_client.py")
import astropy.time
assert "crds" not in loaded() and "requests" not in loaded()
assert "get_reference_file" in dir(client)
print(loaded())
"""
    assert run(here, code) == str(SLOW)


@pytest.mark.parametrize(
    "use",
    [
        "from stpipe.crds_client import *; assert CrdsError and get_reference_file",
        "assert 'get_reference_file' in vars(client)",
        "import importlib; assert importlib.reload(client) is client and type(client) is type(sys)",
        # What a function that is sent to a dask worker takes along.
        "import cloudpickle; assert cloudpickle.loads(cloudpickle.dumps(client)) is client",
    ],
)
def test_ways_to_look_at_a_module(here: Path, use: str) -> None:
    code = f"""
import tmt_dq.step.step
from stpipe import crds_client as client
assert "crds" not in sys.modules
{use}
print(client.get_override_name("flat"))
"""
    assert run(here, code) == "override_flat"


def test_what_is_put_in_its_place_stays_there(here: Path) -> None:
    code = """
import tmt_dq.step.step, stpipe
stpipe.crds_client.get_reference_file = "mine"
assert loaded()
assert stpipe.crds_client.check_reference_open("N/A") == "N/A"
del stpipe.crds_client.get_override_name
print(stpipe.crds_client.get_reference_file, hasattr(stpipe.crds_client, "get_override_name"))
"""
    assert run(here, code) == "mine False"


def test_without_crds_it_is_said_when_crds_is_used_and_again(here: Path) -> None:
    code = """
import tmt_dq.step.step, stpipe
sys.modules["crds"] = None  # what makes an import fail
for _ in range(2):
    try:
        stpipe.crds_client.get_reference_file
    except ImportError as error:
        print(error)
del sys.modules["crds"]
print(stpipe.crds_client.get_override_name("flat"))
"""
    halted = "import of crds halted; None in sys.modules"
    assert run(here, code).splitlines() == [halted, halted, "override_flat"]


def test_threads_wait_for_what_another_loads(here: Path) -> None:
    code = """
import threading, tmt_dq.step, stpipe
found, barrier = [], threading.Barrier(8)
def use():
    barrier.wait()
    found.append(stpipe.crds_client.get_override_name("flat"))
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), set(found))
"""
    assert run(here, code) == "8 {'override_flat'}"


def test_crds_log_is_silenced_and_restored_by_steps_that_ask_for_it(here: Path) -> None:
    # What stpipe does around a run of jwst's steps, which name CRDS among their loggers.
    code = """
import tmt_dq.step.step
try:
    from stpipe import _log
except ImportError:  # stpipe before 1.0
    print([True, False, True])
    sys.exit()
from crds.core import log
told = [log.THE_LOGGER.console is not None]
with _log.LogConfig([]).context(["CRDS"]):
    told.append(log.THE_LOGGER.console is not None)
told.append(log.THE_LOGGER.console is not None)
print(told)
"""
    assert run(here, code) == "[True, False, True]"


@pytest.mark.parametrize("first", ["stpipe", "crds"])
def test_what_is_imported_before_stays_as_it_is(here: Path, first: str) -> None:
    # importlib_metadata adds a finder of its own: stpipe imports it, crds on Python 3.11 only.
    code = f"""
import importlib_metadata, {first}
paths = list(sys.meta_path)
import tmt_dq.step.step
import stpipe
assert type(sys.modules["stpipe.crds_client"]).__name__ == "module"
assert sys.meta_path == paths
print(stpipe.crds_client.crds is sys.modules["crds"])
"""
    assert run(here, code) == "True"


def test_the_import_system_is_left_as_it_was(here: Path) -> None:
    # importlib_metadata, which stpipe imports, adds a finder of its own.
    code = """
import importlib_metadata
paths = list(sys.meta_path)
import tmt_dq.step.step
print(sys.meta_path == paths)
"""
    assert run(here, code) == "True"


def test_other_steps_ask_crds_as_ever(here: Path) -> None:
    code = """
import tmt_dq.step.step
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
assert "override_flat" in Flat.load_spec_file() and "crds" in sys.modules
try:
    Flat().run("ramp.fits")
except SystemExit as error:  # what crds does where there is neither cache nor server
    print("crds said", error.code)
"""
    env = {"CRDS_PATH": str(here), "CRDS_SERVER_URL": "http://127.0.0.1:9", "CRDS_MODE": "local"}
    assert run(here, code, env=env) == "crds said -1"


def test_a_step_made_of_this_one_has_its_references() -> None:
    class More(DQInitStep):  # type: ignore[misc]
        reference_file_types = ["mask", "flat"]  # noqa: RUF012 - stpipe's own form

    spec = More.load_spec_file()
    assert {"override_mask", "override_flat", "user_supplied_dq"} <= set(spec)
    ours = DQInitStep.load_spec_file()
    assert ours["override_mask"] == spec["override_mask"] == "is_string_or_datamodel(default=None)"
    assert ours.inline_comments["override_mask"] == spec.inline_comments["override_mask"]
