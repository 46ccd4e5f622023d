"""``tmt-dq history``."""

from pathlib import Path
from typing import Any

from tmt_dq.cli.console import remark, show_report
from tmt_dq.cli.options import CONTEXT, CRDS_PATH, JSON, OVERWRITE
from tmt_dq.cli.verb import option, verb


@verb(
    option("--detector NAME", "Detector, for example IRIS1.", required=True),
    option("--instrument NAME", "Instrument that the detector belongs to.", default="IRIS"),
    option("--candidate MASK", "A new mask, compared with the one in force."),
    option("--recipe NAME|FILE.toml", "Recipe with the limit of a change.", default="iris"),
    option("--plot PICTURE", "Draw the trend (png, pdf, svg, ...)."),
    *(CRDS_PATH, CONTEXT, OVERWRITE, JSON),
)
def history_command(plot: Path | None, *, overwrite: bool, as_json: bool, **options: Any) -> int:
    """Show how the masks of a detector changed; whether one is due.

    Lists all masks of a CRDS cache by date: pixels per flag gained, lost and kept, and the share
    with DO_NOT_USE. The exit status is 1 if the candidate differs so much from the mask in force
    that a delivery is due, or the mask in force cannot be read; else 0.

    \b
    Examples:
      tmt-dq history --detector IRIS1
      tmt-dq history --detector IRIS1 --crds-path ~/crds_cache --plot trend.png
      tmt-dq history --detector IRIS1 --candidate mask.fits
    """
    from tmt_dq.report.history import mask_history

    history = mask_history(options.pop("detector"), **options)
    if plot is not None:
        history.plot(plot, overwrite=overwrite)
    for warning in history.warnings:
        remark("Warning:", warning, fg="yellow")
    show_report(history, as_json=as_json)
    return 1 if history.due else 0
