"""Verbs and their options as click objects: kinds of values, groups in help texts."""

import inspect
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli import console, logs
from tmt_dq.files.urls import is_url, redacted


class FilePath(click.Path):
    """A file's name as a path, or a URL as text; whether it exists is found when it is opened."""

    def __init__(self, name: str = "file", *, urls: bool = False) -> None:
        super().__init__(file_okay=name == "file")
        self.name = name
        self._urls = urls

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the name as a path; a URL as text, where URLs are taken."""
        if self._urls and isinstance(value, str) and "://" in value:
            return value
        if is_url(value):
            what = f"{redacted(str(value))} is a URL; a {self.name} on this machine is needed here"
            self.fail(what, param, ctx)
        return Path(value)


FILE, FILE_OR_URL = FilePath(), FilePath(urls=True)
FOLDER, FOLDER_OR_URL = FilePath("folder"), FilePath("folder", urls=True)

_KINDS: dict[str, click.ParamType[Any]] = {
    **dict.fromkeys(("FILE", "FILE.json", "FILE.jsonl", "HTML", "MASK", "PICTURE", "REG"), FILE),
    "DIR": FOLDER,
    "FRACTION": click.FloatRange(0, 1),
    "N": click.IntRange(min=1),
    "SECONDS": click.FloatRange(min=0),
}
"""What is read where a help text has such a placeholder; text for all others."""


class Option(click.Option):
    """An option that help texts list under the heading of its group."""

    def __init__(self, names: Sequence[str], *, group: str = "", **details: Any) -> None:
        super().__init__(names, **details)
        self.group = group


def argument(name: str, metavar: str, kind: click.ParamType[Any] | None = None) -> click.Argument:
    """Return an argument; several, at least one, where its placeholder ends in three dots."""
    many = metavar.endswith("...")
    nargs = -1 if many else 1
    return click.Argument([name], metavar=metavar, type=kind, nargs=nargs, required=True)


def option(
    spec: str, text: str, default: Any = None, *, kind: Any = None, name: str = "", **details: Any
) -> Option:
    """Return an option from ``-o --output FILE``: its names and, unless it is a switch, its value.

    `name` is that of the function's parameter, where it is not the option's; times end in ``_s``.
    """
    *names, last = spec.split()
    metavar = None if last.startswith("-") else last
    if metavar is None:
        names.append(last)
    if metavar is None and kind is None:
        details["is_flag"] = True
    if default is not None or "/" in spec:
        details |= {"default": default, "show_default": default is not None}
    own = name or names[-1].partition("/")[0].strip("-").replace("-", "_")
    parameter = f"{own}_s" if metavar == "SECONDS" else own
    return Option(
        [*names, parameter],
        type=kind or _KINDS.get(metavar or ""),
        metavar=metavar,
        help=text,
        **details,
    )


class Verb(click.Command):
    """A command whose help lists its options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options into a help text."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        groups: dict[str, list[click.Option]] = {}
        for shown in options:
            groups.setdefault(getattr(shown, "group", ""), []).append(shown)
        others = groups.pop("", [])
        # A single group is no order.
        groups = {**groups, "Other options": others} if len(groups) > 1 else {"Options": options}
        for name, members in groups.items():
            records = [record for one in members if (record := one.get_help_record(ctx))]
            with formatter.section(name):
                formatter.write_dl(records)


def verb(*params: click.Parameter) -> Callable[[Callable[..., Any]], Verb]:
    """Return a decorator that makes a verb of a function, with these parameters and the common."""

    def decorate(function: Callable[..., Any]) -> Verb:
        every = [*params, *common_options()]
        text = inspect.getdoc(function)
        return Verb(function.__name__, callback=function, params=every, help=text)

    return decorate


def common_options() -> list[click.Parameter]:
    """Return the options that all verbs have, which act where they are read."""
    return [
        _common(
            ["-v", "--verbose"],
            lambda count: logs.show(logging.INFO if count == 1 else logging.DEBUG),
            count=True,
            help="Show what is chosen and written on standard error; -vv also why.",
        ),
        _common(
            ["-q", "--quiet"],
            lambda on: setattr(console.manner, "quiet", on),
            is_flag=True,
            help="Show errors, warnings, JSON only.",
        ),
        _common(
            ["--log-file"],
            lambda name: logs.add_file(Path(name)),
            metavar="FILE",
            help="Add what is chosen and written, and why, to this file.",
        ),
    ]


def _common(names: list[str], act: Callable[[Any], None], **details: Any) -> click.Option:
    """Return an option that calls `act` with its value, where it is given."""

    def call(context: click.Context, _param: click.Parameter, value: Any) -> None:
        if value and not context.resilient_parsing:
            act(value)

    return click.Option(names, expose_value=False, is_eager=True, callback=call, **details)
