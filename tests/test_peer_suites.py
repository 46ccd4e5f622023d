"""The peers' own tests of dq_init, unchanged, with our implementation behind them.

Each test passes, or `peer_suites.toml` lists it with the reason. `make peer-suites` runs them.
"""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from builders import make_mask, peer_python
from reference_helpers import declare_context, write_rules

HERE = Path(__file__).parent
LISTED = tomllib.loads((HERE / "peer_suites.toml").read_text())
SHAPES = {"MIRI": ("MIRIMAGE", (1024, 1032)), "FGS": ("GUIDER1", (2048, 2048))}


def _make_cache(cache: Path) -> None:
    """Make rules and clean masks for the exposures of jwst's tests that select one."""
    imaps = {name: f"jwst_{name.lower()}_0001.imap" for name in SHAPES}
    for instrument, (detector, shape) in SHAPES.items():
        rules = {(detector, "GENERIC"): {"2015-10-01 00:00:00": f"{instrument}.fits"}}
        references = write_rules(cache, "jwst", instrument, rules, others=imaps)
        header = {"TELESCOP": "JWST", "INSTRUME": instrument, "DETECTOR": detector}
        make_mask(references / f"{instrument}.fits", np.zeros(shape, np.uint32), header=header)
    declare_context(cache, "jwst")


def _run(peer: str, seam: str, folder: Path) -> dict[str, str]:
    """Run a peer's tests in its environment; return the outcome of each."""
    python = peer_python(peer)
    _make_cache(folder / "cache")
    variables = {
        "TMT_DQ_INSTRUMENTS": str(HERE / "instruments"),
        "CRDS_PATH": str(folder / "cache"),
        "CRDS_SERVER_URL": "https://no-server.invalid",
        "STPIPE_DISABLE_CRDS_STEPPARS": "true",
        "PYTHONPATH": str(HERE),
    }
    outcomes = folder / "outcomes.json"
    words = ["-q", "-p", "no:cacheprovider", "-p", "peer_seams", "--seam", f"{peer}.{seam}"]
    words += ["--outcomes", str(outcomes), "--pyargs", f"{peer}.dq_init"]
    done = subprocess.run(
        [python, "-m", "pytest", *words],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcomes.is_file(), done.stdout + done.stderr
    found: dict[str, str] = json.loads(outcomes.read_text())
    return found


@pytest.mark.parametrize(
    ("peer", "seam", "number"),
    [("jwst", "core", 19), ("jwst", "files", 19), ("jwst", "step", 19), ("romancal", "core", 10)],
)
def test_each_test_passes_or_is_listed(folder: Path, peer: str, seam: str, number: int) -> None:
    outcomes = _run(peer, seam, folder)
    assert len(outcomes) == number
    listed = {
        test: entry["reason"]
        for entry in LISTED.get(peer, ())
        if seam in entry["seams"]
        for test in entry["tests"]
    }
    good = {test for test, outcome in outcomes.items() if outcome == "passed"}
    others = {test: outcome for test, outcome in outcomes.items() if test not in good}
    assert {test: others[test][-3000:] for test in others.keys() - listed.keys()} == {}
    assert listed.keys() - others.keys() == set(), "listed, but they pass or do not exist"
    assert all(listed.values())
