"""``tmt-dq batch``: many exposures."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli.console import echo, fields_of, json_list, print_json, table
from tmt_dq.cli.options import (
    DRY_RUN,
    FLAGS_ONLY,
    JOBS,
    JSON,
    OLD_CACHE,
    REPORT,
    SCHEDULER,
    table_options,
    take_apply_options,
    take_cluster,
)
from tmt_dq.cli.progress import batch_progress
from tmt_dq.cli.verb import FILE_OR_URL, FOLDER_OR_URL, option, verb
from tmt_dq.files.urls import redacted
from tmt_dq.tables import number

if TYPE_CHECKING:
    from tmt_dq.batch import BatchResult


@verb(
    click.Argument(
        ["inputs"], metavar="INPUT...", nargs=-1, required=False, type=click.Path(readable=False)
    ),
    option(
        "--output-dir DIR",
        "Folder of the outputs; made if it does not exist.",
        kind=FOLDER_OR_URL,
        required=True,
    ),
    option(
        "--manifest FILE",
        "List of ramps: one a line, or a .csv with a column input; may be repeated.",
        kind=FILE_OR_URL,
        name="manifests",
        multiple=True,
    ),
    *(JOBS, REPORT),
    option(
        "--state-dir DIR",
        "Local folder for the journal of a remote --output-dir. [default: the user's]",
    ),
    option("--retry-failed", "Do only what failed before."),
    option("--checksum", "Record and compare the sha256 of ramps."),
    option(
        "--affected-by OLD",
        "Do only what the rules of --context change, compared with the context OLD.",
    ),
    *(FLAGS_ONLY, OLD_CACHE, DRY_RUN),
    *SCHEDULER,
    *table_options(ApplyOptions, face="batch"),
    JSON,
)
def batch_command(
    inputs: tuple[str, ...],
    report: Path | None,
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
    if not inputs and not options["manifests"]:
        raise click.UsageError("Missing argument 'INPUT...'.")
    options |= take_apply_options(options, "batch")
    mapper, jobs = take_cluster(options), options.pop("jobs")
    if dry_run:
        _show_plan(inputs, options, as_json=as_json)
        return
    from tmt_dq.batch import run_batch

    with batch_progress() as progress:
        result = run_batch(
            inputs,
            mapper=mapper,
            jobs=jobs,
            report=report,
            on_start=progress.start,
            on_result=progress.result,
            **options,
        )
    if as_json:
        print_json({"total": result.total, **fields_of(result)})
    else:
        _show(result)
    result.raise_failures()


def _show_plan(inputs: tuple[str, ...], options: dict[str, Any], *, as_json: bool) -> None:
    from tmt_dq.batch import plan_batch

    total: Counter[str] = Counter()
    plans = plan_batch(inputs, **options)
    with json_list("plans", wanted=as_json) as add:
        for plan in plans:
            total[plan.action] += 1
            files = {"input": redacted(plan.input), "output": redacted(plan.output)}
            add({**files, "action": plan.action, "reason": plan.reason})
            if not as_json:
                echo(f"{plan.action:8}{files['input']}  ({plan.reason})")
    if not as_json:
        echo(", ".join(f"{number(count)} to {action}" for action, count in total.items()))


def _show(result: "BatchResult") -> None:
    """Print what became of a batch."""
    rate = result.size / 1e6 / max(result.seconds, 1e-9)
    echo(
        f"{number(result.done)} done, {number(result.skipped)} skipped, {number(result.failed)} "
        f"failed in {result.seconds:.1f} s ({result.size / 1e6:.1f} MB, {rate:.1f} MB/s)"
    )
    for header, counts in (
        (("skipped", "ramps"), dict(sorted(result.reasons.items()))),
        (("mask", "ramps"), dict(sorted(result.masks.items()))),
        (("flag", "pixels"), result.counts),
        (("error", "ramps"), dict(sorted(result.failures.items()))),
    ):
        if counts:
            table(header, counts.items())
