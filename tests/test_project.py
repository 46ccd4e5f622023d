"""The files around the code are well-formed, true and agree with one another.

What could go wrong: a fragment of the changelog that towncrier does not find, or that says nothing;
a version or licence that is changed in one place only; a figure in README that was measured long
ago; a pin that pyproject.toml does not allow, or a dependency without one; a hook or a target that
calls something that is not there; an exception from a rule that nobody remembers the reason of.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import tmt_dq

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "pyproject.toml").read_text("utf-8")
SETTINGS = tomllib.loads(TEXT)
PROJECT = SETTINGS["project"]
FRAGMENTS = sorted(path for path in (ROOT / "changes").iterdir() if path.name != "README.md")
TYPES = [kind["directory"] for kind in SETTINGS["tool"]["towncrier"]["type"]]


def test_fragments_have_names_that_towncrier_finds() -> None:
    expected = re.compile(rf"(\+[a-z][a-z0-9-]*|[1-9][0-9]*)\.({'|'.join(TYPES)})\.md")
    assert [path.name for path in FRAGMENTS if not expected.fullmatch(path.name)] == []


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.stem)
def test_fragments_are_sentences_of_one_paragraph(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.endswith(".\n")
    assert text == text.lstrip("#-*+ \n")
    assert "\n\n" not in text
    assert text[0].isupper() or text[0] == "`"


def test_the_next_release_says_every_fragment_once() -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    told = " ".join(answer.stdout.split())
    assert "## 9.9.9 (" in told
    assert [path.name for path in FRAGMENTS if " ".join(path.read_text().split()) not in told] == []
    assert answer.stdout.count("\n- ") == len(FRAGMENTS)


def test_the_changelog_has_the_place_where_releases_go() -> None:
    mark = SETTINGS["tool"]["towncrier"]["start_string"]
    assert (ROOT / "CHANGELOG.md").read_text("utf-8").count(mark) == 1


def test_the_citation_agrees_with_the_package() -> None:
    """The form is checked by ``nox -s citation``, which needs a schema from elsewhere."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == tmt_dq.__version__
    assert citation["license"] == PROJECT["license"] == "BSD-3-Clause"
    assert citation["type"] == "software"
    assert citation["title"].startswith(f"{PROJECT['name']}: ")
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    assert citation["message"]
    assert "BSD 3-Clause" in (ROOT / "LICENSE").read_text("utf-8").splitlines()[0]


def requirements() -> list[Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins() -> list[tuple[str, Version]]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    parts = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return [(name, Version(version)) for name, _, version in parts]


def test_every_dependency_is_pinned_at_a_version_that_is_allowed() -> None:
    pinned = {canonicalize_name(name): version for name, version in pins()}
    wanted = {canonicalize_name(item.name): item.specifier for item in requirements()}
    assert sorted(set(wanted) - set(pinned)) == []
    assert [name for name in wanted if pinned[name] not in wanted[name]] == []


def test_every_dependency_has_a_lowest_version() -> None:
    lowest = {item.name: [part.operator for part in item.specifier] for item in requirements()}
    assert [name for name, operators in lowest.items() if ">=" not in operators] == []


def test_pins_are_sorted_and_unique() -> None:
    names = [canonicalize_name(name) for name, _ in pins()]
    assert names == sorted(set(names))


def hooks() -> list[Any]:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    return [hook for repository in yaml.safe_load(text)["repos"] for hook in repository["hooks"]]


def test_hooks_are_well_formed_and_local() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert {repository["repo"] for repository in yaml.safe_load(text)["repos"]} == {"local"}


def test_hooks_call_programs_that_the_environment_has() -> None:
    programs = [Path(hook["entry"].split()[0]) for hook in hooks()]
    assert {program.parent for program in programs} == {Path(".venv/bin")}
    here = Path(sys.executable).parent
    assert [program.name for program in programs if not (here / program.name).exists()] == []


def test_every_target_of_make_is_in_its_help() -> None:
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    phony = [
        name for line in re.findall(r"^\.PHONY:(.*)$", text, re.MULTILINE) for name in line.split()
    ]
    targets = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    assert sorted(phony) == sorted(targets)
    command = ["make", "--no-print-directory", "help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in answer.stdout.splitlines()] == targets
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"`make ([a-z-]+)", contributing)
    assert sorted(set(named) - set(targets)) == []


def test_the_readme_has_the_figures_that_were_measured() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## How it compares")[2]
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    figure = re.compile(r"\d+(?:\.\d+)? (?:s|MB|GB)\b")
    figures = figure.findall("\n".join(rows))
    assert len(figures) > 10
    measured = figure.findall((ROOT / "docs/topics/performance.md").read_text("utf-8"))
    # "a ramp of 300 s, 14 GB" is what was measured, not what came out.
    assert [each for each in figures if each not in measured and each != "300 s"] == []


def test_the_readme_has_one_small_picture() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert len(pictures) == 1
    content = (ROOT / pictures[0]).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / name).read_text("utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_exceptions_from_rules_have_reasons() -> None:
    rules = TEXT.partition("[tool.ruff.lint]")[2].partition("[tool.ruff.lint.pydocstyle]")[0]
    lines = [line for line in rules.splitlines() if re.match(r'\s+"', line)]
    assert len(lines) > 20
    assert [line for line in lines if not re.fullmatch(r'\s+"[A-Z]+\d*",\s+# \S.+', line)] == []
