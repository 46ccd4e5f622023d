"""Documentation that users follow is true: README, the pages and the examples of docstrings.

The blocks of a page run one after the other in an empty folder that holds a small simulated ramp,
under the two names that the pages use. Blocks of Python share their names; a block of ``console``
is commands (``$ …``) with the output that they must print, where ``...`` stands for any text. A
block that cannot be run here has the reason in a comment above it: ``<!-- not run: … -->``.
"""

import contextlib
import doctest
import importlib
import os
import pkgutil
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tmt_dq
from page_blocks import run_blocks
from tmt_dq.core.geometry import Window
from tmt_dq.demo import Demo, run_demo
from tmt_dq.simulate import simulate_ramp

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
]

pytestmark = pytest.mark.contract


def named(page: Path) -> str:
    """Return the name of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def small_ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "ramp.fits"
    return simulate_ramp(path, window=Window(0, 0, 128, 128))


@pytest.fixture
def page_folder(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    small_ramp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """Return the folder in which a page runs, with the files that the pages refer to."""
    folder = tmp_path / "page"
    (folder / "demo-output").mkdir(parents=True)
    for name in ("demo-output/iris_demo_uncal.fits", "iris_0001_uncal.fits"):
        shutil.copy(small_ramp, folder / name)
    if request.node.callspec.params["page"] == ROOT / "README.md":
        # README shows what is printed about the demo's ramp, which is a full frame. How many reads
        # it has is not shown.
        demo = Demo.of(folder / "demo-output")
        run_demo(demo, ngroups=2, watch=lambda _name, _size: contextlib.nullcontext())
    monkeypatch.chdir(folder)
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("COLUMNS", "120")
    yield folder
    # Caches of 400 MB are not to be kept for three sessions, as pytest keeps folders.
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(folder)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_runs(page: Path, page_folder: Path) -> None:
    run_blocks(page)


def docstring_examples() -> list[Any]:
    """Return all docstrings with examples."""
    names = [info.name for info in pkgutil.walk_packages(tmt_dq.__path__, "tmt_dq.")]
    # These two do something when they are imported.
    names = [name for name in names if name not in {"tmt_dq.__main__", "tmt_dq.jwst_compat"}]
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = map(importlib.import_module, ["tmt_dq", *names])
    found = {test.name: test for module in modules for test in finder.find(module)}
    return [pytest.param(found[name], id=name) for name in sorted(found) if found[name].examples]


@pytest.mark.parametrize("example", docstring_examples())
def test_examples_of_docstrings_run(
    example: doctest.DocTest, small_ramp: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(small_ramp, folder / "iris_0001_uncal.fits")
    monkeypatch.chdir(folder)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
