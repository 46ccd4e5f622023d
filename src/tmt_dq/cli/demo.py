"""``tmt-dq demo``."""

import time
from pathlib import Path

import click

from tmt_dq.cli.apply import show
from tmt_dq.cli.console import progress_bar
from tmt_dq.cli.options import FolderPath

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
def command(output_dir: Path, groups: int) -> None:
    """Simulate a full-frame IRIS ramp, flag it, show the result.

    Needs no data, no CRDS cache and no network: the rules and the mask come with tmt-dq.

    \b
    Example:
      tmt-dq demo --output-dir demo-output
    """  # noqa: D301
    from tmt_dq.demo import run_demo

    start = time.perf_counter()
    demo = run_demo(output_dir, ngroups=groups, watch=progress_bar)
    show(demo.applied, time.perf_counter() - start)
    for label, path in (
        ("raw ramp", demo.ramp),
        ("flagged ramp", demo.applied.output),
        ("mask", demo.applied.mask_path),
        ("picture", demo.picture),
    ):
        click.echo(f"{label:13}{path}")
