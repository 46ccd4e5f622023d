"""How the command line shows a report."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tmt_dq.cli.console import echo, show_table
from tmt_dq.errors import OutputError

if TYPE_CHECKING:
    from tmt_dq.report.report import Report

__all__ = ["check_outputs", "show_report"]


def show_report(report: "Report", *, as_json: bool) -> None:
    """Print a report: its headline and tables, or JSON."""
    if as_json:
        click.echo(report.to_json(indent=2))
        return
    for line in report.headline():
        echo(line)
    for shown in report.tables():
        echo()
        echo(shown.title, bold=True)
        show_table(shown)


def check_outputs(*outputs: Path | None, overwrite: bool, inputs: tuple[Path | str, ...]) -> None:
    """Make sure, before any work, that all outputs can be written, and are different files."""
    from tmt_dq.files.atomic import check_output

    given = [output for output in outputs if output is not None]
    for output in given:
        check_output(
            output, overwrite=overwrite, inputs=[path for path in inputs if isinstance(path, Path)]
        )
    for output in given:
        if [other.resolve() for other in given].count(output.resolve()) > 1:
            raise OutputError(
                "is the name of two outputs", where=output, hint="Give each a name of its own."
            )
