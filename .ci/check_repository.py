"""Checks the repository itself: project files, documentation's files, docstrings, size of the code.

Each check yields what is wrong, a line a finding. What users are promised (README's commands, the
code of the pages, the notebook) is tested in tests/; the site is built by ``make docs``.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from astropy.nddata.bitmask import BitFlagNameMap
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tmt_dq
from tmt_dq.core.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]
Findings = Iterator[str]
CHECKS: list[Callable[[], Findings]] = []

MOST_LINES = 400
MOST_BODY_LINES = 60
OPTION_TABLES: set[str] = set()
"""Files and ``file:function`` that only declare options, a row each: they may be longer."""


def check(function: Callable[[], Findings]) -> Callable[[], Findings]:
    """Register a check."""
    CHECKS.append(function)
    return function


def text(name: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text("utf-8")


def tracked(*patterns: str) -> list[str]:
    """Return the names of the files that git knows and that are there."""
    command = ["git", "ls-files", "-z", *patterns]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


# Project files


@check
def fragments() -> Findings:
    """Fragments of the changelog: towncrier finds each, and each is a sentence of one paragraph."""
    kinds = "|".join(kind["directory"] for kind in SETTINGS["tool"]["towncrier"]["type"])
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        yield answer.stderr
    draft = " ".join(answer.stdout.split())
    for name in set(tracked("changes")) - {"changes/README.md"}:
        fragment = text(name)
        if not re.fullmatch(rf"changes/(\+[a-z][a-z0-9-]*|[1-9][0-9]*)\.({kinds})\.md", name):
            yield f"{name}: towncrier does not find this name"
        elif not re.fullmatch(r"[A-Z`](?!.*\n\n).*\.\n", fragment, re.DOTALL):
            yield f"{name}: not a sentence of one paragraph"
        elif " ".join(fragment.split()) not in draft:
            yield f"{name}: not in the draft of the next release"
    if text("CHANGELOG.md").count(SETTINGS["tool"]["towncrier"]["start_string"]) != 1:
        yield "CHANGELOG.md: has not one place for releases"


@check
def citation() -> Findings:
    """CITATION.cff agrees with the package; `nox -s citation` checks its form."""
    found = yaml.safe_load(text("CITATION.cff"))
    authors = [author["name"] for author in PROJECT["authors"]]
    expected = {"version": tmt_dq.__version__, "license": PROJECT["license"], "type": "software"}
    for key, value in expected.items():
        if found[key] != value:
            yield f"CITATION.cff: {key} is {found[key]!r}, the package has {value!r}"
    if [author["name"] for author in found["authors"]] != authors:
        yield f"CITATION.cff: the authors are not {authors}"


@check
def pins() -> Findings:
    """Each dependency has a lowest version, and pins that are allowed; pins are sorted."""
    pins = [Requirement(line) for line in text("constraints.txt").splitlines() if "==" in line]
    names = [canonicalize_name(pin.name) for pin in pins]
    if names != sorted(names) or len({(pin.name, str(pin.marker)) for pin in pins}) != len(pins):
        yield "constraints.txt: not sorted, or not unique"
    pinned: dict[str, list[str]] = defaultdict(list)
    for name, pin in zip(names, pins, strict=True):
        pinned[name] += [part.version for part in pin.specifier]
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for wanted in map(Requirement, group):
            versions = pinned[canonicalize_name(wanted.name)]
            if wanted.name == PROJECT["name"]:
                continue
            if ">=" not in {part.operator for part in wanted.specifier}:
                yield f"pyproject.toml: {wanted.name} has no lowest version"
            if not versions or not all(map(wanted.specifier.contains, versions)):
                yield f"constraints.txt: {wanted} is pinned at {versions}"


@check
def hooks_and_targets() -> Findings:
    """Git's hooks and make's targets call what is there; `make help` lists every target."""
    settings = yaml.safe_load(text(".pre-commit-config.yaml"))
    for repository in settings["repos"]:
        if repository["repo"] != "local":
            yield f".pre-commit-config.yaml: {repository['repo']} is not local"
        for hook in repository["hooks"]:
            program = Path(hook["entry"].split()[0])
            if program.parent != Path(".venv/bin") or not (ROOT / program).exists():
                yield f".pre-commit-config.yaml: {program} is not there"
    makefile = text("Makefile").replace("\\\n", " ")
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    phony = " ".join(re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)).split()
    listed = re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)
    if not sorted(targets) == sorted(phony) == sorted(listed):
        yield "Makefile: targets, .PHONY and the targets with ## differ"
    for name in set(re.findall(r"`make ([a-z-]+)", text("CONTRIBUTING.md"))) - set(targets):
        yield f"CONTRIBUTING.md: there is no `make {name}`"


@check
def workflows() -> Findings:
    """Hosted CI runs `.ci/run` on every Python that the package is declared for."""
    name = ".github/workflows/ci.yml"
    job = yaml.safe_load(text(name))["jobs"]["run"]
    marks = [mark.rpartition(" ")[2] for mark in PROJECT["classifiers"] if ":: 3." in mark]
    if job["strategy"]["matrix"]["python"] != marks:
        yield f"{name}: the versions of Python are not {marks}"
    if ".ci/run" not in [step.get("run") for step in job["steps"]]:
        yield f"{name}: .ci/run is not run"


# The documentation's files


@check
def readme() -> Findings:
    """README has figures that were measured, every verb, and one small picture."""
    rows = re.findall(r"^\|.*", text("README.md").partition("## Compared with cp")[2], re.MULTILINE)
    figure = re.compile(r"\d+(?:\.\d+)? (?:s|MB|GB)\b")
    # "a ramp of 300 s" is what was measured, not what came out.
    for found in set(figure.findall("\n".join(rows))) - {"300 s"}:
        if found not in figure.findall(text("docs/topics/performance.md")):
            yield f"README.md: {found} is not in docs/topics/performance.md"
    command = [sys.executable, "-m", "tmt_dq", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    verbs = re.findall(r"^  (\w+)  ", answer.stdout.partition("Commands:")[2], re.MULTILINE)
    if re.findall(r"^\| `(\w+)` \|", text("README.md"), re.MULTILINE) != verbs:
        yield f"README.md: the table of verbs is not {verbs}"
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text("README.md"))
    if len(pictures) != 1:
        yield f"README.md: has {len(pictures)} pictures"


@check
def pages() -> Findings:
    """Links lead somewhere, and blocks name their language."""
    sys.path.insert(0, str(DOCS))
    page_blocks = importlib.import_module("page_blocks")
    for name in tracked("*.md"):
        page = ROOT / name
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text(name)):
            if not (page.parent / target).exists():
                yield f"{name}: a link leads to {target}, which is not there"
        for block in page_blocks.blocks(page) if name.startswith(("docs", "README")) else ():
            command = block.language == "" and block.text.lstrip().startswith(("$", "tmt-dq "))
            if block.language not in page_blocks.RUN | page_blocks.SHOWN:
                yield f"{name}:{block.line}: a block of the unknown language {block.language!r}"
            elif command and block.reason is None:
                yield f"{name}:{block.line}: commands are `sh` or `console`"


@check
def pictures() -> Findings:
    """Pictures are small, and those of the tutorial are made by one of its pages."""
    tutorial = "".join(map(text, tracked("docs/tutorial/*.md")))
    for name in tracked("*.png"):
        if (ROOT / name).stat().st_size > 200_000:
            yield f"{name}: larger than 200 kB"
        if name.startswith("docs/tutorial/") and tutorial.count(Path(name).name) < 2:
            yield f"{name}: no page of the tutorial makes and shows it"


@check
def reference() -> Findings:
    """Every public name and every field of a recipe has its place in the pages."""
    page = text("docs/reference/api.md")
    listed = {name.rpartition(".")[2] for name in re.findall(r"^   ([\w.]+)$", page, re.MULTILINE)}
    modules = {"datamodels", "errors", "__version__"}  # the names of the first two are listed
    for name in {*tmt_dq.__all__, *tmt_dq.errors.__all__} - listed - modules:
        yield f"docs/reference/api.md: lacks {name}"
    for field in dataclasses.fields(Recipe):
        if f"`{field.name}`" not in text("docs/topics/flag_sources.md"):
            yield f"docs/topics/flag_sources.md: lacks {field.name}"


# Docstrings of public names

PUBLIC = ("tmt_dq", "tmt_dq.datamodels", "tmt_dq.dqflags", "tmt_dq.errors")
"""The modules whose ``__all__`` is the public surface."""
NOT_WANTED = {
    "SA01",  # "See Also" everywhere: the pages of the site lead on
    "ES01",  # an extended summary, where one sentence says all
}


@functools.cache
def surface() -> dict[str, Any]:
    """Return the public objects and their public methods by their full names."""
    found: dict[str, Any] = {}
    for module in map(importlib.import_module, PUBLIC):
        for item in (getattr(module, name) for name in module.__all__):
            if inspect.isclass(item) or inspect.isroutine(item):
                full = f"{item.__module__}.{item.__qualname__}"
                found[full] = item
                for key, member in vars(item).items() if inspect.isclass(item) else ():
                    called = inspect.isroutine(member) or isinstance(member, property)
                    if called and not key.startswith("_"):
                        found[f"{full}.{key}"] = member
    return found


def excused(full: str, item: Any) -> Iterator[str]:
    """Yield the checks of numpydoc that a name need not pass, with the reason."""
    owner = surface().get(full.rpartition(".")[0])
    if item not in [getattr(tmt_dq, name) for name in tmt_dq.__all__]:
        yield "EX01"  # an example for what the package itself names; methods are shown there
    if "As in `" in (item.__doc__ or ""):
        yield "PR04"  # parameters of another function, whose docstring has their types
    if isinstance(item, type(BitFlagNameMap)):
        yield "GL08"  # made by astropy, which lets nobody set a docstring
    elif inspect.isclass(item):
        made_from = vars(item).get("__init__")
        if made_from is not None and inspect.getfullargspec(made_from).varkw:
            yield "PR02"  # parameters that `kwargs` takes to a method of the class
        shown = {name for each in ClassDoc(item)["Attributes"] for name in each.name.split(", ")}
        fields = getattr(item, "__dataclass_fields__", {}).values()
        if (shown and not {field.name for field in fields if field.repr} - shown) or (
            issubclass(item, BaseException) and made_from is None
        ):
            yield "PR01"  # a result, made by a function; an error that takes what its base takes
    elif owner is not None:
        inherited = [base for base in owner.__mro__[1:] if hasattr(base, full.rpartition(".")[2])]
        if any(not base.__module__.startswith("tmt_dq") for base in inherited):
            yield from ("PR01", "PR02", "PR03", "RT01")  # a library or Python documents it
        function = getattr(item, "__func__", item)
        given = () if isinstance(item, property) else inspect.signature(function).parameters
        if len(set(given) - {"self", "cls"}) < 2:
            yield from ("PR01", "RT01", "YD01")  # a summary of one line says it all


@check
def docstrings() -> Findings:
    """Public names have the docstrings that numpydoc wants."""
    for full, item in surface().items():
        without = NOT_WANTED.union(excused(full, item))
        for code, message in validate(full)["errors"]:
            if code not in without:
                yield f"{full}: {code} {message}"


# The code


@check
def sizes() -> Findings:
    """Files have at most 400 lines, bodies of functions 60; the total is printed."""
    total = 0
    for name in tracked("src/*.py"):
        lines = len(text(name).splitlines())
        total += lines
        if lines > MOST_LINES and name not in OPTION_TABLES:
            yield f"{name}: {lines} lines"
        for item in ast.walk(ast.parse(text(name))):
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                body = item.body[1:] if ast.get_docstring(item) else item.body
                length = (item.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if length > MOST_BODY_LINES and f"{name}:{item.name}" not in OPTION_TABLES:
                    yield f"{name}:{item.lineno}: {item.name} has a body of {length} lines"
    tests = sum(len(text(name).splitlines()) for name in tracked("tests/*.py"))
    print(f"src has {total} lines of Python, tests have {tests}")


@check
def reasons() -> Findings:
    """Exceptions from rules have their reason beside them, or in the comment line above."""
    rules = text("pyproject.toml").partition("[tool.ruff.lint]")[2].partition("pydocstyle]")[0]
    for line in re.findall(r'^ +".*', rules, re.MULTILINE):
        if not re.fullmatch(r'\s+"[A-Z]+\d*",\s+# \S.+', line):
            yield f"pyproject.toml: no reason beside {line.strip()}"
    mark = re.compile(r"# (?:ruff: )?(?:noqa|type: ignore)(?P<rest>.*)")
    reason = re.compile(r"(?:: ?[A-Z0-9, ]+|\[[a-z, -]+\])(?: +-|  #| \() ?\S.*")
    for name in tracked("src/*.py", "docs/*.py", ".ci/*.py"):
        before = 0
        for token in tokenize.generate_tokens(io.StringIO(text(name)).readline):
            found = mark.search(token.string) if token.type == tokenize.COMMENT else None
            if found is not None and not reason.fullmatch(found["rest"]):
                if before != token.start[0] - 1:
                    yield f"{name}:{token.start[0]}: no reason beside {token.string}"
            elif token.type == tokenize.COMMENT:
                before = token.start[0]


def main() -> None:
    """Run all checks; end with the number of failures."""
    failures = 0
    for function in CHECKS:
        for finding in sorted(function()):
            failures += 1
            print("WRONG:", finding)
    if failures:
        sys.exit(f"{failures} things are wrong in the repository")


if __name__ == "__main__":
    main()
