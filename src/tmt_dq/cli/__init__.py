"""The command line: ``tmt-dq VERB …``.

Each verb is a module of this package, imported when it is called, so that ``--help`` is quick.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from tmt_dq import __version__
from tmt_dq.cli.console import report_error
from tmt_dq.errors import BatchError, TmtDqError

__all__ = ["main"]

_VERBS = {
    "apply": "Initialize the data quality of raw ramps.",
    "select": "Show which mask belongs to an exposure, and why.",
    "batch": "Initialize many ramps, on all cores or a cluster.",
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
}
"""The verbs and what they do; here, so that listing them imports none."""

_INTERRUPTED = 130


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"tmt_dq.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _VERBS, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" The verbs are {', '.join(_VERBS)}."
            ctx.fail(f"No such verb: {args[0]}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="tmt-dq")
def _group() -> None:
    """Initialize the data quality of TMT/IRIS exposures, and keep their bad-pixel masks.

    \b
    Examples:
      tmt-dq apply night/iris_0001_uncal.fits
      tmt-dq select night/iris_0001_uncal.fits --explain
      tmt-dq demo

    Say tmt-dq VERB --help for a verb's options.
    """  # noqa: D301 - \b is click's mark for "keep these lines"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    The exit status is 0 for success, that of the error's class (`tmt_dq.errors`) for an expected
    failure, 2 for wrong options, 130 for Ctrl-C, and 1, with a traceback, for a bug.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    try:
        result: Any = _group.main(
            args=None if arguments is None else list(arguments),
            prog_name="tmt-dq",
            standalone_mode=False,
        )
    except (TmtDqError, BatchError) as error:
        report_error(error)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing half-written is left behind.", err=True)
        return _INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SystemExit as stop:
        # Outside its standalone mode click ends the process for one reason only, with status 1:
        # the reader of our output (head, less) has seen enough. Verbs return, they do not exit.
        if stop.code == 1:
            return 0
        raise
    return result if isinstance(result, int) else 0
