"""``tmt-dq demo``."""

import time
from pathlib import Path

import click

from tmt_dq.cli.apply import describe, show
from tmt_dq.cli.console import echo, print_json, progress_bar
from tmt_dq.cli.options import FolderPath, json_option

__all__ = ["command"]


@click.command("demo", short_help="Simulate a full-frame IRIS ramp and flag it.")
@click.option(
    "--output-dir",
    type=FolderPath(),
    metavar="DIR",
    default="demo-output",
    show_default=True,
    help="Where to put the files.",
)
@click.option(
    "--groups",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of reads of the ramp; each takes 34 MB.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
@json_option
def command(output_dir: Path, groups: int, *, dry_run: bool, as_json: bool) -> None:
    """Simulate a full-frame IRIS ramp, flag it, show the result.

    Needs no data, no CRDS cache and no network: the rules and the mask come with tmt-dq.

    \b
    Examples:
      tmt-dq demo
      tmt-dq demo --output-dir demo-output --groups 10
    """
    from tmt_dq.demo import plan_demo, run_demo

    if dry_run:
        files = [str(path) for path in plan_demo(output_dir, ngroups=groups)]
        if as_json:
            print_json({"written": False, "files": files})
            return
        for name in files:
            echo(f"would be written: {name}")
        return
    start = time.perf_counter()
    demo = run_demo(output_dir, ngroups=groups, watch=progress_bar)
    seconds = time.perf_counter() - start
    if as_json:
        files = [str(path) for path in (demo.ramp, demo.applied.output, demo.picture)]
        done = {**describe(demo.applied), "seconds": round(seconds, 3)}
        print_json({"written": True, "files": files, "applied": done})
        return
    show(demo.applied, seconds)
    for label, path in (
        ("raw ramp", demo.ramp),
        ("flagged ramp", demo.applied.output),
        ("mask", demo.applied.mask_path),
        ("picture", demo.picture),
    ):
        echo(f"{label:13}{path}")
