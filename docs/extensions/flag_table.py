"""``{flag-table}``: the flags of PIXELDQ or GROUPDQ, from `tmt_dq.dqflags`."""

from typing import ClassVar

from sphinx.application import Sphinx

from extensions.markdown import GeneratedDirective, escaped, inline_code, table
from tmt_dq import dqflags
from tmt_dq.instruments import load

__all__ = ["flag_table", "setup"]

_TABLES = {"pixel": dqflags.pixel, "group": dqflags.group}


def flag_table(kind: str) -> str:
    """Return the table of the flags "pixel" or "group", in Markdown.

    Raises
    ------
    KeyError
        Raised if there is no such table.
    """
    flags = _TABLES[kind].flags
    header = ["bit", "value", "name", "meaning"]
    rows = [
        [str(flag.bit), str(flag.value), inline_code(flag.name), escaped(flag.description)]
        for flag in flags
    ]
    if kind == "pixel":
        header.append("sets DO_NOT_USE")
        policy = load("IRIS").do_not_use
        for row, flag in zip(rows, flags, strict=True):
            row.append("yes" if flag.name in policy else "")
    return table(header, rows)


class FlagTable(GeneratedDirective):
    """The flags of one convention: ``pixel`` or ``group``."""

    required_arguments: ClassVar[int] = 1

    def markdown(self) -> str:
        """Return the table."""
        return flag_table(self.arguments[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("flag-table", FlagTable)
    return {"parallel_read_safe": True}
