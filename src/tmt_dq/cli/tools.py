"""``tmt-dq crds``, ``demo`` and ``completion``."""

import dataclasses
import time
from pathlib import Path

import click

from tmt_dq.cli.apply import describe, show
from tmt_dq.cli.console import echo, print_json, show_table
from tmt_dq.cli.options import JSON
from tmt_dq.cli.progress import progress_bar
from tmt_dq.cli.verb import option, verb
from tmt_dq.errors import ConfigError

_DEMO_FILES = ("raw ramp", "mask", "CRDS cache", "flagged ramp", "picture", "page")


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def crds_command(arguments: tuple[str, ...]) -> int:
    """Run a CRDS tool with TMT's rules known to it.

    \b
    Examples:
      tmt-dq crds list --references --contexts tmt_0100.pmap
      tmt-dq crds bestrefs --files ramp.fits --types mask --new-context tmt_0100.pmap --print-new
    """
    from tmt_dq.references import crds_tools

    return crds_tools.run(list(arguments))


@verb(
    option("--output-dir DIR", "Where to put the files.", default="demo-output"),
    option("--groups N", "Number of reads of the ramp; each takes 34 MB.", default=5),
    option(
        "--calibrations",
        "Simulate darks and flats instead, make their mask, and compare it with the truth.",
    ),
    option("--dry-run", "Show what would be written; write nothing."),
    JSON,
)
def demo_command(
    output_dir: Path, groups: int, *, calibrations: bool, dry_run: bool, as_json: bool
) -> None:
    """Flag a simulated IRIS ramp, with a mask that is made and delivered for it.

    Simulates a detector with defects, delivers its mask into a CRDS cache of the demo, flags a
    full-frame ramp by CRDS' rules, and writes a picture and a page to explore. Needs no data, no
    cache and no network.

    \b
    Examples:
      tmt-dq demo
      tmt-dq demo --output-dir demo-output --groups 10
      tmt-dq demo --calibrations
    """
    if calibrations:
        if dry_run:
            raise ConfigError("writes its files at once", where="demo --calibrations --dry-run")
        _demonstrate_calibrations(output_dir, as_json=as_json)
        return
    from tmt_dq.demo import Demo, run_demo

    demo = Demo.of(output_dir)
    files = dataclasses.astuple(demo)
    start = time.perf_counter()
    applied = None if dry_run else run_demo(demo, ngroups=groups, watch=progress_bar)
    seconds = time.perf_counter() - start
    if as_json:
        done = applied and {**describe(applied), "seconds": round(seconds, 3)}
        print_json({"written": not dry_run, "files": files, "applied": done})
        return
    if applied is not None:
        show(applied, seconds)
    for label, path in zip(_DEMO_FILES, files, strict=True):
        echo(f"{label:13}{path}{'  (dry run: not written)' if dry_run else ''}")
    if dry_run:
        return
    echo()
    echo(f"Open {demo.page} in a browser, and {demo.picture} in a viewer. Next:")
    echo(f"  tmt-dq inspect {demo.flagged} --plot map.png --color-by flag")
    echo(f"  tmt-dq explain {demo.flagged} --pixel 1366,990 --crds-path {demo.cache}")
    echo(f"  tmt-dq select {demo.ramp} --explain --crds-path {demo.cache}")


def _demonstrate_calibrations(folder: Path, *, as_json: bool) -> None:
    """Run the demo of darks and flats, and show what was found of the truth."""
    from tmt_dq.calibration_demo import run_calibration_demo

    start = time.perf_counter()
    demo = run_calibration_demo(folder, watch=progress_bar)
    seconds = time.perf_counter() - start
    if as_json:
        rows = [dict(zip(demo.found.header, row, strict=True)) for row in demo.found.rows]
        print_json({"files": demo.files, "truth": rows, "seconds": round(seconds, 3)})
        return
    echo(f"made, delivered and applied in {seconds:.1f} s")
    show_table(demo.found)
    echo(
        "OTHER_BAD_PIXEL: inverse RC, and good pixels left in bad columns and clusters, on purpose"
    )
    for label, path in demo.files.items():
        echo(f"{label:16}{path}")
    echo()
    echo(f"Open {demo.picture} in a viewer. Next:")
    echo(f"  tmt-dq inspect {demo.mask} --plot map.png --color-by flag")
    echo(f"  tmt-dq history --detector IRIS1 --crds-path {demo.cache}")


@verb(click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"])))
def completion_command(shell: str) -> None:
    """Print the script that makes a shell complete tmt-dq's verbs, options and files.

    \b
    Examples:
      eval "$(tmt-dq completion bash)"        # in ~/.bashrc
      eval "$(tmt-dq completion zsh)"         # in ~/.zshrc, after compinit
      tmt-dq completion fish > ~/.config/fish/completions/tmt-dq.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    group = click.get_current_context().find_root().command
    # Not source(): for bash it starts one to learn its version, which may not be the user's.
    script = kind(group, {}, "tmt-dq", "_TMT_DQ_COMPLETE")
    click.echo(script.source_template % script.source_vars())
