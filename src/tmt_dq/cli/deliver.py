"""``tmt-dq deliver``."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.certify import no_border_option
from tmt_dq.cli.console import echo, remark, working
from tmt_dq.cli.options import FilePath, FolderPath, TableOption, max_flagged_option, wait_option

__all__ = ["command"]


@click.command("deliver", short_help="Put a mask into a CRDS cache, with rules that select it.")
@click.argument("mask", type=FilePath())
@click.option(
    "--crds-path",
    "--cache",
    "cache",
    cls=TableOption,
    aliases=["--cache"],
    required=True,
    type=FolderPath(),
    metavar="DIR",
    help="CRDS cache.",
)
@click.option(
    "--create",
    is_flag=True,
    help="Make the cache if it does not exist, as a copy of the one that comes with tmt-dq.",
)
@click.option(
    "--useafter",
    metavar="TIME",
    help="UTC time of the first exposure that the mask is for. [default: the file's USEAFTER]",
)
@max_flagged_option
@no_border_option
@click.option(
    "--yes", is_flag=True, help="Deliver a mask that changes more pixels than is plausible."
)
@click.option(
    "--force", is_flag=True, help="Deliver a mask with the same flags as the one in force."
)
@wait_option
@click.option("--dry-run", is_flag=True, help="Show how the rules would change; deliver nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def command(mask: Path, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Put a mask into a CRDS cache, and make it the one that is selected from its USEAFTER on.

    The mask is certified, compared with the one in force, and tried with the new rules first. The
    cache is changed by one rename, or not at all; MASK itself is not changed. The receipt can be
    given to tmt-dq rollback.

    \b
    Examples:
      tmt-dq deliver hot.fits --crds-path /data/crds --dry-run
      tmt-dq deliver hot.fits --crds-path /data/crds --useafter 2026-05-01
    """
    from tmt_dq.delivery.deliver import deliver_mask

    with working(f"delivering {mask.name}"):
        receipt = deliver_mask(mask, dry_run=dry_run, **options)
    if as_json:
        click.echo(receipt.as_json(), nl=False)
        return
    if dry_run:
        for line in receipt.difference.rstrip("\n").split("\n"):
            echo(line)
    verb = "would be delivered" if dry_run else "delivered"
    echo(f"{mask} {verb} as {receipt.mask} for {receipt.detector} from {receipt.useafter}")
    echo(f"context {receipt.context}, derived from {receipt.context_before}")
    if receipt.changes is not None:
        echo(f"it {receipt.changes.describe()}")
    if receipt.replaces:
        echo(f"it takes the place of {receipt.replaces}, which had the same USEAFTER")
    for warning in receipt.warnings:
        remark("Warning:", warning, fg="yellow")
    if receipt.path is not None:
        echo(f"receipt {receipt.path}")
