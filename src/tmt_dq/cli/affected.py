"""``tmt-dq affected``."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli import offers
from tmt_dq.cli.console import as_record, counted, json_list, table
from tmt_dq.cli.options import (
    FilePath,
    crds_path_option,
    json_option,
    old_cache_option,
    verify_option,
)
from tmt_dq.errors import BatchError

__all__ = ["command"]


@click.command(
    "affected", short_help="List the exposures that new rules make worth processing again."
)
@click.argument(
    "old_context", metavar="OLD", shell_complete=offers.contexts("old_crds_path", "crds_path")
)
@click.argument("new_context", metavar="NEW", shell_complete=offers.contexts("crds_path"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FilePath())
@crds_path_option
@old_cache_option
@click.option(
    "--flags-only",
    is_flag=True,
    help="Another mask with the same flags in an exposure's pixels does not count.",
)
@verify_option
@json_option
def command(
    old_context: str,
    new_context: str,
    files: tuple[Path, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """List the exposures that get another mask, or other flags, with the context NEW.

    \b
    Examples:
      tmt-dq affected tmt_0100.pmap tmt_0101.pmap night/*.fits --crds-path /data/crds
      tmt-dq affected tmt_0100.pmap latest night/*.fits --json
    """
    from tmt_dq.delivery.affected import affected

    effects = affected(
        old_context,
        new_context,
        counted("judging exposures", files),
        keep_errors=True,
        **options,
    )
    with json_list("exposures", wanted=as_json) as add:
        for effect in effects:
            line = {field.name: getattr(effect, field.name) for field in dataclasses.fields(effect)}
            error = None if effect.error is None else as_record(effect.error)
            add({**line, "path": str(effect.path), "error": error})
    if not as_json:
        rows = [
            (str(effect.path), "yes" if effect.affected else "no", effect.reason)
            for effect in effects
        ]
        table(("exposure", "affected", "reason"), rows)
    errors = [effect.error for effect in effects if effect.error is not None]
    if errors:
        raise BatchError(f"{len(errors)} of {len(effects)} exposures could not be judged", errors)
