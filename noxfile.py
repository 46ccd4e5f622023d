"""The tests in other environments than `.venv`: `nox -l` lists them, `make nox` runs two.

Interpreters are looked for here, pyenv's included, and never downloaded; a session whose Python is
missing says so and is skipped.
"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["oldest", "newest"]
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSIONS = [
    match[1]
    for classifier in PROJECT["classifiers"]
    if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
]
USED = ("plot", "distributed", "remote", "watch")
"""The extras that src imports: their lowest versions are tried too."""

# A shim of pyenv for a version that is not switched on is there, and fails.
if pyenv := shutil.which("pyenv"):
    versions = subprocess.run(  # noqa: S603 - no word of it is from outside
        [pyenv, "versions", "--bare"], capture_output=True, text=True, check=True
    ).stdout.split()
    os.environ["PYENV_VERSION"] = ":".join(
        version for version in versions if version.rpartition(".")[0] in VERSIONS
    )
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
os.environ.pop("PYTHONPATH", None)

FOUND = [version for version in VERSIONS if shutil.which(f"python{version}")]


def run_tests(session: nox.Session) -> None:
    """Run the tests; ``nox -s oldest -- -x tests/test_apply.py`` hands on what follows ``--``."""
    arguments = session.posargs or ["-q", "-n", os.environ.get("JOBS", "2")]
    session.run("python", "-m", "pytest", *arguments)


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Run the tests with the pinned versions, on each Python."""
    session.install("-c", "constraints.txt", "-e", ".[dev]")
    run_tests(session)


@nox.session(python=VERSIONS[0])
def oldest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, on the oldest Python."""
    lowest = Path(session.virtualenv.location) / "lowest.txt"
    extras = [word for extra in USED for word in ("--extra", extra)]
    session.run_install(
        *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        *("--resolution", "lowest-direct", "--python-version", VERSIONS[0], *extras),
        *("--output-file", str(lowest), "pyproject.toml"),
    )
    session.install("-c", str(lowest), "-e", ".[dev]")
    run_tests(session)


@nox.session(python=FOUND[-1:] or VERSIONS[-1])
def newest(session: nox.Session) -> None:
    """Run the tests with the newest versions of everything, on the newest Python found."""
    session.install("--upgrade", "-e", ".[dev]")
    run_tests(session)


@nox.session
def citation(session: nox.Session) -> None:
    """Hold CITATION.cff against the schema of its format."""
    session.install("cffconvert==2.0.0")
    session.run("cffconvert", "--validate")
