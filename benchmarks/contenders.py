"""What is compared: each contender is a command from one input file to one output file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import Peer

__all__ = ["COMPRESSED", "Contender", "compressed", "ours", "peer", "plain_copies"]

COMPRESSED = (".fits.gz", ".fits.fz")
"""Endings of compressed ramps."""

_DRIVERS = Path(__file__).parent / "drivers"


@dataclass(frozen=True, slots=True)
class Contender:
    """One column of the race.

    Parameters
    ----------
    name : str
        As it is shown.
    command : sequence of str
        The command; ``{input}``, ``{output}``, ``{folder}`` and ``{mask}`` are filled in.
    suffix : str
        Ending of the input's name.
    output : str
        Name of the output in the folder of outputs.
    env : mapping
        Variables.
    memory_per_read : int
        Memory that grows with the ramp, bytes a read; 0 where it does not.
    check : sequence of str
        The command that checks its output, ``{input}`` being the IRIS ramp; prints JSON.
    """

    name: str
    command: Sequence[str]
    suffix: str = ".fits"
    output: str = "output.fits"
    env: Mapping[str, str] = field(default_factory=dict)
    memory_per_read: int = 0
    check: Sequence[str] = ()


def plain_copies() -> list[Contender]:
    """Return ``cp``, and ``cp`` that waits for the disk as tmt-dq does."""
    return [
        Contender("cp", ("cp", "{input}", "{output}")),
        Contender(
            "cp, then sync",
            ("sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", "{input}", "{output}"),
        ),
    ]


def ours(cache: Path) -> list[Contender]:
    """Return the ways to run tmt-dq that this version has."""
    command = tmt_dq()
    env = {"TMT_DQ_CACHE_DIR": str(cache.resolve())}
    check = (sys.executable, "-m", "benchmarks.check", "{input}", "{output}", "{mask}")
    apply = (*command, "apply", "--quiet")
    found = [
        Contender("tmt-dq apply", (*apply, "{input}", "-o", "{output}"), env=env, check=check),
        Contender(
            "tmt-dq apply --no-sync",
            (*apply, "--no-sync", "{input}", "-o", "{output}"),
            env=env,
            check=check,
        ),
    ]
    step = _DRIVERS / "run_step.py"
    has_step = subprocess.run(
        [sys.executable, "-c", "import tmt_dq.step"], capture_output=True, check=False
    )
    if has_step.returncode == 0:
        found.append(
            Contender(
                "tmt-dq DQInitStep.call",
                (sys.executable, str(step), "{input}", "{folder}"),
                output="ramp_dqinit.fits",
                env=env | {"STPIPE_DISABLE_CRDS_STEPPARS": "true"},
                check=check,
            )
        )
    return found


def compressed(cache: Path) -> list[Contender]:
    """Return tmt-dq on compressed ramps, and what expands one."""
    env = {"TMT_DQ_CACHE_DIR": str(cache.resolve())}
    check = (sys.executable, "-m", "benchmarks.check", "{input}", "{output}", "{mask}")
    apply = (*tmt_dq(), "apply", "--quiet", "{input}", "-o", "{output}")
    expand = ("sh", "-c", 'gzip -dc "$1" > "$2"', "sh", "{input}", "{output}")
    found = [Contender("gzip -dc", expand, suffix=COMPRESSED[0])]
    for suffix in COMPRESSED:
        name = f"tmt-dq apply, {suffix}"
        found.append(Contender(name, apply, suffix=suffix, env=env, check=check))
    return found


def peer(which: Peer, folder: Path) -> Contender:
    """Return a peer's step, called as its documentation does."""
    python = str(which.python(folder))
    return Contender(
        f"{which.name} {which.version} DQInitStep.call",
        (python, str(which.script("run")), "{input}", "{mask}", "{folder}"),
        suffix=which.suffix,
        output=which.output,
        env=which.environment(folder),
        memory_per_read=which.memory_per_read,
        check=(python, str(which.script("make")), "--check", "{output}", "{input}", "{mask}"),
    )


def tmt_dq() -> list[str]:
    """Return the command line's command: the script that a user calls."""
    script = Path(sys.executable).with_name("tmt-dq")
    if os.access(script, os.X_OK):
        return [str(script)]
    found = shutil.which("tmt-dq")
    if found is None:
        raise FileNotFoundError("tmt-dq is not installed here; say: pip install -e .")
    return [found]
