"""The command line: exit codes, what it prints and where, several ramps, Ctrl-C."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import folder_state, invoke, make_mask, make_ramp, run_cli, run_python
from tmt_dq import __version__

COMMAND = Path(sys.executable).with_name("tmt-dq")


def test_version() -> None:
    assert invoke("--version").out == f"tmt-dq, version {__version__}\n"


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ([], ["--help"]),
        (["help"], ["--help"]),
        (["help", "apply"], ["apply", "--help"]),
        (["help", "crds"], ["crds", "--help"]),
        (["version"], ["--version"]),
        (["apply", "-h"], ["apply", "--help"]),
    ],
    ids=str,
)
def test_other_ways_to_ask(words: list[str], same: list[str]) -> None:
    outcome = invoke(*words, code=0)
    assert outcome == invoke(*same)
    assert outcome.out


@pytest.mark.parametrize(
    ("verb", "name", "alias"),
    [
        ("deliver", "--crds-path DIR", "--cache=a"),
        ("select", "--crds-path DIR", "--cache=a"),
        ("import", "--description TEXT", "--descrip=a"),
        ("apply", "--guide-windows-from-file", "--guide-windows"),
        ("apply", "--mask FILE", "--override-mask=a"),
    ],
)
def test_aliases_are_taken_and_not_listed(verb: str, name: str, alias: str) -> None:
    shown = invoke(verb, "--help").out
    assert name in shown
    assert f"{alias.partition('=')[0]} " not in shown
    assert "Missing argument" in invoke(verb, alias).err


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from tmt_dq.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "slow = 'numpy astropy crds stpipe stdatamodels asdf rich matplotlib'\n"
        "print(sorted(set(slow.split()) & set(sys.modules)), file=sys.stderr)\n"
    )
    assert run_python("-c", code).stderr == "[]\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["aply"], "Did you mean 'apply'?"),
        (["apply", "a.fits", "--overwrit"], "'--overwrite'"),
        (["apply", "a.fits", "--user-flags", "HOT"], "--user-flag"),
        (["apply", "a.fits", "--user-flag", "HOT"], "--user-dq FILE"),
        (["completion"], "\n  bash,"),
        (["apply"], "Missing argument 'RAMP...'"),
        (["select"], "Missing argument 'RAMP'"),
        (["apply", "a.fits", "--no-such-option"], "No such option"),
        (["apply", "a.fits", "--subarray", "1"], "is not X,Y; expected 2 whole numbers"),
        (["apply", "a.fits", "--subarray", "1,2,3"], "is not X,Y; expected 2 whole numbers"),
        (["apply", "a.fits", "--subarray", "one,two"], "is not X,Y; expected 2 whole numbers"),
        (["apply", "a.fits", "--subarray", "1.5,2"], "is not X,Y; expected 2 whole numbers"),
        (["apply", "a.fits", "--unknown", "guess"], "'guess' is not one of"),
        (["apply", "a.fits", "b.fits", "-o", "c.fits"], "--output names one file"),
        (["apply", "a.fits", "-o", "b.fits", "--output-dir", "c"], "expected one of them"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    outcome = invoke(*words, code=2)
    assert message in outcome.err
    assert outcome.err.startswith("Error: ")
    assert outcome.out == ""


def test_whole_process(folder: Path) -> None:
    ramp, mask = make_ramp(folder / "a_uncal.fits"), make_mask(folder / "mask.fits")
    done = run_cli("apply", ramp, "--mask", mask)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a_dqinit.fits  COMPLETE" in done.stdout
    assert str(mask) in done.stdout
    again = run_cli("apply", ramp, "--mask", mask, code=10)
    assert again.stdout == ""
    assert again.stderr.startswith(f"Error: {folder / 'a_dqinit.fits'}: already exists\nHint: ")


def test_table_of_flags_and_bits_left_out(folder: Path) -> None:
    outcome = invoke(
        "apply", make_ramp(folder / "a.fits"), "--mask", make_mask(folder / "mask.fits")
    )
    rows = [line.split() for line in outcome.out.splitlines()]
    # 48 pixels: one DEAD, one HOT and DO_NOT_USE.
    assert ["flag", "pixels", "share"] in rows
    for row in (
        ["GOOD", "46", "95.833", "%"],
        ["DO_NOT_USE", "1", "2.083", "%"],
        ["DEAD", "1", "2.083", "%"],
        ["HOT", "1", "2.083", "%"],
    ):
        assert row in rows
    mask = make_mask(folder / "mask.fits", np.full((6, 8), 2, np.uint32), rows=[(0, 1, "HOT")])
    ramp = make_ramp(folder / "b.fits")
    outcome = invoke("apply", ramp, "--mask", mask, "--unknown", "drop", code=0)
    assert f"left out as asked, from {mask}: bit 1 of 48 pixels" in outcome.out


@pytest.mark.contract
def test_json(folder: Path) -> None:
    ramps = [make_ramp(folder / f"{name}.fits", (2, 3, 6, 8)) for name in "ab"]
    mask = make_mask(folder / "mask.fits")
    outcome = invoke("apply", *ramps, "--mask", mask, "--json", code=0)
    reports = json.loads(outcome.out)["ramps"]
    assert [report["input"] for report in reports] == [str(ramp) for ramp in ramps]
    report = reports[0]
    assert report["output"] == str(folder / "a_dqinit.fits")
    assert report["status"] == "COMPLETE"
    assert report["mask"] == report["mask_path"] == str(mask)
    assert report["context"] is None
    assert report["shape"] == [2, 3, 6, 8]
    assert report["counts"] == {"GOOD": 46, "DO_NOT_USE": 1, "DEAD": 1, "HOT": 1}
    assert report["sources"][0]["flagged"] == 2
    assert report["left_out"] == {}
    assert report["seconds"] >= 0


def test_one_bad_ramp_does_not_stop_the_others(folder: Path) -> None:
    ramps = [make_ramp(folder / "a.fits"), folder / "missing.fits", make_ramp(folder / "c.fits")]
    words = ("apply", *ramps, "--mask", make_mask(folder / "mask.fits"), "--overwrite")
    outcome = invoke(*words, "-q", code=9)
    assert "missing.fits: cannot be read: No such file" in outcome.err
    assert outcome.err.rstrip().endswith("1 of 3 ramps failed")
    outputs = [path.name for path in folder.glob("*_dqinit.fits")]
    assert sorted(outputs) == ["a_dqinit.fits", "c_dqinit.fits"]
    outcome = invoke(*words, "--json", code=9)
    done, failed, _ = json.loads(outcome.out)["ramps"]
    assert (failed["input"], done["status"]) == (str(ramps[1]), "COMPLETE")
    assert (failed["error"]["kind"], failed["error"]["exit_code"]) == ("RampFormatError", 3)
    assert [json.loads(line)["error"]["exit_code"] for line in outcome.err.splitlines()] == [3, 9]


@pytest.mark.parametrize("overwrite", [True, False])
def test_two_ramps_with_one_output(folder: Path, overwrite: bool) -> None:
    # With --overwrite, the second would silently replace the first.
    for name in ("one", "two", "red"):
        (folder / name).mkdir()
    ramps = [make_ramp(folder / name / "a.fits") for name in ("one", "two")]
    words = ["apply", *ramps, "--mask", make_mask(folder / "mask.fits"), "-q"]
    words += ["--output-dir", folder / "red"] + (["--overwrite"] if overwrite else [])
    before = folder_state(folder)
    outcome = invoke(*words, code=2)
    assert f"red/a_dqinit.fits, is that of {ramps[0]}" in outcome.err
    assert folder_state(folder) == before


def test_an_output_is_never_a_ramp_of_the_same_run(folder: Path) -> None:
    # `tmt-dq apply *.fits --overwrite`, for the second time.
    mask = make_mask(folder.parent / "mask.fits")
    make_ramp(folder / "a.fits")
    assert invoke("apply", folder / "a.fits", "--mask", mask).code == 0
    before = folder_state(folder)
    outcome = invoke("apply", *sorted(folder.iterdir()), "--mask", mask, "--overwrite", code=2)
    assert "a ramp to be read as well" in outcome.err
    assert folder_state(folder) == before


@pytest.mark.parametrize("verb", ["apply", "select"])
def test_a_pipe_is_refused_at_once(folder: Path, verb: str) -> None:
    os.mkfifo(folder / "pipe.fits")
    done = run_cli(verb, folder / "pipe.fits", timeout=20, code=3)
    assert "not a regular file" in done.stderr


def test_a_bug_shows_a_traceback(folder: Path) -> None:
    code = (
        "import sys\n"
        "import tmt_dq.apply.apply\n"
        "from tmt_dq.cli import main\n"
        "def bug(*arguments, **options): raise ZeroDivisionError('a bug of ours')\n"
        "tmt_dq.apply.apply.apply_dq = bug\n"
        "main(['apply', 'a.fits'])\n"
    )
    done = run_python("-c", code, code=1)
    assert "Traceback" in done.stderr
    assert "a bug of ours" in done.stderr


def test_select(folder: Path, cache_dir: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", header={"DETECTOR": "IMG3"})
    before = folder_state(folder)
    outcome = invoke("select", ramp, code=0)
    path = Path(outcome.out.removesuffix("\n"))
    assert (path.name, outcome.err) == ("tmt_iris_mask_0103.fits", "")
    assert path.is_relative_to(cache_dir)
    assert fits.getheader(path)["DETECTOR"] == "IRIS3"
    first, context, *table = invoke("select", ramp, "--explain").out.splitlines()
    assert first == str(path)
    assert context.startswith("context tmt_0100.pmap of ")
    for part in ("rule key", "required", "found", "matched", "DETECTOR", "IRIS3", "2026-05-01"):
        assert part in "\n".join(table)
    assert folder_state(folder) == before


@pytest.mark.contract
@pytest.mark.parametrize(
    "subarray", ["FULL", "CUSTOM", "GENERIC", "N/A", "full", "*", "UNDEFINED", "", None]
)
@pytest.mark.parametrize(
    ("date", "moment", "found"),
    [
        ("2015-09-30", "23:59:59.999", False),
        ("2015-10-01", "00:00:00", True),
        ("2100-01-01", "23:59:59", True),
    ],
)
def test_published_rules(
    shared: Path, folder: Path, subarray: str | None, date: str, moment: str, found: bool
) -> None:
    cache = folder / "cache"
    shutil.copytree(shared / "tmt_mappings", cache / "mappings" / "tmt")
    references = cache / "references" / "tmt" / "iris"
    references.mkdir(parents=True)
    mask = make_mask(references / "tmt_iris_mask_0001.fits")
    header = {"DATE-OBS": date, "TIME-OBS": moment, "SUBARRAY": subarray}
    ramp = make_ramp(folder / "ramp.fits", header=header)
    words = (ramp, "--crds-path", cache, "--context", "tmt_0001.pmap")
    outcome = invoke("select", *words)
    if found:
        assert (outcome.code, outcome.out) == (0, f"{mask}\n")
        assert invoke("apply", *words, "-o", folder / "out.fits").code == 0
        header = dict(fits.getheader(folder / "out.fits"))
        assert header["R_MASK"] == "crds://tmt_iris_mask_0001.fits"
        assert header["CRDS_CTX"] == "tmt_0001.pmap"
    else:
        assert outcome.code == 6
        assert "2015-10-01" in outcome.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("select 0.fits --explain", 0),
        ("apply 0.fits 1.fits missing.fits --mask mask.fits --json", 9),
        ("batch 0.fits 1.fits missing.fits --output-dir . --mask mask.fits", 9),
    ],
)
def test_a_reader_that_has_seen_enough_stops_no_work(folder: Path, words: str, code: int) -> None:
    """`tmt-dq … | head -0`: the pipe is closed before anything is written into it."""
    for number in range(2):
        make_ramp(folder / f"{number}.fits")
    make_mask(folder / "mask.fits")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [COMMAND, *words.split()],
            cwd=folder,
            check=False,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    outputs = [fits.getheader(path)["S_DQINIT"] for path in folder.glob("*_dqinit.fits")]
    assert outputs == (["COMPLETE"] * 2 if code else [])
