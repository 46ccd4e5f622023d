"""``tmt-dq inspect``."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli import offers
from tmt_dq.cli.console import echo, working
from tmt_dq.cli.options import (
    FilePath,
    choices_option,
    json_option,
    overwrite_option,
    unknown_option,
)
from tmt_dq.cli.reports import check_outputs, show_report
from tmt_dq.files.urls import file_name

__all__ = ["command"]


@click.command("inspect", short_help="Show what a mask or ramp flags.")
@click.argument("file", type=FilePath(urls=True))
@click.option(
    "--channels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Readout channels of the full frame. [default: those of the instrument]",
)
@click.option(
    "--flags",
    metavar="NAMES",
    shell_complete=offers.flags,
    help="Flags that count as defects, for example HOT,DEAD. [default: all]",
)
@choices_option(
    "--connectivity",
    "8",
    "4",
    about="Neighbours of a pixel in a cluster: 8 with corners, 4 without.",
)
@click.option(
    "--line-fraction",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of defects from which a row or column is bad.",
)
@click.option(
    "--plot", type=FilePath(), metavar="PICTURE", help="Draw maps and bars (png, pdf, svg, ...)."
)
@click.option(
    "--html", type=FilePath(), metavar="HTML", help="Write a page with picture and tables."
)
@click.option("--regions", type=FilePath(), metavar="REG", help="Write boxes for DS9.")
@click.option(
    "--regions-limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of boxes to write, largest first. [default: 200,000]",
)
@unknown_option
@overwrite_option
@json_option
def command(  # noqa: PLR0913, PLR0917 - one parameter for each option
    file: Path | str,
    channels: int | None,
    flags: str | None,
    connectivity: str,
    line_fraction: float,
    plot: Path | None,
    html: Path | None,
    regions: Path | None,
    regions_limit: int | None,
    unknown: Any,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show what a mask or ramp flags.

    Counts the flags of FILE, a mask or an initialized ramp, plain or compressed: in all, by
    quadrant and readout channel, in clusters, rows and columns. Positions are 1-based detector
    pixels; boxes for DS9 are in image coordinates of the file.

    \b
    Examples:
      tmt-dq inspect tmt_iris_mask_0101.fits
      tmt-dq inspect iris_0001_dqinit.fits --json
      tmt-dq inspect mask.fits --plot mask.png --html mask.html --regions mask.reg
      tmt-dq inspect mask.fits --flags HOT,WARM --channels 64
    """
    from tmt_dq.report.summary import summarize

    check_outputs(plot, html, regions, overwrite=overwrite, inputs=(file,))
    with working(f"looking at {file_name(str(file))}"):
        summary = summarize(
            file,
            channels=channels,
            defect_flags=flags,
            connectivity=8 if connectivity == "8" else 4,
            line_fraction=line_fraction,
            unknown=unknown,
        )
    left_out = 0
    if plot is not None:
        summary.plot(plot, overwrite=overwrite)
    if html is not None:
        summary.write_html(html, overwrite=overwrite)
    if regions is not None:
        left_out = summary.write_regions(regions, limit=regions_limit, overwrite=overwrite)
    show_report(summary, as_json=as_json)
    if left_out:
        echo(
            f"{regions}: {left_out:,} boxes are left out, because there are too many; "
            "raise --regions-limit to have them",
            err=True,
        )
