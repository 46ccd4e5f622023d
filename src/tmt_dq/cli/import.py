# ruff: noqa: N999 - named like the verb, and only ever imported by that name
"""``tmt-dq import``."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli import offers
from tmt_dq.cli.console import working
from tmt_dq.cli.options import FilePath, table_options
from tmt_dq.cli.reading_options import mask_options, show_made
from tmt_dq.masks.reading import Reading

__all__ = ["command"]


@click.command("import", short_help="Make a mask from bad pixels in any format.")
@click.argument("source", type=FilePath())
@click.option(
    "--detector",
    required=True,
    metavar="NAME",
    shell_complete=offers.detectors,
    help="Detector, for example IRIS1.",
)
@click.option(
    "--instrument",
    default="IRIS",
    show_default=True,
    metavar="NAME",
    shell_complete=offers.instruments,
    help="Instrument that the detector belongs to.",
)
@table_options(Reading)
@mask_options
def command(source: Path, output: Path | None, *, as_json: bool, **options: Any) -> None:
    """Make a mask from a file of any kind that people keep bad pixels in.

    SOURCE is a FITS image (a mask, or a map where a value means bad), a list of pixels (columns
    x y [flag], ranges a:b with both ends) or boxes (x0 y0 width height [flag]) as text, CSV, ECSV
    or FITS table, an HST bad pixel table, or a DS9 region file. What it does not say is
    asked for, never guessed.

    \b
    Examples:
      tmt-dq import hot.txt -o mask.fits --detector IRIS1 --base 0 --flag HOT
      tmt-dq import map.fits -o mask.fits --detector IRIS2 --good 9 --flag OTHER_BAD_PIXEL
      tmt-dq import bars.reg -o mask.fits --detector IFU --flag NON_SCIENCE --do-not-use keep
      tmt-dq import bpx.fits -o mask.fits --detector IRIS1 --values 16=HOT,4=DEAD
      tmt-dq import chip.fits --detector IRIS1 --at 1,1 --bad 1 --flag DEAD --dry-run
    """
    from tmt_dq.masks.make import import_mask

    with working(f"reading {source.name}"):
        made = import_mask(source, output, **options)
    show_made(made, as_json=as_json)
