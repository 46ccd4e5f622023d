"""Tables of what can be set: environment variables, parameters of the step, fields of a recipe.

``{environment-table}``, ``{step-table}``, ``{recipe-table}`` and ``{detector-table}``. Names, types
and defaults come from the code. What an environment variable means stands here, since no object of
the code is the variable; one without a meaning, or a meaning without one, ends the build.
"""

import ast
import dataclasses
import re
from pathlib import Path

from numpydoc.docscrape import ClassDoc
from sphinx.application import Sphinx

import tmt_dq
from extensions.markdown import GeneratedDirective, escaped, inline_code, table
from tmt_dq import instruments
from tmt_dq.core.options import option_table
from tmt_dq.core.recipe import Recipe
from tmt_dq.step.step import DQInitStep

__all__ = [
    "detector_table",
    "environment_table",
    "recipe_table",
    "setup",
    "step_table",
    "variables_in_the_code",
]

_VARIABLE = re.compile(r"(CRDS|TMT_DQ)_[A-Z_]+|NO_COLOR")
_KEYWORDS = {"CRDS_CTX", "CRDS_VER"}
"""FITS keywords that look like variables."""

MEANINGS = {
    "TMT_DQ_CRDS_PATH": "the cache, for tmt-dq alone: goes before CRDS_PATH and the others, which "
    "may be there for JWST's",
    "TMT_DQ_CRDS_CONTEXT": "the context, for tmt-dq alone: goes before CRDS_CONTEXT",
    "CRDS_PATH": "the cache: folders `mappings`, `references`, `config`, each with one `tmt`; "
    "CRDS_MAPPATH and its like, for a cache in several places, are refused",
    "CRDS_CONTEXT": "the context; without it, the cache's newest",
    "CRDS_OBSERVATORY": "for `tmt-dq crds`: the observatory; without it, that of the context or "
    "cache",
    "CRDS_SERVER_URL": "for `tmt-dq crds`: a server; without it, no network is used",
    "TMT_DQ_CACHE_DIR": "where the cache that comes with tmt-dq is written; without it, the "
    "user's cache folder",
    "TMT_DQ_INSTRUMENTS": "folders with descriptions of more instruments, separated as in PATH; "
    "the first description of an instrument counts",
    "TMT_DQ_VERIFY": "0: do not compare references with the sha256 on record",
    "NO_COLOR": "set: no colours",
}
"""Variables that users set, and what for, in Markdown."""

_SET_HERE = {
    "CRDS_CFGPATH",
    "CRDS_EXPLICIT_GARBAGE_COLLECTION",
    "CRDS_READONLY_CACHE",
    "CRDS_USE_PICKLED_CONTEXTS",
}
"""Variables that are set for CRDS' own tools, whatever the user's environment has."""


def variables_in_the_code() -> set[str]:
    """Return the environment variables that the package names."""
    found = set()
    for path in Path(tmt_dq.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and _VARIABLE.fullmatch(str(node.value)):
                found.add(str(node.value))
    return found - _KEYWORDS


def environment_table() -> str:
    """Return the table of the environment variables, in Markdown.

    Raises
    ------
    ValueError
        Raised if the code has a variable that is not explained here, or the other way round.
    """
    wrong = variables_in_the_code() ^ (set(MEANINGS) | _SET_HERE)
    if wrong:
        raise ValueError(
            f"docs/extensions/configuration.py and the code differ in {', '.join(sorted(wrong))}"
        )
    rows = [[inline_code(name), text] for name, text in MEANINGS.items()]
    return table(["variable", "meaning"], rows)


def step_table(*, own: bool) -> str:
    """Return the table of the parameters of `DQInitStep`, in Markdown.

    Parameters
    ----------
    own : bool
        Whether those of the step itself are wanted, or those that all steps of stpipe have.
    """
    spec = DQInitStep.load_spec_file()
    names = set(re.findall(r"^\s*(\w+) = ", DQInitStep.spec, re.MULTILINE)) | {"override_mask"}
    rows = []
    for name, check in spec.items():
        if (name in names) is own:
            kind, default = _parts(str(check))
            meaning = str(spec.inline_comments.get(name) or "").lstrip("# ").rstrip(". ")
            rows.append([inline_code(name), kind, inline_code(default), escaped(meaning)])
    return table(["parameter", "type", "default", "meaning"], rows)


_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "int_list": "two whole numbers",
    "integer": "whole number",
    "float": "number",
    "float_list": "numbers",
    "string_list": "names",
    "list": "list",
    "force_list": "one value, or a list",
    "output_file": "file",
    "is_string_or_datamodel": "file, or a data model in Python",
}


def _parts(check: str) -> tuple[str, str]:
    """Return type and default of configobj's check, such as ``string(default=None)``."""
    kind, _, inside = check.partition("(")
    default = re.search(r"default=(.*)\)$", check)
    if kind == "option":
        choices = re.findall(r'"(\w+)"', inside.partition("default=")[0])
        shown = " or ".join(map(inline_code, choices))
    else:
        shown = _TYPES[kind]
    return shown, "" if default is None else default[1].strip('"')


def recipe_table() -> str:
    """Return the table of the fields of `Recipe`, in Markdown."""
    meanings = {
        name.strip(): (entry.type, " ".join(entry.desc))
        for entry in ClassDoc(Recipe)["Parameters"]
        for name in entry.name.split(",")
    }
    options = option_table(Recipe)
    rows = []
    for field in dataclasses.fields(Recipe):
        kind, meaning = meanings[field.name]
        name = options[field.name].one or field.name
        option = inline_code(f"--{name.replace('_', '-')}")
        cells = [inline_code(field.name), escaped(kind), inline_code(repr(field.default))]
        rows.append([*cells, option, escaped(meaning)])
    return table(["field", "type", "default", "option", "meaning"], rows)


def detector_table() -> str:
    """Return the table of the detectors of all instruments, in Markdown."""
    rows = []
    for name in instruments.available():
        described = instruments.load(name)
        rows += [
            [
                described.name,
                inline_code(chip.name),
                ", ".join(map(inline_code, chip.aliases)),
                f"{chip.shape[0]} × {chip.shape[1]}",
                chip.reference_border.describe(),
                str(chip.channels),
                inline_code(f"{described.observatory}_*.pmap"),
            ]
            for chip in described.detectors.values()
        ]
    header = ["instrument", "detector", "also called", "rows × columns", "border", "channels"]
    return table([*header, "contexts"], rows)


class EnvironmentTable(GeneratedDirective):
    """The environment variables."""

    def markdown(self) -> str:
        """Return the table."""
        return environment_table()


class StepTable(GeneratedDirective):
    """The parameters of the step: its own, or with ``inherited`` those of all steps."""

    optional_arguments = 1

    def markdown(self) -> str:
        """Return the table."""
        return step_table(own=self.arguments != ["inherited"])


class RecipeTable(GeneratedDirective):
    """The fields of a recipe."""

    def markdown(self) -> str:
        """Return the table."""
        return recipe_table()


class DetectorTable(GeneratedDirective):
    """The detectors of all instruments."""

    def markdown(self) -> str:
        """Return the table."""
        return detector_table()


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("environment-table", EnvironmentTable)
    app.add_directive("step-table", StepTable)
    app.add_directive("recipe-table", RecipeTable)
    app.add_directive("detector-table", DetectorTable)
    return {"parallel_read_safe": True}
