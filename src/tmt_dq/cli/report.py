"""``tmt-dq inspect``, ``diff`` and ``explain``: what files flag."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import show_report
from tmt_dq.cli.options import CONTEXT, CRDS_PATH, JSON, OVERWRITE, POSITION, UNKNOWN
from tmt_dq.cli.verb import FILE_OR_URL, argument, option, verb
from tmt_dq.errors import OutputError


@verb(
    argument("file", "FILE", FILE_OR_URL),
    option(
        "--channels N", "Readout channels of the full frame. [default: those of the instrument]"
    ),
    option(
        "--flags NAMES",
        "Flags that count as defects, for example HOT,DEAD. [default: all]",
        name="defect_flags",
    ),
    option(
        "--line-fraction",
        "Share of defects from which a row or column is bad.",
        kind=click.FloatRange(0, 1, min_open=True),
        default=0.5,
    ),
    option("--plot PICTURE", "Draw maps and bars (png, pdf, svg, ...)."),
    option(
        "--color-by",
        "Colours of map and boxes: kinds of defects, or flags.",
        kind=click.Choice(["kind", "flag"]),
        default="kind",
    ),
    option("--html HTML", "Write a page to explore in a browser."),
    option("--regions REG", "Write boxes for DS9."),
    *(UNKNOWN, OVERWRITE, JSON),
)
def inspect_command(
    file: Path | str,
    plot: Path | None,
    color_by: Any,
    html: Path | None,
    regions: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what a mask or ramp flags.

    Counts the flags of FILE, a mask or an initialized ramp, plain or compressed: in all, by
    quadrant and readout channel, in clusters, rows and columns. Positions are 1-based detector
    pixels; boxes for DS9 are in image coordinates of the file.

    \b
    Examples:
      tmt-dq inspect tmt_iris_mask_0101.fits
      tmt-dq inspect iris_0001_dqinit.fits --json
      tmt-dq inspect mask.fits --plot mask.png --color-by flag
      tmt-dq inspect mask.fits --html mask.html --regions mask.reg
      tmt-dq inspect mask.fits --flags HOT,WARM --channels 64
    """
    from tmt_dq.report.summary import summarize

    _check_outputs([plot, html, regions], file, overwrite=overwrite)
    summary = summarize(file, **options)
    if plot is not None:
        summary.plot(plot, color_by=color_by, overwrite=overwrite)
    if html is not None:
        summary.write_html(html, overwrite=overwrite)
    if regions is not None:
        summary.write_regions(regions, color_by=color_by, overwrite=overwrite)
    show_report(summary, as_json=as_json)


def _check_outputs(outputs: list[Path | None], *files: Path | str, overwrite: bool) -> None:
    """Make sure, before any work, that all outputs can be written, and are different files."""
    from tmt_dq.files.atomic import check_output

    given = [output for output in outputs if output is not None]
    inputs = [file for file in files if isinstance(file, Path)]
    for place, output in enumerate(given):
        check_output(output, overwrite=overwrite, inputs=inputs)
        if output.resolve() in [other.resolve() for other in given[:place]]:
            raise OutputError(
                "is the name of two outputs", where=output, hint="Give each a name of its own."
            )


@verb(
    argument("old", "OLD", FILE_OR_URL),
    argument("new", "NEW", FILE_OR_URL),
    option(
        "--pixels N", "List the first N pixels that differ.", kind=click.IntRange(min=0), default=20
    ),
    option("--plot PICTURE", "Draw where they differ (png, pdf, svg, ...)."),
    option("--html HTML", "Write a page to explore in a browser."),
    *(UNKNOWN, OVERWRITE, JSON),
)
def diff_command(
    old: Path | str,
    new: Path | str,
    pixels: int,
    plot: Path | None,
    html: Path | None,
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
      tmt-dq diff old.fits new.fits --plot changes.png --html changes.html
      tmt-dq diff old.fits new.fits -q && echo same
    """
    from tmt_dq.report.difference import diff

    _check_outputs([plot, html], old, new, overwrite=overwrite)
    difference = diff(old, new, listed=pixels, unknown=unknown)
    if plot is not None:
        difference.plot(plot, overwrite=overwrite)
    if html is not None:
        difference.write_html(html, overwrite=overwrite)
    show_report(difference, as_json=as_json)
    return 0 if difference.same else 1


@verb(
    argument("file", "FILE", FILE_OR_URL),
    option(
        "--pixel X,Y",
        "1-based position on the detector, as DS9 shows it for a full frame.",
        kind=POSITION,
        required=True,
    ),
    option("--plot PICTURE", "Draw the flags around it, and its ramp (png, pdf, svg, ...)."),
    *(CRDS_PATH, CONTEXT, UNKNOWN, OVERWRITE, JSON),
)
def explain_command(
    file: Path | str,
    pixel: tuple[int, int],
    plot: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Tell why a pixel is flagged, and since when.

    Shows the flags of a pixel of FILE, a mask or an initialized ramp: what they mean, which mask or
    user's flags set them, and what all masks of the detector in the cache say of the pixel. X,Y
    counts from 1 and from the corner of the detector, also where FILE is a subarray.

    \b
    Examples:
      tmt-dq explain iris_0001_dqinit.fits --pixel 1205,877
      tmt-dq explain mask.fits --pixel 1,1 --crds-path ~/crds_cache --context tmt_0002.pmap
      tmt-dq explain iris_0001_dqinit.fits --pixel 1205,877 --plot pixel.png
    """
    from tmt_dq.report.explanation import explain

    _check_outputs([plot], file, overwrite=overwrite)
    x, y = pixel
    explanation = explain(file, x=x, y=y, **options)
    if plot is not None:
        explanation.plot(plot, overwrite=overwrite)
    show_report(explanation, as_json=as_json)
