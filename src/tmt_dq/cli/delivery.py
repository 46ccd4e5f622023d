"""``tmt-dq certify``, ``deliver``, ``rollback`` and ``affected``: masks and rules in a cache."""

from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import echo, fields_of, json_list, print_json, remark, report_error, table
from tmt_dq.cli.options import (
    CONTEXT,
    CRDS_PATH,
    FLAGS_ONLY,
    JSON,
    MAX_FLAGGED,
    NO_BORDER,
    OLD_CACHE,
    VERIFY,
    WAIT,
)
from tmt_dq.cli.progress import counted
from tmt_dq.cli.verb import FILE, argument, option, verb
from tmt_dq.errors import BatchError, CertificationError, MaskFormatError


@verb(
    argument("masks", "MASK...", FILE),
    *(MAX_FLAGGED, NO_BORDER, CRDS_PATH, CONTEXT, JSON),
)
def certify_command(masks: tuple[Path, ...], *, as_json: bool, **options: Any) -> None:
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
        for mask in masks:
            try:
                certification = certify_mask(mask, **options)
            except MaskFormatError as error:
                add({"path": mask, "passed": False, "error": error})
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
            f"{len(failed):,} of {len(masks):,} masks do not pass"
            if len(masks) > 1
            else "the mask does not pass",
            where=", ".join(map(str, failed)),
            hint="Correct what is listed as error, then try again.",
        )


def _as_dict(certification: Any) -> dict[str, Any]:
    names = ("name", "pixels", "with_do_not_use", "without_do_not_use")
    flags = [{name: getattr(count, name) for name in names} for count in certification.flags]
    return {**fields_of(certification), "passed": certification.passed, "flags": flags}


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


@verb(
    argument("mask", "MASK", FILE),
    option("--crds-path DIR", "CRDS cache.", name="cache", required=True),
    option(
        "--create",
        "Make the cache if it does not exist, as a copy of the one that comes with tmt-dq.",
    ),
    option(
        "--useafter TIME",
        "UTC time of the first exposure that the mask is for. [default: the file's USEAFTER]",
    ),
    *(MAX_FLAGGED, NO_BORDER),
    option("--yes", "Deliver a mask that changes more pixels than is plausible."),
    option("--force", "Deliver a mask with the same flags as the one in force."),
    WAIT,
    option("--dry-run", "Show how the rules would change; deliver nothing."),
    option("--json", "Print the receipt as JSON.", name="as_json"),
)
def deliver_command(mask: Path, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Put a mask into a CRDS cache, and make it the one that is selected from its USEAFTER on.

    The mask is certified, compared with the one in force, and tried with the new rules first. The
    cache is changed by one rename, or not at all; MASK itself is not changed. The receipt can be
    given to tmt-dq rollback.

    \b
    Examples:
      tmt-dq deliver hot.fits --crds-path /data/crds --dry-run
      tmt-dq deliver hot.fits --crds-path /data/crds --useafter 2026-05-01
    """
    from tmt_dq.delivery.deliver import deliver_mask

    receipt = deliver_mask(mask, dry_run=dry_run, **options)
    if as_json:
        click.echo(receipt.as_json(), nl=False)
        return
    if dry_run:
        for line in receipt.difference.rstrip("\n").split("\n"):
            echo(line)
    done = "would be delivered" if dry_run else "delivered"
    echo(f"{mask} {done} as {receipt.mask} for {receipt.detector} from {receipt.useafter}")
    echo(f"context {receipt.context}, derived from {receipt.context_before}")
    if receipt.changes is not None:
        echo(f"it {receipt.changes.describe()}")
    if receipt.replaces:
        echo(f"it takes the place of {receipt.replaces}, which had the same USEAFTER")
    for warning in receipt.warnings:
        remark("Warning:", warning, fg="yellow")
    if receipt.path is not None:
        echo(f"receipt {receipt.path}")


@verb(
    argument("receipt", "RECEIPT", FILE),
    WAIT,
    option("--dry-run", "Make sure that it can be taken back; do nothing."),
    option("--json", "Print the receipt as JSON.", name="as_json"),
)
def rollback_command(receipt: Path, wait_s: float, *, dry_run: bool, as_json: bool) -> None:
    """Take the last delivery out of its cache again.

    RECEIPT is the file that tmt-dq deliver named. The context before becomes the default again;
    mask and rules stay in the cache, and their names are not used again.

    \b
    Examples:
      tmt-dq rollback /data/crds/deliveries/tmt/tmt_0101.json --dry-run
      tmt-dq rollback /data/crds/deliveries/tmt/tmt_0101.json
    """
    from tmt_dq.delivery.rollback import rollback

    taken_back = rollback(receipt, dry_run=dry_run, wait_s=wait_s)
    if as_json:
        click.echo(taken_back.as_json(), nl=False)
        return
    echo(f"{taken_back.mask} {'would be' if dry_run else 'was'} taken out of {taken_back.cache}")
    echo(f"context {taken_back.context_before}")


@verb(
    argument("old_context", "OLD"),
    argument("new_context", "NEW"),
    argument("files", "FILE...", FILE),
    *(CRDS_PATH, OLD_CACHE, FLAGS_ONLY, VERIFY, JSON),
)
def affected_command(
    old_context: str, new_context: str, files: tuple[Path, ...], *, as_json: bool, **options: Any
) -> None:
    """List the exposures that get another mask, or other flags, with the context NEW.

    \b
    Examples:
      tmt-dq affected tmt_0100.pmap tmt_0101.pmap night/*.fits --crds-path /data/crds
      tmt-dq affected tmt_0100.pmap latest night/*.fits --json
    """
    from tmt_dq.delivery.affected import affected

    shown = counted("judging exposures", files)
    effects = affected(old_context, new_context, shown, keep_errors=True, **options)
    if as_json:
        print_json({"exposures": effects})
    else:
        yes = {True: "yes", False: "no"}
        rows = [(str(effect.path), yes[effect.affected], effect.reason) for effect in effects]
        table(("exposure", "affected", "reason"), rows)
    errors = [effect.error for effect in effects if effect.error is not None]
    if errors:
        raise BatchError(
            f"{len(errors):,} of {len(effects):,} exposures could not be judged", errors
        )
