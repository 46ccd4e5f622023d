"""``tmt-dq rollback``."""

from pathlib import Path

import click

from tmt_dq.cli.options import FilePath

__all__ = ["command"]


@click.command("rollback", short_help="Take the last delivery out of its cache again.")
@click.argument("receipt", type=FilePath())
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def command(receipt: Path, *, as_json: bool) -> None:
    """Take the last delivery out of its cache again.

    RECEIPT is the file that tmt-dq deliver named. The context before becomes the default again; the
    mask and its rules are moved aside, among the receipts.

    \b
    Example:
      tmt-dq rollback /data/crds/deliveries/tmt/tmt_0101.json
    """  # noqa: D301
    from tmt_dq.deliver import rollback

    taken_back = rollback(receipt)
    if as_json:
        click.echo(taken_back.as_json(), nl=False)
        return
    click.echo(f"{taken_back.mask} was taken out of {taken_back.cache}")
    click.echo(f"context {taken_back.context_before}")
