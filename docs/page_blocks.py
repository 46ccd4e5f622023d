"""The blocks of code of a page of the documentation: found, and run one after the other.

Blocks of Python share their names; a block of ``console`` is commands (``$ …``) with the output
that they must print, where ``...`` stands for any text. A block that cannot be run has the reason
in a comment above it: ``<!-- not run: … -->``.
"""

import doctest
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RUN", "SHOWN", "Block", "blocks", "run_blocks"]

OPENING = re.compile(r"(?P<indent> *)```(?P<language>\w*|\{.*)\s*")
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>\S.*) -->")
RUN = {"python", "sh", "console"}
SHOWN = {"", "text", "toml", "json", "ini", "diff"}
"""Languages of blocks that are not commands."""
DIRECTIVES = {"{eval-rst}"}
"""Blocks that are the site's own."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    found = []
    lines = page.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        opening = OPENING.fullmatch(lines[number])
        if opening is None:
            number += 1
            continue
        end = number + 1
        while lines[end].strip() != "```":
            end += 1
        marked = NOT_RUN.fullmatch(lines[number - 1].strip()) if number else None
        indent = len(opening["indent"])
        text = "\n".join(line[indent:] for line in lines[number + 1 : end]) + "\n"
        reason = None if marked is None else marked["reason"]
        if opening["language"] not in DIRECTIVES:
            found.append(Block(page, number + 2, opening["language"], text, reason))
        number = end + 1
    return found


def run_blocks(page: Path) -> None:
    """Run the blocks of a page in the current folder.

    Raises
    ------
    AssertionError
        Raised if a command fails, or prints something else than the page says.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.reason is not None or block.language not in RUN:
            continue
        if block.language == "python":
            # Line numbers of a traceback are those of the page.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(page), "exec"), names)
        elif block.language == "sh":
            _shell(block.text)
        else:
            _run_console(block)


def _shell(text: str) -> str:
    """Run commands; return what they print."""
    outcome = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if outcome.returncode != 0:
        raise AssertionError(f"{text}\nexit {outcome.returncode}:\n{outcome.stdout}")
    return outcome.stdout


def _run_console(block: Block) -> None:
    """Run commands and compare what they print with what the page says."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        while command.endswith("\\"):
            line, _, expected = expected.partition("\n")
            command = command[:-1] + line
        got = _shell(command)
        if expected.strip() and not doctest.OutputChecker().check_output(expected, got, options):
            raise AssertionError(
                f"{block.page}, line {block.line}: $ {command}\nexpected\n{expected}\ngot\n{got}"
            )
