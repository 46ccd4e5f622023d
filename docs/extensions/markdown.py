"""What the generated parts have in common: Markdown text, made when the site is built."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

__all__ = ["GeneratedDirective", "escaped", "inline_code", "table"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$])")


def escaped(text: str) -> str:
    """Return plain text so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def inline_code(text: str) -> str:
    """Return text as code within a line."""
    return f"`{text}`" if text else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    Parameters
    ----------
    header : sequence of str
        Titles of the columns, Markdown.
    rows : sequence of sequences of str
        The cells, Markdown without line breaks; a bar in them is escaped here.

    Returns
    -------
    str
        The table.

    Raises
    ------
    ValueError
        Raised if a row has another number of cells, or a cell more than one line.
    """
    lines = []
    for row in (header, ["---"] * len(header), *rows):
        if len(row) != len(header) or any("\n" in cell for cell in row):
            raise ValueError(f"not a row of {len(header)} cells of one line each: {row}")
        cells = [re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


class GeneratedDirective(SphinxDirective, ABC):
    """A directive whose content is Markdown made from the code."""

    has_content: ClassVar[bool] = False

    @abstractmethod
    def markdown(self) -> str:
        """Return the text that stands for the directive."""

    def run(self) -> list[nodes.Node]:
        """Parse the text in place of the directive."""
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)
