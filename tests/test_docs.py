"""The documentation is true: every block of code in README.md and below docs is run.

The blocks of a page run one after the other in an empty folder that holds a small simulated ramp,
under the two names that the pages use. Blocks of Python share their names; a block of ``console``
is commands (``$ …``) with the output that they must print, where ``...`` stands for any text. A
block that cannot be run here has the reason in a comment above it: ``<!-- not run: … -->``.

What could go wrong: an example that was true once; a link to nothing; a verb, option or field that
no page knows; a description of an instrument that is not the one in use.
"""

import dataclasses
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from builders import invoke
from page_blocks import RUN, SHOWN, blocks, run_blocks
from tmt_dq.cli.options import source_options
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.simulate import simulate_ramp

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
]


def named(page: Path) -> str:
    """Return the name of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def small_ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_ramp(
        tmp_path_factory.mktemp("docs") / "ramp.fits", window=Window(0, 0, 128, 128)
    )


@pytest.fixture
def page_folder(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    small_ramp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Return the folder in which a page runs, with the files that the pages speak of."""
    folder = tmp_path / "page"
    (folder / "demo-output").mkdir(parents=True)
    for name in ("demo-output/iris_demo_uncal.fits", "iris_0001_uncal.fits"):
        shutil.copy(small_ramp, folder / name)
    if request.node.callspec.params["page"] == ROOT / "README.md":
        # README shows what is printed about the demo's ramp, which is a full frame. How many reads
        # it has is not shown.
        simulate_ramp(folder / "demo-output/iris_demo_uncal.fits", ngroups=2, overwrite=True)
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


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN, f"{named(page)}, line {block.line}"
        if block.language == "" and block.reason is None:
            assert not block.text.lstrip().startswith(("$", "tmt-dq ")), "commands are `sh`"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_the_readme_lists_every_verb() -> None:
    help_text = invoke("--help").out
    verbs = re.findall(r"^  (\w+)  ", help_text.partition("Verbs:")[2], re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert rows == verbs


def test_the_page_of_the_instruments_shows_liger_as_it_is_described() -> None:
    page = DOCS / "how_to" / "add_an_instrument.md"
    shown = [block.text for block in blocks(page) if block.language == "toml"]
    described = (ROOT / "src" / "tmt_dq" / "instruments" / "liger.toml").read_text("utf-8")
    assert [tomllib.loads(text) for text in shown] == [tomllib.loads(described)]


def test_the_page_of_the_flag_sources_names_every_field_and_option() -> None:
    text = (DOCS / "topics" / "flag_sources.md").read_text("utf-8")
    fields = [field.name for field in dataclasses.fields(Recipe)]
    assert [name for name in fields if f"`{name}`" not in text] == []

    def command() -> None:
        """Carry the options."""

    options = [option.opts[0] for option in source_options(command).__click_params__]  # type: ignore[attr-defined]
    assert options
    assert [name for name in options if f"`{name}" not in text] == []
