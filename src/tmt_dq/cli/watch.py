"""``tmt-dq watch``: exposures as they arrive."""

import contextlib
import json
import logging
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli import logs
from tmt_dq.cli.console import echo, fields_of, manner
from tmt_dq.cli.options import DRY_RUN, JOBS, REPORT, table_options, take_apply_options
from tmt_dq.cli.verb import FOLDER, argument, option, verb
from tmt_dq.tables import number

if TYPE_CHECKING:
    from tmt_dq.batch import FileResult
    from tmt_dq.watch import Control

_SHOWN = 5
_OF_A_PLAN = ("output_dir", "patterns", "recursive", "redo")
"""What a dry run takes of the options, beside those of an initialization."""


@verb(
    argument("folder", "DIR", FOLDER),
    option("--output-dir DIR", "Folder of the outputs; made if it does not exist.", required=True),
    option(
        "--pattern GLOB",
        "Only ramps with such a name: '*_uncal.fits'; may be repeated.",
        name="patterns",
        multiple=True,
    ),
    option(
        "--recursive/--no-recursive", "Watch folders below too.", default=True, show_default=True
    ),
    JOBS,
    option("--once", "End when all is done that is complete."),
    option(
        "--settle SECONDS",
        "How long a whole file must be unchanged where nobody knows whether it is written to.",
        2.0,
    ),
    option(
        "--stalled SECONDS",
        "Set aside a file that is incomplete and was unchanged for this long.",
        60.0,
    ),
    option(
        "--poll SECONDS",
        "How often the folder is searched. [default: 0.1, on network file systems 1]",
    ),
    option("--grace SECONDS", "How long work may go on after SIGTERM or Ctrl-C.", 20.0),
    option(
        "--redo", "Make outputs again that are missing, or were made under other rules or options."
    ),
    REPORT,
    option("--heartbeat FILE.json", "Write a status (heartbeat) file every 5 s."),
    option(
        "--prometheus [HOST:]PORT", "Serve metrics over HTTP, on loopback unless a host is named."
    ),
    DRY_RUN,
    *table_options(ApplyOptions, face="batch"),
    option("--json", "Print a line of JSON for each ramp.", name="as_json"),
)
def watch_command(
    folder: Path, *, once: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Initialize the data quality of raw ramps as they arrive in DIR.

    A ramp is taken when it is complete: moved into place, or closed by the program that wrote it.
    What is there already is done first. A bad ramp is set aside until it changes; a full disk is
    waited for. SIGTERM and Ctrl-C end it, SIGHUP makes it try again what was set aside.

    \b
    Examples:
      tmt-dq watch /data/incoming --output-dir /data/reduced
      tmt-dq watch incoming --output-dir reduced --pattern '*_uncal.fits' --once
      tmt-dq watch incoming --output-dir reduced --heartbeat beat.json --prometheus 9464
    """
    given = take_apply_options(options, "batch")
    if dry_run:
        wanted = {name: options[name] for name in _OF_A_PLAN}
        _show_plan(folder, {**wanted, **given}, as_json=as_json)
        return
    from tmt_dq.watch import Control, watch_folder

    if not manner.quiet:
        logs.show(logging.INFO, "tmt_dq.watch")
    on_result = _print if as_json else None
    control = Control()
    with _signals(control) as received:
        result = watch_folder(
            folder, once=once, control=control, on_result=on_result, **options, **given
        )
    if received:
        if received[0] == signal.SIGINT:
            raise KeyboardInterrupt
    elif once:
        for path, why in list(result.unfinished.items())[:_SHOWN]:
            echo(f"not complete: {path}: {why}", err=True)
        if len(result.unfinished) > _SHOWN:
            echo(f"and {number(len(result.unfinished) - _SHOWN)} more", err=True)
        result.raise_failures()


def _print(result: "FileResult") -> None:
    click.echo(json.dumps(result.as_dict()))
    sys.stdout.flush()


def _show_plan(folder: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from tmt_dq.watch import plan_watch

    total: Counter[str] = Counter()
    for plan in plan_watch(folder, **options):
        total[plan.action] += 1
        if as_json:
            described = fields_of(plan)
            click.echo(json.dumps({"input": described.pop("path"), **described}))
        else:
            echo(f"{plan.action:8}{plan.path}  ({plan.reason})")
    if not as_json:
        counts = ", ".join(f"{number(count)} to {action}" for action, count in total.items())
        echo(counts or "none")


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
