"""The example notebook: its script runs from a clean start; the committed rendering is of it."""

import os
import shutil
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from builders import run_python

pytestmark = pytest.mark.contract

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
SCRIPT = EXAMPLES / "initialize_bad_pixel_mask.py"
COMMITTED = SCRIPT.with_suffix(".ipynb")
HINT = "the rendering is out of date: run `make notebook` and commit the result"


def printed(notebook: Any) -> list[str]:
    """Return what the cells of a notebook print, one text a cell."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def pictures(notebook: Any) -> list[str]:
    """Return the pictures of a notebook, as base64."""
    return [
        output.data["image/png"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.large
def test_the_example_runs_from_a_clean_start_and_shows_what_is_committed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    scratch = tmp_path / "scratch"
    for folder in (home, scratch):
        folder.mkdir()
    rendered = tmp_path / "rendered.ipynb"
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "TMT_DQ_CACHE_DIR": os.environ["TMT_DQ_CACHE_DIR"],
        "LC_ALL": "C.UTF-8",
    }
    # The cells have asserts of their own: a wrong result ends the run.
    run_python(
        EXAMPLES / "render.py", "--output", rendered, timeout=300, env=clean, cwd=tmp_path, code=0
    )
    assert list(scratch.glob("tmt-dq-notebook-*")) == []
    fresh = nbformat.read(rendered, as_version=4)
    committed = nbformat.read(COMMITTED, as_version=4)
    assert printed(fresh) == printed(committed), HINT
    assert len(pictures(fresh)) == 1
    shutil.rmtree(scratch)


def test_the_committed_notebook_is_that_of_the_script_small_and_of_no_machine() -> None:
    script = jupytext.read(SCRIPT)
    committed = nbformat.read(COMMITTED, as_version=4)

    def cells(notebook: Any) -> list[tuple[str, str]]:
        return [(cell.cell_type, cell.source) for cell in notebook.cells]

    assert cells(committed) == cells(script), HINT
    content = COMMITTED.read_text("utf-8")
    assert len(content) < 500_000
    committed = nbformat.read(COMMITTED, as_version=4)
    nbformat.validate(committed)
    assert len(pictures(committed)) == 1
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    for part in ("/tmp/", "/home/", "/root/", "/work/", str(Path.home())):
        assert not [text for text in printed(committed) if part in text]
