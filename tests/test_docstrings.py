"""Public names are documented as numpydoc wants it, and the examples of all docstrings run.

What could go wrong: a parameter that was renamed, added or dropped and stands in the docstring as
it was; a section that readers and the documentation site do not recognize; an example that was
true once.
"""

import doctest
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpydoc.docscrape
import pytest
from astropy.nddata.bitmask import BitFlagNameMap
from numpydoc.validate import validate

import tmt_dq
from tmt_dq.core.geometry import Window
from tmt_dq.simulate import simulate_ramp

PUBLIC = (
    "tmt_dq",
    "tmt_dq.batch",
    "tmt_dq.datamodels",
    "tmt_dq.dqflags",
    "tmt_dq.errors",
    "tmt_dq.references",
    "tmt_dq.report",
    "tmt_dq.watch",
)
"""The modules whose ``__all__`` is the public surface."""

NOT_ASKED_FOR = {
    "SA01",  # "See Also" everywhere: the pages of the site lead on
    "ES01",  # an extended summary, where one sentence says all
}


@functools.cache
def surface() -> dict[str, Any]:
    """Return the public objects and their public methods by their full names."""
    found: dict[str, Any] = {}
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            item = getattr(module, name)
            if not (inspect.isclass(item) or inspect.isroutine(item)):
                continue
            full = f"{item.__module__}.{item.__qualname__}"
            found[full] = item
            if inspect.isclass(item):
                for key, member in vars(item).items():
                    called = inspect.isroutine(member) or isinstance(member, property)
                    if called and not key.startswith("_"):
                        found[f"{full}.{key}"] = member
    return found


def excused(full: str, item: Any) -> Iterator[str]:
    """Yield the checks that a name need not pass, with the reason."""
    if item not in map(functools.partial(getattr, tmt_dq), tmt_dq.__all__):
        yield "EX01"  # an example for what the package itself names; methods are shown there
    if "As in `" in (item.__doc__ or ""):
        yield "PR04"  # parameters of another function, whose docstring has their types
    if inspect.isclass(item):
        yield from excused_class(item)
    elif full.rpartition(".")[0] in surface():
        yield from excused_method(surface()[full.rpartition(".")[0]], item)


def excused_class(item: type) -> Iterator[str]:
    if isinstance(item, type(BitFlagNameMap)):
        yield "GL08"  # made by astropy, which lets nobody set a docstring
    made_from = vars(item).get("__init__")
    if made_from is not None and inspect.getfullargspec(made_from).varkw:
        yield "PR02"  # parameters that `kwargs` takes to a method of the class
    if numpydoc.docscrape.ClassDoc(item)["Attributes"] and not documents_too_little(item):
        yield "PR01"  # a result: made by a function, its fields are attributes
    if issubclass(item, BaseException) and "__init__" not in vars(item):
        yield "PR01"  # an error takes what TmtDqError, or a builtin error, takes
    if getattr(item, "_is_protocol", False):
        yield "PR01"  # nobody makes one


def excused_method(owner: type, item: Any) -> Iterator[str]:
    name = getattr(item, "__name__", "")
    inherited = [base for base in owner.__mro__[1:] if hasattr(base, name)]
    if any(not base.__module__.startswith("tmt_dq") for base in inherited):
        yield from ("PR01", "PR02", "PR03", "RT01")  # stpipe, stdatamodels or Python document it
    if len(parameters(item)) < 2:
        yield from ("PR01", "RT01", "YD01")  # a summary of one line says it all


def documents_too_little(item: type) -> set[str]:
    """Return the public fields of a dataclass that its docstring does not have."""
    names = ", ".join(each.name for each in numpydoc.docscrape.ClassDoc(item)["Attributes"])
    fields = getattr(item, "__dataclass_fields__", {})
    return {name for name, field in fields.items() if field.repr} - set(names.split(", "))


def parameters(item: Any) -> list[str]:
    """Return the parameters of a method that the caller gives."""
    if isinstance(item, property):
        return []
    item = getattr(item, "__func__", item)
    return [name for name in inspect.signature(item).parameters if name not in {"self", "cls"}]


@pytest.mark.parametrize("full", sorted(surface()))
def test_public_docstrings_are_numpydoc(full: str) -> None:
    without = NOT_ASKED_FOR.union(excused(full, surface()[full]))
    problems = validate(full)["errors"]
    assert [problem for problem in problems if problem[0] not in without] == []


def modules() -> list[ModuleType]:
    names = [info.name for info in pkgutil.walk_packages(tmt_dq.__path__, "tmt_dq.")]
    # These two do something when they are imported.
    names = [name for name in names if name not in {"tmt_dq.__main__", "tmt_dq.jwst_compat"}]
    return [importlib.import_module(name) for name in ["tmt_dq", *names]]


def examples() -> list[Any]:
    """Return all docstrings with examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name: test for module in modules() for test in finder.find(module)}
    return [pytest.param(found[name], id=name) for name in sorted(found) if found[name].examples]


@pytest.fixture(scope="session")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docstrings") / "iris_0001_uncal.fits"
    return simulate_ramp(path, window=Window(0, 0, 64, 64))


@pytest.mark.parametrize("example", examples())
def test_examples_of_docstrings_run(
    example: doctest.DocTest, ramp: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ramp.name).write_bytes(ramp.read_bytes())
    monkeypatch.chdir(folder)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
