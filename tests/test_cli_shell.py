"""The command line in the shell: completion, colours, JSON, suggestions, ends by a signal."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from builders import CONVENTION, arrays, invoke, make_mask, make_ramp, run_python
from delivery_helpers import deliverable, small_cache
from tmt_dq import cli

COMMAND = Path(sys.executable).with_name("tmt-dq")
VERBS = [verb for verb in cli.VERBS if verb != "crds"]


def test_completion_is_quick_and_silent() -> None:
    """Asked as a shell asks, in a process of its own; files and folders are left to the shell."""
    code = (
        "import sys\n"
        "from tmt_dq.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "slow = 'astropy crds stpipe stdatamodels asdf rich matplotlib'\n"
        "print(sorted(set(slow.split()) & set(sys.modules)), file=sys.stderr)\n"
    )
    for words, position, expected in (
        ("tmt-dq ", 1, "plain,apply"),
        ("tmt-dq apply --ov", 2, "plain,--overwrite"),
        ("tmt-dq apply --unknown ", 3, "plain,drop"),
        ("tmt-dq apply --mask ", 3, "file,"),
        ("tmt-dq apply --output-dir ", 3, "dir,"),
        ("tmt-dq batch ", 2, "file,"),
        ("tmt-dq deliver x --crds-path /da", 4, "dir,/da"),
        ("tmt-dq watch ", 2, "dir,"),
    ):
        asked = {"_TMT_DQ_COMPLETE": "bash_complete", "COMP_WORDS": words}
        done = run_python("-c", code, env={**os.environ, **asked, "COMP_CWORD": str(position)})
        assert expected in done.stdout.splitlines()
        assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_script_is_one_of_the_shell(name: str, folder: Path) -> None:
    outcome = invoke("completion", name, code=0)
    script = folder / "script"
    script.write_text(outcome.out)
    assert f"_TMT_DQ_COMPLETE={name}_complete" in outcome.out
    if shutil.which(name) is not None:
        subprocess.run([name, "-n", script], check=True, timeout=60)


def test_script_of_bash_completes() -> None:
    asks = """
    eval "$(tmt-dq completion bash)"
    COMP_WORDS=(tmt-dq import x --do) COMP_CWORD=3
    _tmt_dq_completion tmt-dq
    printf '%s\\n' "${COMPREPLY[@]}"
    complete -p tmt-dq
    """
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", asks],
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *found, registered = done.stdout.splitlines()
    assert found == ["--do-not-use"]
    assert "-F _tmt_dq_completion tmt-dq" in registered
    assert done.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples_that_are_commands(verb: str) -> None:
    """Each example's words are options and arguments that the verb takes."""
    text = invoke(verb, "--help").out
    examples = re.findall(rf"^ +(?:.*[|(] *)?tmt-dq {verb} ([^|)#>&\n]+)", text, re.MULTILINE)
    assert examples, text
    command = cli.load(verb)
    for example in examples:
        words = [word.strip("'\"") for word in example.split()]
        command.make_context(verb, words, resilient_parsing=False)


def test_hints_name_the_options_of_the_verb(folder: Path) -> None:
    """A list is read by import and by apply, whose options have other names."""
    ramp, mask = make_ramp(folder / "a.fits"), make_mask(folder / "m.fits")
    listed = folder / "hot.txt"
    for text, option in (
        ("x y\n3 2\n", "base"),
        ("# base: 1\nx y\n3 2\n", "flag"),
        ("3 2\n", "columns"),
        ("# base: 1\nx y flag\n3 2 16\n", "values"),
    ):
        listed.write_text(text)
        imported = invoke("import", listed, "--detector", "IRIS1", "-o", folder / "o.fits")
        assert f"(--{option} " in imported.err or f" --{option} " in imported.err
        applied = invoke("apply", ramp, "--mask", mask, "--user-dq", listed)
        assert applied.code == imported.code == 2
        assert f"--user-{option} " in applied.err
        assert not re.search(r"--(flag|base|columns|values)\b", applied.err)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make click take what it writes to for a terminal."""
    monkeypatch.setattr("click._compat.isatty", lambda _stream: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


RED = "\x1b[31m"


@pytest.mark.usefixtures("terminal")
def test_errors_are_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["apply", "missing.fits"]
    assert RED in invoke(*words).err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in invoke(*words).err
    monkeypatch.setenv("NO_COLOR", "")  # which counts as not set
    assert RED in invoke(*words).err
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in invoke(*words).err


def test_no_colours_elsewhere(folder: Path) -> None:
    assert "\x1b" not in invoke("apply", folder / "missing.fits").err
    mask = make_mask(folder / "m.fits")
    assert "\x1b" not in invoke("inspect", mask).out


@pytest.mark.contract
@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["select", "missing.fits"], 3, "RampFormatError"),
        (["inspect", "missing.fits"], 3, None),
        (["apply", "missing.fits"], 3, "RampFormatError"),
        (["certify", "missing.fits"], 4, "MaskFormatError"),
        (["rollback", "missing.json"], 8, "DeliveryError"),
        (["apply"], 2, "MissingParameter"),
        (["apply", "--no-such"], 2, "NoSuchOption"),
        (["aply"], 2, "NoSuchCommand"),
    ],
    ids=str,
)
def test_errors_as_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, kind: str | None
) -> None:
    monkeypatch.chdir(folder)
    plain = invoke(*words)
    outcome = invoke(*words, "--json", code=plain.code)
    assert kind is None or plain.code == code
    (line,) = outcome.err.splitlines()
    error = json.loads(line)["error"]
    assert set(error) == {"kind", "exit_code", "what", "where", "hint"}
    assert error["exit_code"] == plain.code
    assert kind is None or error["kind"] == kind
    assert error["what"] in plain.err
    if outcome.out:
        json.loads(outcome.out)


@pytest.mark.contract
def test_json_of_every_report_is_one_document(folder: Path, tmp_path: Path) -> None:
    ramp, mask = make_ramp(folder / "a.fits"), make_mask(folder / "m.fits")
    other = make_mask(folder / "n.fits", header={"AUTHOR": None})
    flagged = folder / "a_dqinit.fits"
    context = ("tmt_0100.pmap", "tmt_0100.pmap")
    expected: dict[tuple[Any, ...], tuple[int, set[str]]] = {
        ("select", ramp): (0, {"ramp", "mask", "path", "context", "cache", "rules"}),
        ("apply", ramp, "--mask", mask): (0, {"ramps"}),
        ("inspect", flagged): (0, {"path", "instrument", "detector", "pixels", "flags"}),
        ("diff", mask, other): (0, {"old", "new", "differing", "flags", "pixels"}),
        ("explain", flagged, "--pixel", "1,1"): (0, {"x", "y", "value", "flags", "history"}),
        ("certify", other): (7, {"masks"}),
        ("affected", *context, ramp): (0, {"exposures"}),
        ("combine", mask, "--dry-run"): (0, {"output", "written", "counts", "sources"}),
        ("batch", ramp, "--output-dir", tmp_path / "o", "--dry-run"): (0, {"plans"}),
    }
    for words, (code, keys) in expected.items():
        outcome = invoke(*words, "--json", code=code)
        assert keys <= set(json.loads(outcome.out))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Return the folder for temporary files of a process."""
    path = tmp_path / "scratch"
    path.mkdir()
    return path


def _ended(
    words: list[object], number: int, begun: Any, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command until `begun` returns true, then send it a signal."""
    # What ignores a signal, as nohup does, hands that down.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            [COMMAND, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
    finally:
        signal.signal(number, before)
    deadline = time.monotonic() + 60
    while not begun() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_temporary_copy(folder: Path, scratch: Path, number: int) -> None:
    """CRDS' own certify takes two seconds, in which the copy of the mask lies in TMPDIR."""
    root, mask = small_cache(folder / "cache"), deliverable(folder / "mask.fits")
    done = _ended(
        ["deliver", mask, "--cache", root, "--yes"],
        number,
        lambda: list(scratch.rglob("*.fits")),
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert done.returncode == 128 + number
    assert done.stdout == ""
    name = signal.Signals(number).name
    assert done.stderr == f"Error: Ended by {name}; nothing half-written is left behind.\n"
    assert list(scratch.iterdir()) == []
    assert not (root / "mappings/tmt/tmt_0002.pmap").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_ramps(folder: Path, number: int) -> None:
    (folder / "red").mkdir()
    ramps = [make_ramp(folder / f"{count}.fits") for count in range(200)]
    mask = make_mask(folder / "mask.fits")
    done = _ended(
        ["apply", *ramps, "--mask", mask, "--output-dir", folder / "red", "--json"],
        number,
        lambda: any((folder / "red").iterdir()),
    )
    assert done.returncode == 128 + number
    error = json.loads(done.stderr.strip().splitlines()[-1])["error"]
    assert (error["kind"], error["exit_code"]) == ("Interrupted", 128 + number)
    # Those that were done are in the report, which is complete all the same, and on the disk. The
    # last one may have got its name just before the signal.
    reported = json.loads(done.stdout)["ramps"]
    outputs = list((folder / "red").iterdir())
    assert len(outputs) - len(reported) in {0, 1}
    assert 0 < len(outputs) < 200
    for output in outputs:
        assert output.name.endswith("_dqinit.fits")
        assert fits.getheader(output)["S_DQINIT"] == "COMPLETE"
        assert arrays(output)["PIXELDQ"][0, 0] == CONVENTION["DEAD"]


def test_sigterm_ends_the_workers_of_a_batch(folder: Path, tmp_path: Path) -> None:
    for number in range(200):
        make_ramp(folder / f"{number}_uncal.fits")
    mask = make_mask(tmp_path / "mask.fits")
    out = tmp_path / "out"
    done = _ended(
        ["batch", folder, "--output-dir", out, "--mask", mask, "--jobs", "2"],
        signal.SIGTERM,
        lambda: out.is_dir() and any(out.glob("*_dqinit.fits")),
        start_new_session=True,
    )
    # communicate() returned: no worker holds the pipes any more.
    assert done.returncode == 143
    assert "Traceback" not in done.stderr
    assert 0 < len(list(out.glob("*_dqinit.fits"))) < 200


def test_nohup_is_respected(folder: Path) -> None:
    """A signal that the shell has set to be ignored stays ignored."""
    code = (
        "import signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import tmt_dq.apply.apply\n"
        "from tmt_dq.cli import run\n"
        "def hung_up(*arguments, **options):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    raise KeyError('went on')\n"
        "tmt_dq.apply.apply.apply_dq = hung_up\n"
        "run(['apply', 'a.fits'])\n"
    )
    assert "KeyError: 'went on'" in run_python("-c", code).stderr
