"""The worked examples of the how-tos are true: their changes, made in a copy, work."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import make_ramp, run_python
from page_blocks import blocks

ROOT = Path(__file__).resolve().parents[1]
HOW_TO = ROOT / "docs/how_to"
SOURCE, KEYWORD, LIST_FORMAT = "add_a_flag_source", "add_a_keyword", "add_a_list_format"
PAGES = (SOURCE, KEYWORD, LIST_FORMAT)
FLAGS = {"HOT, DO_NOT_USE": (1 << 11) | 1, "OTHER_BAD_PIXEL, DO_NOT_USE": (1 << 30) | 1}


@dataclass(frozen=True)
class Change:
    """One block of a page, and the file in the heading above it."""

    file: str
    is_new: bool
    language: str
    text: str


@cache
def changes(page: str) -> tuple[Change, ...]:
    heading = re.compile(r"### `(\S+)`( \(new\))?")
    lines = (HOW_TO / f"{page}.md").read_text("utf-8").splitlines()
    found = []
    for block in blocks(HOW_TO / f"{page}.md"):
        above = [match for line in lines[: block.line - 1] if (match := heading.fullmatch(line))]
        if above:
            file, new = above[-1].groups()
            found.append(Change(file, new is not None, block.language, block.text))
    return tuple(found)


def change(text: str, diff: str, file: str) -> str:
    """Apply a block in the form of a diff, which has one place in the text."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    assert text.count(before) == 1, f"{file} has not one place for this diff of the page:\n{diff}"
    return text.replace(before, "".join(line[1:] for line in lines if line[0] != "-"))


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives a copy of the repository's files with a page's changes."""

    @cache
    def copy_of(page: str) -> Path:
        copy = tmp_path_factory.mktemp(page)
        shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "tests").mkdir()
        shutil.copy(ROOT / "tests/conftest.py", copy / "tests")
        for part in changes(page):
            path = copy / part.file
            path.parent.mkdir(parents=True, exist_ok=True)
            if part.is_new:
                assert not (ROOT / part.file).exists()
                path.write_text(part.text, "utf-8")
                continue
            if not path.exists():
                shutil.copy(ROOT / part.file, path)
            text = path.read_text("utf-8")
            if part.language == "diff":
                text = change(text, part.text, part.file)
            else:
                text = f"{text}\n\n{part.text}"
            path.write_text(text, "utf-8")
        return copy

    return copy_of


def run(copy: Path, *arguments: str | Path) -> str:
    path = os.pathsep.join([str(copy / "src"), str(ROOT / "tests")])
    done = run_python(*map(str, arguments), env={**os.environ, "PYTHONPATH": path}, code=0)
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_files(page: str, changed: Callable[[str], Path]) -> None:
    """A page names files that exist or that it makes, and at most three of the source."""
    copy = changed(page)
    text = (HOW_TO / f"{page}.md").read_text("utf-8")
    for name in re.findall(r"`((?:src|tests|docs|changes)/[^`]+)`", text):
        assert (ROOT / name).exists() or (copy / name).exists(), name
    files = {part.file for part in changes(page)}
    assert 1 <= len([file for file in files if file.startswith("src/")]) <= 3
    assert {file.split("/")[0] for file in files} == {"src", "tests", "docs", "changes"}


@pytest.mark.parametrize("page", PAGES)
def test_length(page: str) -> None:
    text = (HOW_TO / f"{page}.md").read_text("utf-8")
    assert len(re.sub(r"(?ms)^```.*?^```$", "", text).split()) <= 350


@pytest.mark.parametrize("page", PAGES)
def test_the_test_of_the_page(page: str, changed: Callable[[str], Path], folder: Path) -> None:
    copy = changed(page)
    tests = [(part.file, re.findall(r"def (test_\w+)", part.text)) for part in changes(page)]
    ((file, (name,)),) = [found for found in tests if found[1]]
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "/dev/null")
    chosen = ("-k", f"{name} or (TestContract and rows)")  # of all sources, and "bad rows"
    done = run(copy, "-m", "pytest", *options, *chosen, "--basetemp", folder / "t", copy / file)
    assert page != SOURCE or "1 passed" not in done


@pytest.mark.parametrize("face", ["function", "apply", "batch", "step"])
def test_every_face_has_the_source(changed: Callable[[str], Path], folder: Path, face: str) -> None:
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
    run(changed(SOURCE), *calls[face])
    expected = np.zeros((6, 8), np.uint32)
    expected[1] = FLAGS["OTHER_BAD_PIXEL, DO_NOT_USE"]
    with fits.open(out) as file:
        np.testing.assert_array_equal(file["PIXELDQ"].data, expected)
        assert any("bad rows caller (rows 202 7)" in line for line in file[0].header["HISTORY"])


def test_every_face_writes_the_keyword(changed: Callable[[str], Path], folder: Path) -> None:
    """The list flags two pixels, of which one is HOT, which sets DO_NOT_USE."""
    copy = changed(KEYWORD)
    ramp, out = make_ramp(folder / "a_uncal.fits", start=(101, 201)), folder / "a_dqinit.fits"
    flags = folder / "list.txt"
    flags.write_text("# base: 1\nx y flag\n103 202 HOT\n104 202 NON_SCIENCE\n")
    for verb in (("apply", ramp), ("batch", ramp, "--output-dir", folder)):
        run(copy, "-m", "tmt_dq", *verb, "--mask", "N/A", "--user-dq", flags)
        assert fits.getheader(out)["DQ_NBAD"] == 1
        out.unlink()
    model = (
        "from tmt_dq import DQInitStep\nfrom tmt_dq.datamodels import TMTRampModel\n"
        f"ramp = TMTRampModel({str(ramp)!r})\n"
        f"step = {{'override_mask': 'N/A', 'user_supplied_dq': {str(flags)!r}}}\n"
        "print('bad:', DQInitStep.call(ramp, configure_log=False, **step).meta.dq_nbad)"
    )
    assert "bad: 1" in run(copy, "-c", model)


def test_the_verbs_read_the_format(changed: Callable[[str], Path], folder: Path) -> None:
    copy = changed(LIST_FORMAT)
    ramp, mask = make_ramp(folder / "a_uncal.fits", start=(101, 201)), folder / "mask.fits"
    pixels = folder / "bad.json"
    pixels.write_text('[{"x": 103, "y": 202, "flag": "HOT"}]')
    run(copy, "-m", "tmt_dq", "import", pixels, "-o", mask, "--detector", "IRIS1", "--base", "1")
    own = ("--user-dq", pixels, "--user-base", "1")
    run(copy, "-m", "tmt_dq", "apply", ramp, "--mask", "N/A", *own)
    assert fits.getdata(mask, "DQ")[201, 102] == FLAGS["HOT, DO_NOT_USE"]
    expected = np.zeros((6, 8), np.uint32)
    expected[1, 2] = FLAGS["HOT, DO_NOT_USE"]
    np.testing.assert_array_equal(fits.getdata(folder / "a_dqinit.fits", "PIXELDQ"), expected)
