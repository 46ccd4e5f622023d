"""The command line: ``tmt-dq VERB …``.

Verbs are imported when they are called, so that ``--help`` is quick.
"""

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from tmt_dq import __version__
from tmt_dq.cli import logs
from tmt_dq.cli.console import begin, manner, report_error
from tmt_dq.cli.streams import protect_streams
from tmt_dq.cli.verb import common_options
from tmt_dq.errors import BatchError, TmtDqError

__all__ = ["VERBS", "load", "main"]

VERBS = {
    "apply": ("apply", "Initialize the data quality of raw ramps."),
    "select": ("apply", "Show which mask belongs to an exposure, and why."),
    "batch": ("batch", "Initialize many ramps, on all cores or a cluster."),
    "watch": ("watch", "Initialize ramps as they arrive in a folder."),
    "inspect": ("report", "Show what a mask or ramp flags."),
    "diff": ("report", "Compare the flags of two masks or ramps."),
    "history": ("history", "Show how the masks of a detector changed; whether one is due."),
    "explain": ("report", "Tell why a pixel is flagged, and since when."),
    "import": ("masks", "Make a mask from bad pixels in any format."),
    "make": ("make", "Make a mask from darks and flats."),
    "combine": ("masks", "Merge masks; add or take away the flags of lists."),
    "certify": ("delivery", "Tell whether a mask may be delivered."),
    "deliver": ("delivery", "Put a mask into a CRDS cache, with rules that select it."),
    "rollback": ("delivery", "Take the last delivery out of its cache again."),
    "affected": ("delivery", "List the exposures that new rules make worth processing again."),
    "crds": ("tools", "Run a CRDS tool with TMT's rules known to it."),
    "demo": ("tools", "Flag a simulated IRIS ramp; show and explore its flags."),
    "doctor": ("doctor", "Show what tmt-dq would use here, and what is wrong with it."),
    "completion": ("tools", "Print the script that completes commands in a shell."),
}
"""The verbs: the module that has each, and what it does."""

_ALIASES = {
    "--cache": "--crds-path",
    "--descrip": "--description",
    "--guide-windows": "--guide-windows-from-file",
    "--no-guide-windows": "--no-guide-windows-from-file",
    "--override-mask": "--mask",
}
"""Other names of options, which help texts leave out."""

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command as Ctrl-C does: nothing half-written is left behind."""


class Interrupted(SystemExit):
    """The end that Ctrl-C or a signal asked for."""

    def __init__(self, how: str, exit_code: int) -> None:
        super().__init__(exit_code)
        self.how = how
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.how}; nothing half-written is left behind."


def load(verb: str) -> click.Command:
    """Return a verb as a command."""
    module = importlib.import_module(f"tmt_dq.cli.{VERBS[verb][0]}")
    command: click.Command = getattr(module, f"{verb}_command")
    return command


class _Verb(click.Command):
    """A verb that is imported when it is called, or its options are completed."""

    def make_context(self, *arguments: Any, **details: Any) -> click.Context:
        assert self.name is not None
        command = load(self.name)
        manner.params = command.params
        return command.make_context(*arguments, **details)


class _Group(click.Group):
    """The verbs, in the order in which they are written here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


_HELP = """Initialize the data quality of TMT/IRIS exposures, and keep their bad-pixel masks.

\b
Examples:
  tmt-dq apply night/iris_0001_uncal.fits
  tmt-dq select night/iris_0001_uncal.fits --explain
  tmt-dq demo

Run 'tmt-dq VERB --help' for a verb's options.
"""


_group = click.version_option(
    __version__, "-V", "--version", message=f"tmt-dq, version {__version__}"
)(
    _Group(
        "tmt-dq",
        commands=[_Verb(name, short_help=text) for name, (_, text) in VERBS.items()],
        help=_HELP,
        context_settings={"help_option_names": ["-h", "--help"]},
        params=common_options(),
    )
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    The exit status is 0 for success, that of the error's class (`tmt_dq.errors`) for an expected
    failure, 2 for wrong options, 130 for Ctrl-C, 128 and its number for another signal that asks
    for the end, and 1, with a traceback, for a bug.
    """
    protect_streams()
    for number in _SIGNALS:
        # Whoever ignores them (nohup) or has a handler of their own keeps it.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    sys.exit(run(arguments))


def _end(number: int, _frame: object) -> None:
    """End by a signal, as by Ctrl-C, so that all is cleaned up."""
    for other in _SIGNALS:
        # Once: a second signal must not disturb the cleaning up.
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(f"Ended by {signal.Signals(number).name}", 128 + number)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    begin(json_errors=_asks_for_json(words))
    error: Any
    with logs.shown():
        try:
            result: object = _group.main(
                args=_spelled_out(words), prog_name="tmt-dq", standalone_mode=False
            )
        except (click.Abort, KeyboardInterrupt):
            error = Interrupted("Interrupted", 128 + signal.SIGINT)
        except (TmtDqError, BatchError, click.ClickException, Interrupted) as raised:
            error = raised
        else:
            return result if isinstance(result, int) else 0
        report_error(error)
        return int(error.exit_code)


def _spelled_out(words: list[str]) -> list[str]:
    """Return the words with `help`, `version`, and other names of options, as what they mean."""
    match words:
        case [] | ["help"]:
            return ["--help"]
        case ["help", verb]:
            return [verb, "--help"]
        case ["version"]:
            return ["--version"]
        case ["crds", *_]:
            return words
    parts = [word.partition("=") for word in words]
    return ["".join((_ALIASES.get(name, name), *value)) for name, *value in parts]


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether errors are to be JSON, also those about the options themselves."""
    if words and words[0] == "crds":
        return False
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options
