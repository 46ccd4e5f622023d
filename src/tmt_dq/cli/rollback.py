"""``tmt-dq rollback``."""

from pathlib import Path

import click

from tmt_dq.cli.console import echo, working
from tmt_dq.cli.options import FilePath, wait_option

__all__ = ["command"]


@click.command("rollback", short_help="Take the last delivery out of its cache again.")
@click.argument("receipt", type=FilePath())
@wait_option
@click.option("--dry-run", is_flag=True, help="Make sure that it can be taken back; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def command(receipt: Path, wait_s: float, *, dry_run: bool, as_json: bool) -> None:
    """Take the last delivery out of its cache again.

    RECEIPT is the file that tmt-dq deliver named. The context before becomes the default again;
    mask and rules stay in the cache, and their names are not used again.

    \b
    Examples:
      tmt-dq rollback /data/crds/deliveries/tmt/tmt_0101.json --dry-run
      tmt-dq rollback /data/crds/deliveries/tmt/tmt_0101.json
    """
    from tmt_dq.delivery.rollback import rollback

    with working("taking a delivery back"):
        taken_back = rollback(receipt, dry_run=dry_run, wait_s=wait_s)
    if as_json:
        click.echo(taken_back.as_json(), nl=False)
        return
    verb = "would be" if dry_run else "was"
    echo(f"{taken_back.mask} {verb} taken out of {taken_back.cache}")
    echo(f"context {taken_back.context_before}")
