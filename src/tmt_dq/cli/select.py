"""``tmt-dq select``."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import echo, print_json, show_table
from tmt_dq.cli.options import FilePath, crds_options, json_option, verify_option
from tmt_dq.errors import printable
from tmt_dq.files.urls import redacted

__all__ = ["command"]


@click.command("select", short_help="Show which mask belongs to an exposure, and why.")
@click.argument("ramp", type=FilePath(urls=True))
@click.option("--explain", is_flag=True, help="Show what each rule key required and found.")
@verify_option
@crds_options
@json_option
def command(ramp: Path | str, *, explain: bool, as_json: bool, **options: Any) -> None:
    """Show which mask belongs to an exposure, and why.

    Prints the path of the MASK reference file that CRDS' rules choose for RAMP, or N/A.

    \b
    Examples:
      tmt-dq select iris_0001_uncal.fits
      tmt-dq select iris_0001_uncal.fits --explain --context tmt_0001.pmap
    """
    from tmt_dq.references import select_mask
    from tmt_dq.references.rule_matches import checks_table

    selection = select_mask(ramp, **options)
    if as_json:
        report = {
            "ramp": redacted(str(ramp)),
            "mask": selection.uri,
            "path": None if selection.path is None else str(selection.path),
            "context": selection.context,
            "cache": str(selection.cache),
            "rules": [dataclasses.asdict(rule) for rule in selection.rules],
        }
        print_json(report)
        return
    path = "N/A" if selection.path is None else str(selection.path)
    # For a script, which opens it, the path is what it is.
    click.echo(printable(path) if sys.stdout.isatty() else path)
    if explain:
        echo(f"context {selection.context} of {selection.cache}")
        show_table(checks_table(selection.rules))
