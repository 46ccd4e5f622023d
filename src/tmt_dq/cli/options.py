"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["FilePath", "Position", "crds_options"]


class FilePath(click.ParamType[Path]):
    """A file name; whether it exists is the business of the code that opens it."""

    name = "file"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """Return the name as a path."""
        return Path(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        """Let the shell complete file names."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class Position(click.ParamType[tuple[int, int]]):
    """A 1-based detector position X,Y."""

    name = "x,y"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Return the two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            x, y = (int(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a position; expected two whole numbers X,Y", param, ctx)
        return x, y


def crds_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --crds-path and --context."""
    for decorate in (
        click.option(
            "--context",
            metavar="NAME",
            help="CRDS context, for example tmt_0001.pmap. "
            "[default: CRDS_CONTEXT, or the newest of the cache]",
        ),
        click.option(
            "--crds-path",
            type=FilePath(),
            metavar="DIR",
            help="CRDS cache. [default: CRDS_PATH, or the one that comes with tmt-dq]",
        ),
    ):
        command = decorate(command)
    return command
