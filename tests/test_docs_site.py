"""The parts of the documentation site that are made from the code, and what the site refers to.

What could go wrong: a flag, error, variable, option or field that a table lacks; text that Markdown
takes for markup; a name in ``tmt_dq`` without a page; an example in a help text that no
longer works; a picture of the tutorial that no page makes, or that makes the repository grow.
"""

import contextlib
import dataclasses
import re
import shlex
from pathlib import Path

import click
import pytest

import tmt_dq
from extensions import command_line, configuration, error_table, flag_table, markdown, names
from tmt_dq import dqflags, errors
from tmt_dq.core.recipe import Recipe

DOCS = Path(__file__).resolve().parents[1] / "docs"


def cells(text: str) -> list[list[str]]:
    """Return the rows of a Markdown table, without its head."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_a_table_has_rows_of_one_line_and_escapes_bars() -> None:
    assert markdown.table(["a", "b"], [["`x|y`", "z"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        r"| `x\|y` | z |",
    ]
    for wrong in (["one"], ["two\nlines", "x"]):
        with pytest.raises(ValueError, match="not a row"):
            markdown.table(["a", "b"], [wrong])


def test_plain_text_is_not_taken_for_markup() -> None:
    assert markdown.escaped("a_b <c>\n[d] *e*") == r"a\_b \<c\> \[d\] \*e\*"


@pytest.mark.parametrize(("kind", "number"), [("pixel", 32), ("group", 7)])
def test_the_flag_tables_have_all_flags(kind: str, number: int) -> None:
    rows = cells(flag_table.flag_table(kind))
    assert len(rows) == number
    for row in rows:
        assert int(row[1]) == 2 ** int(row[0])
    assert ["11", "2048", "`HOT`", dqflags.pixel.describe("HOT"), "yes"] in rows or kind == "group"


def test_the_error_table_has_all_classes_with_their_exit_status() -> None:
    rows = cells(error_table.error_table())
    shown = {match[1]: int(row[0]) for row in rows if (match := re.search(r"`(\w+)`", row[1]))}
    assert shown == {
        name: getattr(errors, name).exit_code for name in errors.__all__ if name != "TmtDqError"
    }
    assert [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)
    config = next(row for row in rows if "ConfigError" in row[1])
    assert config[2] == "`ValueError`"


def test_every_environment_variable_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {row[0].strip("`") for row in cells(configuration.environment_table())}
    assert {"CRDS_PATH", "CRDS_MAPPATH_SINGLE", "TMT_DQ_CACHE_DIR"} <= shown
    monkeypatch.delitem(configuration.MEANINGS, "TMT_DQ_VERIFY")
    monkeypatch.setitem(configuration.MEANINGS, "TMT_DQ_NO_SUCH", "nothing")
    with pytest.raises(ValueError, match="TMT_DQ_NO_SUCH, TMT_DQ_VERIFY"):
        configuration.environment_table()


def test_the_step_table_has_types_choices_and_defaults() -> None:
    own = {row[0]: row[1:] for row in cells(configuration.step_table(own=True))}
    assert own["`if_no_mask`"][:2] == ["`error` or `skip` or `continue`", "`error`"]
    assert "`override_mask`" in own
    assert "`save_results`" not in own
    assert "`save_results`" in {row[0] for row in cells(configuration.step_table(own=False))}


def test_the_recipe_table_has_all_fields_with_their_options() -> None:
    rows = {row[0].strip("`"): row for row in cells(configuration.recipe_table())}
    assert list(rows) == [field.name for field in dataclasses.fields(Recipe)]
    assert rows["guide_windows_from_file"][3] == "`--guide-windows`"
    assert rows["guide_windows"][3] == "`--guide-window`"
    assert rows["full_scale"][2:4] == ["`None`", "`--full-scale`"]


def test_the_detector_table_has_the_detectors() -> None:
    rows = cells(configuration.detector_table())
    assert [row[1] for row in rows if row[0] == "IRIS"] == [
        f"`{name}`" for name in ("IRIS1", "IRIS2", "IRIS3", "IRIS4", "IFU")
    ]
    assert rows[0][2:5] == ["`IMG1`", "4096 × 4096", "4"]


def test_the_command_line_page_has_every_option_of_every_verb() -> None:
    page = command_line.command_page()
    for name, command in command_line.verbs().items():
        section = page.partition(f"## tmt-dq {name}\n")[2].partition("\n## ")[0]
        assert section
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[0] in section, f"{name}: {option.opts[0]}"


EXAMPLES = [
    (name, line)
    for name, command in command_line.verbs().items()
    for line in command_line.examples(command)
    if line.startswith(f"tmt-dq {name} ")
]


@pytest.mark.parametrize(("verb", "line"), EXAMPLES)
def test_the_examples_of_the_help_are_understood(verb: str, line: str) -> None:
    words = shlex.split(line, comments=True)[2:]
    ends = [words.index(word) for word in ("&&", "|", ">") if word in words]
    command = command_line.verbs()[verb]
    # Options that do not exist, and arguments that are missing, are errors here.
    with contextlib.suppress(click.exceptions.Exit):
        command.make_context(f"tmt-dq {verb}", words[: min(ends, default=len(words))])


def test_every_public_name_has_a_place_in_the_reference() -> None:
    page = (DOCS / "reference" / "api.md").read_text("utf-8")
    listed = {name.rpartition(".")[2] for name in re.findall(r"^   ([\w.]+)$", page, re.MULTILINE)}
    modules = {"datamodels", "errors"}  # their names are listed one by one
    assert set(tmt_dq.__all__) - listed - modules == {"__version__"}
    assert set(errors.__all__) <= listed


def test_names_of_the_package_are_told_from_names_of_nothing() -> None:
    assert names.exists("tmt_dq.apply_dq")
    assert names.exists("tmt_dq.core.recipe.Recipe.full_scale")
    assert names.exists("tmt_dq.batch")
    assert not names.exists("tmt_dq.no_such_thing")
    assert not names.exists("tmt_dq.core.recipe.Recipe.no_such_field")


def test_pictures_of_the_tutorial_are_small_and_made_by_their_page() -> None:
    shown = set()
    for page in (DOCS / "tutorial").glob("*.md"):
        text = page.read_text("utf-8")
        for name in re.findall(r"\]\(images/([^)]+)\)", text):
            assert text.count(name) > 1, f"{page.name} does not make {name}"
            shown.add(name)
    pictures = {path.name: path.stat().st_size for path in (DOCS / "tutorial/images").iterdir()}
    assert set(pictures) == shown
    assert max(pictures.values()) < 200_000
