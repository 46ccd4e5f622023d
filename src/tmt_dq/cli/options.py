"""Options that several verbs share."""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli import offers
from tmt_dq.core.options import Option, option_table, values_of
from tmt_dq.errors import ConfigError
from tmt_dq.files.urls import is_url, redacted
from tmt_dq.masks.reading import Reading

__all__ = [
    "FilePath",
    "FolderPath",
    "GroupedCommand",
    "TableOption",
    "choices_option",
    "crds_options",
    "crds_path_option",
    "jobs_option",
    "json_option",
    "max_flagged_option",
    "old_cache_option",
    "overwrite_option",
    "position",
    "report_option",
    "seconds_option",
    "table_options",
    "take_apply_options",
    "take_values",
    "unknown_option",
    "verify_option",
    "wait_option",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class FilePath(click.ParamType[Path]):
    """A file name; whether it exists is the business of the code that opens it."""

    name = "file"

    def __init__(self, *, urls: bool = False) -> None:
        self._urls = urls

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the name as a path; a URL as text, where URLs are taken."""
        if self._urls and isinstance(value, str) and "://" in value:
            return value
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


position = _Value(Option(help="", kind=int, many=True, size=2, metavar="X,Y"))
"""A 1-based detector position X,Y."""


class TableOption(click.Option):
    """An option of an option table: listed in its group, and without its aliases."""

    def __init__(
        self, *declarations: Any, group: str = "", aliases: Sequence[str] = (), **details: Any
    ) -> None:
        super().__init__(*declarations, **details)
        self.group = group
        self.aliases = frozenset(aliases)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's line of a help text."""
        return click.Option.get_help_record(self._listed(), ctx)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return what an error about the option calls it."""
        return click.Option.get_error_hint(self._listed(), ctx)

    def _listed(self) -> "TableOption":
        listed = copy.copy(self)
        listed.opts = [name for name in self.opts if name not in self.aliases]
        listed.secondary_opts = [name for name in self.secondary_opts if name not in self.aliases]
        return listed


class GroupedCommand(click.Command):
    """A command whose help lists its options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options into a help text."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups.setdefault(getattr(param, "group", ""), []).append(record)
        others = groups.pop("", [])
        for name, records in [*groups.items(), ("Other options" if groups else "Options", others)]:
            with formatter.section(name):
                formatter.write_dl(records)


_COMPLETIONS: dict[str, Any] = {
    "mask": offers.files,
    "flag": offers.flags,
    "bad": offers.words("nonzero"),
    "values": offers.words("convention"),
    "columns": offers.words("x,y", "x,y,flag", "x0,y0,width,height,flag"),
    "context": offers.contexts("crds_path"),
}
"""What the shell offers as values of fields, where the table does not list all of them."""


def table_options(
    table: type, *, prefix: str = "", face: str = ""
) -> Callable[[_Command], _Command]:
    """Return a decorator that adds an option for each row of a table that a face offers."""

    def decorate(command: _Command) -> _Command:
        for name, option in reversed(_rows(table, face)):
            if option.is_table:
                command = table_options(option.kind, prefix=option.prefix)(command)
            else:
                command = _table_option(name, option, prefix)(command)
        return command

    return decorate


def _rows(table: type, face: str) -> list[tuple[str, Option]]:
    return [
        (name, option)
        for name, option in option_table(table).items()
        if not (face and option.faces) or face in option.faces
    ]


def _table_option(name: str, option: Option, prefix: str) -> Callable[[_Command], _Command]:
    def flag(field: str) -> str:
        dashed = f"{prefix}{field}".replace("_", "-")
        both = option.kind is bool and option.shown_default
        return f"--{dashed}/--no-{dashed}" if both else f"--{dashed}"

    aliases = [flag(alias) for alias in option.aliases]
    remarks = " May be repeated." if option.one else ""
    remarks += f" [default: {option.shown_default}]" if option.shown_default else ""
    return click.option(
        flag(option.one or name),
        *aliases,
        f"{prefix}{name}",
        cls=TableOption,
        group=option.group,
        aliases=[part for alias in aliases for part in alias.split("/")],
        metavar=option.metavar or None,
        help=f"{option.help}{remarks}",
        **_details(name, option),
    )


def _details(name: str, option: Option) -> dict[str, Any]:
    """Return how click reads an option's values; None stands for one that is not given."""
    if option.kind is bool:
        return {"default": None, "is_flag": True}
    if option.kind is Path:
        kind: Any = (FolderPath if option.metavar == "DIR" else FilePath)(
            urls=option.group != "CRDS"
        )
    elif option.kind is int and not option.many:
        limits = (option.minimum, option.maximum)
        kind = int if limits == (None, None) else click.IntRange(*limits)
    elif option.kind is float and (option.one or not option.many):
        kind = float
    elif option.choices and not option.many:
        return {"type": click.Choice(option.choices)}
    else:
        kind = _Value(option)
    completions = offers.parts(*option.choices) if option.choices else _COMPLETIONS.get(name)
    return {"type": kind, "multiple": bool(option.one), "shell_complete": completions}


def take_values(
    table: type, options: dict[str, Any], *, prefix: str = "", face: str = ""
) -> dict[str, Any]:
    """Take the options of a table out of `options`; return the fields that were given."""
    rows = _rows(table, face)
    tables = {name: option for name, option in rows if option.is_table}
    nested = {
        name: take_values(option.kind, options, prefix=option.prefix)
        for name, option in tables.items()
    }
    names = [f"{prefix}{name}" for name, _ in rows if name not in tables]
    given = values_of(table, {name: options.pop(name) for name in names}, prefix=prefix)
    return given | {name: values for name, values in nested.items() if values}


def take_apply_options(options: dict[str, Any], face: str) -> dict[str, Any]:
    """Take the options of an initialization out of `options`; return keywords of `apply_dq`."""
    given = take_values(ApplyOptions, options, face=face)
    if "user_reading" in given:
        given["user_reading"] = Reading(**given["user_reading"])
    return given


def _apply_option(name: str) -> Callable[[_Command], _Command]:
    row = option_table(ApplyOptions)[name]
    return _table_option(name, dataclasses.replace(row, group=""), "")


crds_path_option = _apply_option("crds_path")


def crds_options(command: _Command) -> _Command:
    """Add --crds-path and --context."""
    return crds_path_option(_apply_option("context")(command))


def choices_option(name: str, default: str, *others: str, about: str) -> Callable[..., Any]:
    """Return an option with a few possible values."""
    kind = click.Choice([default, *others])
    return click.option(name, type=kind, default=default, show_default=True, help=about)


def seconds_option(name: str, default: float | None, about: str) -> Callable[..., Any]:
    """Return an option that is a time; its parameter's name ends in _s."""
    return click.option(
        name,
        f"{name.strip('-')}_s",
        type=click.FloatRange(min=0),
        default=default,
        show_default=default is not None,
        metavar="SECONDS",
        help=about,
    )


jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes. [default: the cores]"
)
report_option = click.option(
    "--report", type=FilePath(), metavar="FILE.jsonl", help="Add a line of JSON for each ramp."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
unknown_option = choices_option(
    "--unknown", "error", "drop", about="What to do about bits that have no meaning."
)
wait_option = seconds_option("--wait", 60.0, "How long to wait for another delivery.")
verify_option = click.option(
    "--verify/--no-verify",
    default=None,
    help="Compare masks with the sha256 that the cache has on record. "
    "[default: yes, unless TMT_DQ_VERIFY is 0]",
)
old_cache_option = click.option(
    "--old-crds-path",
    type=FolderPath(),
    metavar="DIR",
    help="CRDS cache of OLD, if it is another one.",
)
max_flagged_option = click.option(
    "--max-flagged",
    type=click.FloatRange(0, 1),
    metavar="FRACTION",
    help="Largest fraction of active pixels that may be flagged, or have DO_NOT_USE. "
    "[default: the instrument's limits]",
)
