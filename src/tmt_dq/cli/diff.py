"""``tmt-dq diff``."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import working
from tmt_dq.cli.options import FilePath, json_option, overwrite_option, unknown_option
from tmt_dq.cli.reports import check_outputs, show_report
from tmt_dq.files.urls import file_name

__all__ = ["command"]


@click.command("diff", short_help="Compare the flags of two masks or ramps.")
@click.argument("old", type=FilePath(urls=True))
@click.argument("new", type=FilePath(urls=True))
@click.option(
    "--pixels",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="List the first N pixels that differ.",
)
@click.option(
    "--plot",
    type=FilePath(),
    metavar="PICTURE",
    help="Draw where they differ (png, pdf, svg, ...).",
)
@unknown_option
@overwrite_option
@json_option
def command(
    old: Path | str,
    new: Path | str,
    pixels: int,
    plot: Path | None,
    unknown: Any,
    *,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Compare the flags of two masks or ramps.

    The exit status is 0 if all pixels that both cover have the same flags, 1 if some differ, and
    2 or more for errors. Where one covers only a part of the detector, the common pixels are
    compared, and the output says so.

    \b
    Examples:
      tmt-dq diff tmt_iris_mask_0101.fits tmt_iris_mask_0106.fits
      tmt-dq diff old.fits new.fits --json --plot changes.png
      tmt-dq diff old.fits new.fits -q && echo same
    """
    from tmt_dq.report.difference import diff

    check_outputs(plot, overwrite=overwrite, inputs=(old, new))
    with working(f"comparing {file_name(str(old))} and {file_name(str(new))}"):
        difference = diff(old, new, listed=pixels, unknown=unknown)
    if plot is not None:
        difference.plot(plot, overwrite=overwrite)
    show_report(difference, as_json=as_json)
    return 0 if difference.same else 1
