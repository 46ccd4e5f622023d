"""``{command-line}``: every verb with its options, from the click commands themselves."""

import inspect
import re
import textwrap

import click
from sphinx.application import Sphinx

from extensions.markdown import GeneratedDirective, escaped
from tmt_dq import cli

__all__ = ["command_page", "examples", "setup", "verbs"]

_NOT_WRAPPED = "\b\n"
"""click's mark in front of a paragraph whose lines are to stay as they are."""


def verbs() -> dict[str, click.Command]:
    """Return all verbs by name, in the order of ``tmt-dq --help``."""
    return {name: cli.load(name) for name in cli.VERBS}


def examples(command: click.Command) -> list[str]:
    """Return the command lines that a verb's help shows, without comments."""
    lines = []
    for paragraph in _paragraphs(command):
        if paragraph.startswith("Example"):
            lines += [line.strip() for line in paragraph.splitlines()[1:]]
    return lines


def command_page() -> str:
    """Return the reference of all verbs, in Markdown."""
    return "\n".join(_verb(name, command) for name, command in verbs().items())


def _paragraphs(command: click.Command) -> list[str]:
    """Return the paragraphs of a help text; those with a mark keep their lines."""
    text = inspect.cleandoc(command.help or "")
    marked = [part.strip("\n") for part in re.split(r"\n{2,}", text)]
    return [
        part.removeprefix(_NOT_WRAPPED) if part.startswith(_NOT_WRAPPED) else " ".join(part.split())
        for part in marked
        if part.strip()
    ]


def _verb(name: str, command: click.Command) -> str:
    """Return the section of one verb."""
    program = f"tmt-dq {name}"
    context = click.Context(command, info_name=program)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"({program.replace(' ', '-')})=", f"## {program}", ""]
    lines += ["```text", f"{program} {usage}", "```", ""]
    for paragraph in _paragraphs(command):
        if "\n" in paragraph:
            title, *rest = paragraph.splitlines()
            body = textwrap.dedent("\n".join(rest))
            lines += [escaped(title), "", "```sh", body, "```", ""]
        else:
            lines += [escaped(paragraph), ""]
    lines += [":::{program} " + program, ":::", ""]
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if isinstance(option, click.Option) and record is not None:
            # Sphinx separates spellings by commas.
            spellings = record[0].replace(" / ", ", ")
            lines += [":::{option} " + spellings, escaped(record[1]), ":::", ""]
    return "\n".join(lines)


class CommandLine(GeneratedDirective):
    """All verbs, a section each."""

    def markdown(self) -> str:
        """Return the sections."""
        return command_page()


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
