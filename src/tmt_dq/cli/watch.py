"""``tmt-dq watch``."""

import contextlib
import json
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli import logs
from tmt_dq.cli.console import echo, manner
from tmt_dq.cli.options import (
    FilePath,
    FolderPath,
    GroupedCommand,
    jobs_option,
    report_option,
    seconds_option,
    table_options,
    take_apply_options,
)

if TYPE_CHECKING:
    from tmt_dq.batch import FileResult
    from tmt_dq.watch import Control, WatchResult

__all__ = ["command"]

_SHOWN = 5


@click.command(
    "watch", cls=GroupedCommand, short_help="Initialize ramps as they arrive in a folder."
)
@click.argument("folder", metavar="DIR", type=FolderPath())
@click.option(
    "--output-dir",
    type=FolderPath(),
    metavar="DIR",
    required=True,
    help="Folder of the outputs; made if it does not exist.",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="GLOB",
    help="Only ramps with such a name: '*_uncal.fits'; may be repeated.",
)
@click.option(
    "--recursive/--no-recursive", default=True, show_default=True, help="Watch folders below too."
)
@jobs_option
@click.option("--once", is_flag=True, help="End when all is done that is complete.")
@seconds_option(
    "--settle",
    2.0,
    "How long a whole file must be unchanged where nobody knows whether it is written to.",
)
@seconds_option(
    "--stalled", 60.0, "Set aside a file that is incomplete and was unchanged for this long."
)
@seconds_option(
    "--poll",
    None,
    "Poll the folder at this interval instead of using file-system events. "
    "[default: 1 on network file systems]",
)
@seconds_option("--grace", 20.0, "How long work may go on after SIGTERM or Ctrl-C.")
@click.option(
    "--redo",
    is_flag=True,
    help="Make outputs again that are missing, or were made under other rules or options.",
)
@report_option
@click.option(
    "--heartbeat",
    type=FilePath(),
    metavar="FILE.json",
    help="Write a status (heartbeat) file every 5 s.",
)
@click.option(
    "--prometheus",
    metavar="[HOST:]PORT",
    help="Serve metrics over HTTP, on loopback unless a host is named.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and why; write nothing.")
@table_options(ApplyOptions, face="batch")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each ramp.")
def command(
    folder: Path,
    *,
    once: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Initialize the data quality of raw ramps as they arrive in DIR.

    A ramp is taken when it is complete: moved into place, or closed by the program that wrote it.
    What is there already is done first. A bad ramp is set aside with the reason, in set_aside.txt
    of the output folder; a full disk is waited for. SIGTERM and Ctrl-C end it, SIGHUP makes it try
    again what was set aside.

    \b
    Examples:
      tmt-dq watch /data/incoming --output-dir /data/reduced
      tmt-dq watch incoming --output-dir reduced --pattern '*_uncal.fits' --once
      tmt-dq watch incoming --output-dir reduced --heartbeat beat.json --prometheus 9464
    """
    options |= take_apply_options(options, "batch")
    if dry_run:
        for name in [
            "settle_s",
            "stalled_s",
            "poll_s",
            "grace_s",
            "jobs",
            "report",
            "heartbeat",
            "prometheus",
        ]:
            options.pop(name)
        _show_plan(folder, options, as_json=as_json)
        return 0
    from tmt_dq.watch import Control, watch_folder

    if not manner.quiet:
        logs.show(logging.INFO, "tmt_dq.watch")
    with (
        contextlib.closing(Control()) as control,
        _signals(control) as received,
    ):
        result = watch_folder(
            folder,
            once=once,
            control=control,
            on_result=_print if as_json else None,
            **options,
        )
    if once and not received:
        _say_unfinished(result)
        result.raise_failures()
    if received and received[0] == signal.SIGINT:
        raise KeyboardInterrupt
    return 0


def _say_unfinished(result: "WatchResult") -> None:
    shown = list(result.unfinished.items())[:_SHOWN]
    for path, why in shown:
        echo(f"not complete: {path}: {why}", err=True)
    if len(result.unfinished) > len(shown):
        echo(f"and {len(result.unfinished) - len(shown)} more", err=True)


def _print(result: "FileResult") -> None:
    click.echo(json.dumps(result.as_dict()))
    sys.stdout.flush()


def _show_plan(folder: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from tmt_dq.watch import plan_watch

    total: dict[str, int] = {}
    for plan in plan_watch(folder, **options):
        total[plan.action] = total.get(plan.action, 0) + 1
        line = {"input": plan.path, "action": plan.action, "reason": plan.reason}
        text = f"{plan.action:8}{plan.path}  ({plan.reason})"
        echo(json.dumps(line) if as_json else text)
    if not as_json:
        echo(", ".join(f"{number} to {action}" for action, number in total.items()) or "none")


@contextlib.contextmanager
def _signals(control: "Control") -> Iterator[list[int]]:
    """Let signals end the watch: the first after what is at work, the second at once."""
    received: list[int] = []

    def end(number: int, _frame: object) -> None:
        received.append(number)
        control.stop()

    handlers: dict[int, Any] = {
        signal.SIGTERM: end,
        signal.SIGINT: end,
        signal.SIGHUP: lambda *_: control.reload(),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
