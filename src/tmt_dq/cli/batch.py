"""``tmt-dq batch``."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli import offers
from tmt_dq.cli.batch_progress import watch
from tmt_dq.cli.console import as_record, echo, json_list, print_json, table
from tmt_dq.cli.options import (
    FilePath,
    FolderPath,
    GroupedCommand,
    jobs_option,
    json_option,
    old_cache_option,
    report_option,
    table_options,
    take_apply_options,
)
from tmt_dq.errors import ConfigError
from tmt_dq.files.urls import redacted

if TYPE_CHECKING:
    from tmt_dq.batch import BatchResult, Mapper

__all__ = ["command"]


@click.command(
    "batch", cls=GroupedCommand, short_help="Initialize many ramps, on all cores or a cluster."
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, shell_complete=offers.files)
@click.option(
    "--output-dir",
    type=FolderPath(urls=True),
    metavar="DIR",
    help="Folder of the outputs; made if it does not exist.",
)
@click.option(
    "--manifest",
    "manifests",
    type=FilePath(urls=True),
    multiple=True,
    help="List of ramps: one a line, or a .csv with a column input; may be repeated.",
)
@jobs_option
@report_option
@click.option(
    "--state-dir",
    type=FolderPath(),
    metavar="DIR",
    help="Local folder for the journal of a remote --output-dir. [default: the user's]",
)
@click.option("--retry-failed", is_flag=True, help="Do only what failed before.")
@click.option("--checksum", is_flag=True, help="Record and compare the sha256 of ramps.")
@click.option(
    "--affected-by",
    metavar="OLD",
    shell_complete=offers.contexts("old_crds_path", "crds_path"),
    help="Do only what the rules of --context change, compared with the context OLD.",
)
@click.option(
    "--flags-only",
    is_flag=True,
    help="With --affected-by: another mask with the same flags in a ramp's pixels changes nothing.",
)
@old_cache_option
@click.option("--dry-run", is_flag=True, help="Show what would be done, and why; write nothing.")
@click.option("--scheduler", metavar="ADDRESS", help="Use a dask cluster: tcp://host:8786.")
@click.option("--scheduler-file", type=FilePath(), help="Use the dask cluster of this file.")
@table_options(ApplyOptions, face="batch")
@json_option
def command(
    inputs: tuple[str, ...],
    manifests: tuple[Path, ...],
    jobs: int | None,
    report: Path | None,
    scheduler: str | None,
    scheduler_file: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Initialize the data quality of many raw ramps; one bad ramp does not stop the others.

    INPUT is a ramp, a pattern, a folder (searched with all below it), a JWST-style association
    (.json), @MANIFEST, or - for a list on standard input. Run the same command again to go on where
    it was: what is done and still true is skipped, what failed or was interrupted is done again.

    \b
    Examples:
      tmt-dq batch /data/night --output-dir reduced --report night.jsonl
      tmt-dq batch 'night/**/*_uncal.fits' --output-dir reduced --jobs 8
      find /data -name '*_uncal.fits' | tmt-dq batch - --output-dir reduced
      tmt-dq batch @night.txt --output-dir reduced --scheduler tcp://head:8786
      tmt-dq batch /data/night --output-dir reduced --affected-by tmt_0100.pmap
    """
    if not inputs and not manifests:
        raise click.UsageError("Missing argument 'INPUT...'.")
    if options["output_dir"] is None:
        raise click.UsageError("Missing option '--output-dir'.")
    options |= take_apply_options(options, "batch")
    options["manifests"] = manifests
    if dry_run:
        _show_plan(inputs, options, as_json=as_json)
        return
    mapper = _mapper(scheduler, scheduler_file, jobs)
    from tmt_dq.batch import run_batch

    with watch() as progress:
        result = run_batch(
            inputs,
            mapper=mapper,
            jobs=jobs,
            report=report,
            on_start=progress.start,
            on_result=progress.result,
            on_bytes=progress.moved,
            **options,
        )
    if as_json:
        print_json(_as_dict(result))
    else:
        _show(result)
    result.raise_failures()


def _mapper(
    scheduler: str | None, scheduler_file: Path | None, jobs: int | None
) -> "Mapper | None":
    if scheduler is None and scheduler_file is None:
        return None
    if jobs is not None:
        raise ConfigError(
            "--jobs and a scheduler are both given; expected one of them",
            hint="How many jobs a cluster does at once is up to its workers.",
        )
    from tmt_dq.batch import Cluster

    return Cluster(scheduler, scheduler_file=scheduler_file)


def _show_plan(inputs: tuple[str, ...], options: dict[str, Any], *, as_json: bool) -> None:
    from tmt_dq.batch import plan_batch

    total: dict[str, int] = {}
    plans = plan_batch(inputs, **options)
    with json_list("plans", wanted=as_json) as add:
        for plan in plans:
            total[plan.action] = total.get(plan.action, 0) + 1
            add(
                {
                    "input": redacted(plan.input),
                    "output": redacted(plan.output),
                    "action": plan.action,
                    "reason": plan.reason,
                }
            )
            if not as_json:
                echo(f"{plan.action:8}{redacted(plan.input)}  ({plan.reason})")
    if not as_json:
        echo(", ".join(f"{number} to {action}" for action, number in total.items()))


def _as_dict(result: "BatchResult") -> dict[str, Any]:
    record = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    record["errors"] = [as_record(error) for error in result.errors]
    return {"total": result.total, **record}


def _show(result: "BatchResult") -> None:
    """Print what became of a batch."""
    rate = result.size / 1e6 / max(result.seconds, 1e-9)
    echo(
        f"{result.done:,} done, {result.skipped:,} skipped, {result.failed:,} failed in "
        f"{result.seconds:.1f} s ({result.size / 1e6:.1f} MB, {rate:.1f} MB/s)"
    )
    for title, counts in (
        (("skipped", "ramps"), dict(sorted(result.reasons.items()))),
        (("mask", "ramps"), dict(sorted(result.masks.items()))),
        (("flag", "pixels"), result.counts),
        (("error", "ramps"), dict(sorted(result.failures.items()))),
    ):
        if counts:
            table(title, counts.items())
    sys.stdout.flush()
