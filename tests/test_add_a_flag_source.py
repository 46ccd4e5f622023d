"""The page "Add a source of flags" is true: its changes, made in a copy of the package, work.

What could go wrong: a file that has another name now; a change that no longer fits its place; a
new source that a face does not offer, or the output does not record.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import make_ramp, run_python
from page_blocks import blocks

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/how_to/add_a_flag_source.md"
BAD_ROW = (1 << 30) | 1  # OTHER_BAD_PIXEL and DO_NOT_USE


@dataclass(frozen=True)
class Change:
    """One block of the page, and the file below whose heading it stands."""

    file: str
    is_new: bool
    language: str
    text: str


def changes() -> list[Change]:
    heading = re.compile(r"### `(\S+)`( \(new\))?")
    lines = PAGE.read_text("utf-8").splitlines()
    found = []
    for block in blocks(PAGE):
        above = [match for line in lines[: block.line - 1] if (match := heading.fullmatch(line))]
        if above:
            file, new = above[-1].groups()
            found.append(Change(file, new is not None, block.language, block.text))
    return found


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository's files with the page's changes."""
    copy = tmp_path_factory.mktemp("changed")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for change in changes():
        path = copy / change.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if change.is_new:
            assert not (ROOT / change.file).exists()
            path.write_text(change.text, "utf-8")
            continue
        if not path.exists():
            shutil.copy(ROOT / change.file, path)
        text = path.read_text("utf-8")
        if change.language == "diff":
            lines = change.text.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] == " ")
            assert text.count(before) == 1, f"{change.file} has not one place for\n{change.text}"
            text = text.replace(before, "".join(line[1:] for line in lines))
        else:
            text = f"{text}\n\n{change.text}"
        path.write_text(text, "utf-8")
    return copy


def run(copy: Path, *arguments: str | Path) -> str:
    done = run_python(*map(str, arguments), env={**os.environ, "PYTHONPATH": str(copy / "src")})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_source_files_change() -> None:
    files = {change.file for change in changes()}
    assert len([file for file in files if file.startswith("src/")]) == 3


def test_the_function_of_the_page(changed: Path) -> None:
    """The page's own test passes, and positions outside are errors."""
    (test,) = [change.text for change in changes() if change.file == "tests/test_sources.py"]
    run(changed, "-c", f"{test}\ntest_bad_rows()")


@pytest.mark.parametrize("face", ["function", "apply", "batch", "step"])
def test_every_face_has_the_option(changed: Path, folder: Path, face: str) -> None:
    """The ramp has rows 201 to 206 of the detector."""
    ramp, out = make_ramp(folder / "a_uncal.fits", start=(101, 201)), folder / "a_dqinit.fits"
    verb = ("-m", "tmt_dq", face, ramp, "--mask", "N/A", "--bad-row", "202", "--bad-row", "7")
    function = f"from tmt_dq import apply_dq; apply_dq({str(ramp)!r}, mask='N/A', recipe="
    step = f"from tmt_dq import DQInitStep; DQInitStep.call({str(ramp)!r}, override_mask='N/A', "
    calls: dict[str, tuple[str | Path, ...]] = {
        "function": ("-c", f"{function}{{'bad_rows': (202, 7)}})"),
        "apply": verb,
        "batch": (*verb, "--output-dir", folder),
        "step": ("-c", f"{step}bad_rows=[202, 7], output_dir={str(folder)!r}, save_results=True)"),
    }
    run(changed, *calls[face])
    expected = np.zeros((6, 8), np.uint32)
    expected[1] = BAD_ROW
    with fits.open(out) as file:
        np.testing.assert_array_equal(file["PIXELDQ"].data, expected)
        assert any("bad rows caller (rows 202 7)" in line for line in file[0].header["HISTORY"])
