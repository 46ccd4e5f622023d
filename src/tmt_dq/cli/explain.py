"""``tmt-dq explain``."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import working
from tmt_dq.cli.options import FilePath, crds_options, json_option, position, unknown_option
from tmt_dq.cli.reports import show_report

__all__ = ["command"]


@click.command("explain", short_help="Tell why a pixel is flagged, and since when.")
@click.argument("file", type=FilePath(urls=True))
@click.option(
    "--pixel",
    type=position,
    metavar="X,Y",
    required=True,
    help="1-based position on the detector, as DS9 shows it for a full frame.",
)
@crds_options
@unknown_option
@json_option
def command(file: Path | str, pixel: tuple[int, int], *, as_json: bool, **options: Any) -> None:
    """Tell why a pixel is flagged, and since when.

    Shows the flags of a pixel of FILE, a mask or an initialized ramp: what they mean, which mask or
    user's flags set them, and what all masks of the detector in the cache say of the pixel. X,Y
    counts from 1 and from the corner of the detector, also where FILE is a subarray.

    \b
    Examples:
      tmt-dq explain iris_0001_dqinit.fits --pixel 1205,877
      tmt-dq explain mask.fits --pixel 1,1 --crds-path ~/crds_cache --context tmt_0002.pmap
      tmt-dq explain iris_0001_dqinit.fits --pixel 1205,877 --json
    """
    from tmt_dq.report.explanation import explain

    x, y = pixel
    with working(f"looking up pixel {x},{y}"):
        explanation = explain(file, x=x, y=y, **options)
    show_report(explanation, as_json=as_json)
