"""``{error-table}``: every error class with its exit status, from `tmt_dq.errors`."""

import inspect

from sphinx.application import Sphinx

from extensions.markdown import GeneratedDirective, escaped, inline_code, table
from tmt_dq import errors

__all__ = ["error_table", "setup"]

_OTHERS = {
    1: "A bug of tmt-dq, with a traceback. `tmt-dq diff` ends with 1 where flags differ.",
    130: "Ctrl-C, or a signal that ends the command. Nothing half-written is left.",
}
"""Exit statuses that belong to no class."""


def error_table() -> str:
    """Return the table of the error classes by exit status, in Markdown."""
    rows: list[tuple[int, list[str]]] = [
        (status, [str(status), "", "", text]) for status, text in _OTHERS.items()
    ]
    for name in errors.__all__:
        kind = getattr(errors, name)
        if kind is errors.TmtDqError:
            continue
        builtin = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
        meaning = (inspect.getdoc(kind) or "").split("\n\n")[0]
        link = f"[`{name}`](#tmt_dq.errors.{name})"
        rows.append(
            (
                kind.exit_code,
                [
                    str(kind.exit_code),
                    link,
                    ", ".join(map(inline_code, builtin[: builtin.index("Exception")])),
                    escaped(meaning),
                ],
            )
        )
    ordered = [row for _, row in sorted(rows, key=lambda row: row[0])]
    return table(["exit status", "class", "also a", "when"], ordered)


class ErrorTable(GeneratedDirective):
    """All errors, by exit status."""

    def markdown(self) -> str:
        """Return the table."""
        return error_table()


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("error-table", ErrorTable)
    return {"parallel_read_safe": True}
