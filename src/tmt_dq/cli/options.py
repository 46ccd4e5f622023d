"""Options that several verbs share."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tmt_dq.cli import offers
from tmt_dq.core.options import Option, option_table, values_of
from tmt_dq.errors import ConfigError
from tmt_dq.files.urls import is_url, redacted

__all__ = [
    "FilePath",
    "FolderPath",
    "Position",
    "TableOption",
    "crds_options",
    "table_options",
    "take_values",
    "verify_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class FilePath(click.ParamType[Path]):
    """A file name; whether it exists is the business of the code that opens it."""

    name = "file"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """Return the name as a path."""
        if is_url(value):
            what = f"{redacted(str(value))} is a URL; a {self.name} on this machine is needed here"
            self.fail(what, param, ctx)
        return Path(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        """Let the shell complete file names."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class FolderPath(FilePath):
    """The name of a folder."""

    name = "folder"

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        """Let the shell complete names of folders."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir")]


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


class _Value(click.ParamType[Any]):
    """What a row of an option table makes of a text."""

    def __init__(self, option: Option) -> None:
        self.name = option.metavar.lower() or "text"
        self._parse = option.parse_one if option.one else option.parse

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a text."""
        try:
            return self._parse(value)
        except ConfigError as error:
            self.fail(error.what, param, ctx)


class TableOption(click.Option):
    """An option of an option table; its aliases work and are not listed."""

    def __init__(self, *declarations: Any, aliases: Sequence[str] = (), **details: Any) -> None:
        super().__init__(*declarations, **details)
        self.aliases = frozenset(aliases)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's line of a help text."""
        listed = copy.copy(self)
        listed.opts = [name for name in self.opts if name not in self.aliases]
        listed.secondary_opts = [name for name in self.secondary_opts if name not in self.aliases]
        return click.Option.get_help_record(listed, ctx)


_COMPLETIONS: dict[str, Any] = {
    "flag": offers.flags,
    "bad": offers.words("nonzero"),
    "values": offers.words("convention"),
    "columns": offers.words("x,y", "x,y,flag", "x0,y0,width,height,flag"),
}
"""What the shell offers as values of fields, where the table does not list all of them."""


def table_options(table: type, *, prefix: str = "") -> Callable[[_Command], _Command]:
    """Return a decorator that adds an option for each row of a table; None where none is given."""

    def decorate(command: _Command) -> _Command:
        for name, option in reversed(option_table(table).items()):
            command = _table_option(name, option, prefix)(command)
        return command

    return decorate


def _table_option(name: str, option: Option, prefix: str) -> Callable[[_Command], _Command]:
    def flag(field: str) -> str:
        dashed = f"{prefix}{field}".replace("_", "-")
        return f"--{dashed}/--no-{dashed}" if option.kind is bool else f"--{dashed}"

    details: dict[str, Any] = {}
    aliases = [flag(alias) for alias in option.aliases]
    if option.kind is bool:
        details["default"] = None
    elif option.kind is int and not option.many:
        limits = (option.minimum, option.maximum)
        details["type"] = int if limits == (None, None) else click.IntRange(*limits)
    elif option.kind is float and (option.one or not option.many):
        details["type"] = float
    else:
        details["type"] = _Value(option)
        completions = offers.parts(*option.choices) if option.choices else _COMPLETIONS.get(name)
        details["shell_complete"] = completions
    default = f" [default: {option.shown_default}]" if option.shown_default else ""
    return click.option(
        flag(option.one or name),
        *aliases,
        f"{prefix}{name}",
        cls=TableOption,
        aliases=[part for alias in aliases for part in alias.split("/")],
        multiple=bool(option.one),
        metavar=option.metavar or None,
        help=f"{option.help}{default}",
        **details,
    )


def take_values(table: type, options: dict[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Take the options of a table out of `options`; return the fields that were given."""
    given = {f"{prefix}{name}": options.pop(f"{prefix}{name}") for name in option_table(table)}
    return values_of(table, given, prefix=prefix)


def verify_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --verify and --no-verify; None where the user does not say."""
    return click.option(
        "--verify/--no-verify",
        default=None,
        help="Compare masks with the sha256 that the cache has on record. "
        "[default: yes, unless TMT_DQ_VERIFY is 0]",
    )(command)


def crds_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --crds-path and --context."""
    for decorate in (
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=offers.contexts("crds_path"),
            help="CRDS context, for example tmt_0001.pmap. "
            "[default: TMT_DQ_CRDS_CONTEXT or CRDS_CONTEXT, or the newest of the cache]",
        ),
        click.option(
            "--crds-path",
            type=FolderPath(),
            metavar="DIR",
            help="CRDS cache. [default: TMT_DQ_CRDS_PATH or CRDS_PATH, or the one that comes with "
            "tmt-dq]",
        ),
    ):
        command = decorate(command)
    return command
