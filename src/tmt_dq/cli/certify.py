"""``tmt-dq certify``."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import as_record, counted, echo, json_list, report_error, table
from tmt_dq.cli.options import FilePath, crds_options, json_option, max_flagged_option
from tmt_dq.errors import CertificationError, MaskFormatError

__all__ = ["command", "no_border_option"]

_OF_A_FLAG = ("name", "pixels", "with_do_not_use", "without_do_not_use")

no_border_option = click.option(
    "--no-border",
    "border",
    flag_value=False,
    default=True,
    help="Accept a mask without the border of reference pixels; recorded.",
)


@click.command("certify", short_help="Tell whether a mask may be delivered.")
@click.argument("masks", metavar="MASK...", nargs=-1, required=True, type=FilePath())
@max_flagged_option
@no_border_option
@crds_options
@json_option
def command(
    masks: tuple[Path, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Tell whether a mask may be delivered, and what speaks against it.

    Looks at its format, keywords, place on the detector, flags and their numbers, and runs CRDS'
    own certify with the observatory's constraints. The exit status is 7 if there are errors.

    \b
    Examples:
      tmt-dq certify hot_2026-05-01.fits
      tmt-dq certify *.fits --json
    """
    from tmt_dq.delivery.certify import certify_mask

    failed = []
    with json_list("masks", wanted=as_json) as add:
        for mask in counted("certifying", masks):
            try:
                certification = certify_mask(mask, **options)
            except MaskFormatError as error:
                add({"path": str(mask), "passed": False, "error": as_record(error)})
                if len(masks) == 1:
                    raise
                # The other masks are examined all the same.
                failed.append(mask)
                report_error(error)
                continue
            if not certification.passed:
                failed.append(mask)
            add(_as_dict(certification))
            if not as_json:
                _show(certification)
    if failed:
        raise CertificationError(
            f"{len(failed)} of {len(masks)} masks do not pass"
            if len(masks) > 1
            else "the mask does not pass",
            where=", ".join(map(str, failed)),
            hint="Correct what is listed as error, then try again.",
        )


def _as_dict(certification: Any) -> dict[str, Any]:
    return dataclasses.asdict(certification) | {
        "path": str(certification.path),
        "passed": certification.passed,
        "flags": [
            {name: getattr(count, name) for name in _OF_A_FLAG} for count in certification.flags
        ],
    }


def _show(certification: Any) -> None:
    echo(f"{certification.path}  ", nl=False)
    if certification.passed:
        echo("passed", fg="green")
    else:
        echo("FAILED", fg="red")
    rows = [
        (found.severity, found.where, found.what, found.remedy or "")
        for found in certification.findings
    ]
    if rows:
        table(("severity", "where", "found", "remedy"), rows)
