"""``tmt-dq crds``."""

import click

from tmt_dq.cli import offers

__all__ = ["command"]


@click.command(
    "crds",
    short_help="Run a CRDS tool with TMT's rules known to it.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=offers.crds_tools)
def command(arguments: tuple[str, ...]) -> int:
    """Run a CRDS tool with TMT's rules known to it.

    \b
    Examples:
      tmt-dq crds list --references --contexts tmt_0100.pmap
      tmt-dq crds bestrefs --files ramp.fits --types mask --new-context tmt_0100.pmap --print-new
    """
    from tmt_dq.references import crds_tools

    return crds_tools.run(list(arguments))
