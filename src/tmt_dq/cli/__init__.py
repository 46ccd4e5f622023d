"""The command line: ``tmt-dq VERB …``.

Each verb is a module of this package, imported when it is called, so that ``--help`` is quick.
"""

import contextlib
import importlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from tmt_dq import __version__
from tmt_dq.cli import logs
from tmt_dq.cli.console import (
    begin,
    complain,
    echo,
    manner,
    report_error,
    set_color,
    set_params,
)
from tmt_dq.cli.streams import protect_streams
from tmt_dq.errors import BatchError, TmtDqError

__all__ = ["main", "versions"]

_VERBS = {
    "apply": "Initialize the data quality of raw ramps.",
    "select": "Show which mask belongs to an exposure, and why.",
    "batch": "Initialize many ramps, on all cores or a cluster.",
    "watch": "Initialize ramps as they arrive in a folder.",
    "inspect": "Show what a mask or ramp flags.",
    "diff": "Compare the flags of two masks or ramps.",
    "explain": "Tell why a pixel is flagged, and since when.",
    "import": "Make a mask from bad pixels in any format.",
    "combine": "Merge masks; add or take away the flags of lists.",
    "certify": "Tell whether a mask may be delivered.",
    "deliver": "Put a mask into a CRDS cache, with rules that select it.",
    "rollback": "Take the last delivery out of its cache again.",
    "affected": "List the exposures that new rules make worth processing again.",
    "crds": "Run a CRDS tool with TMT's rules known to it.",
    "demo": "Simulate a full-frame IRIS ramp and flag it.",
    "doctor": "Show what tmt-dq would use here, and what is wrong with it.",
    "completion": "Print the script that completes commands in a shell.",
}
"""The verbs and what they do; here, so that listing them imports none."""

_LIBRARIES = ("numpy", "astropy", "crds", "stdatamodels", "stpipe", "asdf", "click")
_INTERRUPTED = 130

_ENDED = {
    int(getattr(signal, name)): name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
}
"""Signals that end a command as Ctrl-C does: nothing half-written is left behind."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries on which results depend."""
    from importlib import metadata

    python = ".".join(map(str, sys.version_info[:3]))
    return {"Python": python} | {name: metadata.version(name) for name in _LIBRARIES}


def _show_versions(_wanted: object) -> None:
    echo(f"tmt-dq, version {__version__}")
    echo(", ".join(f"{name} {version}" for name, version in versions().items()))
    click.get_current_context().exit()


def _add_common_options(command: click.Command) -> None:
    """Add the options that all verbs have, and that are read once, here."""

    def add(*names: str, then: Callable[[Any], None], **details: Any) -> None:
        def call(context: click.Context, _option: click.Parameter, value: Any) -> None:
            if value and not context.resilient_parsing:
                then(value)

        option = click.Option(names, expose_value=False, is_eager=True, callback=call, **details)
        command.params.append(option)

    add(
        "--color",
        then=set_color,
        type=click.Choice(["auto", "always", "never"]),
        help="Colour errors and titles. [default: auto, on terminals unless NO_COLOR is set]",
    )
    add(
        "-v",
        "--verbose",
        then=lambda count: logs.show(logging.INFO if count == 1 else logging.DEBUG),
        count=True,
        help="Show what is chosen and written on standard error; -vv also why.",
    )
    add(
        "-q",
        "--quiet",
        then=lambda on: setattr(manner, "quiet", on),
        is_flag=True,
        help="Show errors, warnings, JSON only.",
    )
    add(
        "--log-file",
        then=lambda name: logs.add_file(Path(name)),
        metavar="FILE",
        help="Add what is chosen and written, and why, to this file.",
    )
    add(
        "-V",
        "--version",
        then=_show_versions,
        is_flag=True,
        hidden=command.name != "tmt-dq",
        help="Show the versions of tmt-dq and its libraries.",
    )


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"tmt_dq.cli.{cmd_name}")
        command: click.Command = module.command
        # A CRDS tool has its own options: all that is given belongs to it.
        if cmd_name != "crds" and not any("--color" in param.opts for param in command.params):
            _add_common_options(command)
        set_params(command.params)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        wrong = args and args[0] not in _VERBS and not args[0].startswith("-")
        if wrong and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(args[0], _VERBS, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" The verbs are {', '.join(_VERBS)}."
            ctx.fail(f"No such verb: {args[0]}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Let the shell complete verbs, without importing any."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=text)
            for name, text in _VERBS.items()
            if name.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group("tmt-dq", cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def _group() -> None:
    """Initialize the data quality of TMT/IRIS exposures, and keep their bad-pixel masks.

    \b
    Examples:
      tmt-dq apply night/iris_0001_uncal.fits
      tmt-dq select night/iris_0001_uncal.fits --explain
      tmt-dq demo

    Run 'tmt-dq help VERB' for a verb's options.
    """


_add_common_options(_group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    The exit status is 0 for success, that of the error's class (`tmt_dq.errors`) for an expected
    failure, 2 for wrong options, 130 for Ctrl-C, 128 and its number for another signal that asks
    for the end, and 1, with a traceback, for a bug.
    """
    protect_streams()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    begin(json_errors=_asks_for_json(words))
    with logs.shown():
        return _run(_spelled_out(words))


def _spelled_out(words: list[str]) -> list[str]:
    """Return the words with `help`, `version`, and no word at all, as the options they mean."""
    match words:
        case [] | ["help"]:
            return ["--help"]
        case ["help", verb, *_]:
            return [verb, "--help"]
        case ["version", *others]:
            return ["--version", *others]
    return words


def _run(words: list[str]) -> int:
    try:
        with _signals_end_it():
            result: Any = _group.main(args=words, prog_name="tmt-dq", standalone_mode=False)
    except (TmtDqError, BatchError) as error:
        report_error(error)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("Interrupted", _ended("Interrupted"), exit_code=_INTERRUPTED)
        return _INTERRUPTED
    except click.ClickException as error:
        _report_usage(error)
        return error.exit_code
    except SystemExit as stop:
        if isinstance(stop, _EndedBySignal):
            name = f"Ended by {_ENDED[stop.number]}"
            complain("Interrupted", _ended(name), exit_code=128 + stop.number)
            return 128 + stop.number
        # Outside its standalone mode click ends the process for one reason only, with status 1:
        # the reader of our output (head, less) has seen enough. Verbs return, they do not exit.
        if stop.code == 1:
            return 0
        raise
    return result if isinstance(result, int) else 0


def _ended(how: str) -> str:
    return f"{how}; nothing half-written is left behind."


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether errors are to be JSON, also those about the options themselves."""
    if words and words[0] == "crds":
        return False
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def _report_usage(error: click.ClickException) -> None:
    """Show what is wrong with the options: the finding first, then where to look."""
    context = getattr(error, "ctx", None)
    hint = None if context is None else f"Run '{context.command_path} --help' for usage."
    complain(type(error).__name__, error.format_message(), exit_code=error.exit_code, hint=hint)


class _EndedBySignal(SystemExit):
    """The process was asked to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextlib.contextmanager
def _signals_end_it() -> Iterator[None]:
    """Turn signals that would end the process at once into an exception, so that it cleans up."""
    before: dict[int, Any] = {}

    def end(number: int, _frame: FrameType | None) -> None:
        # Once: a second signal must not disturb the cleaning up.
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise _EndedBySignal(number)

    if threading.current_thread() is threading.main_thread():
        for number in _ENDED:
            # Whoever ignores them (nohup) or has a handler of their own keeps it.
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
