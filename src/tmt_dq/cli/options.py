"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli import offers
from tmt_dq.files.urls import is_url, redacted

__all__ = [
    "Bad",
    "FilePath",
    "FolderPath",
    "Guide",
    "Position",
    "Values",
    "crds_options",
    "recipe_fields",
    "source_options",
    "verify_option",
]


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


class Guide(click.ParamType[Any]):
    """A guide window X,Y,NX,NY[,GROUPS] in FITS terms."""

    name = "x,y,nx,ny[,groups]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the window."""
        from tmt_dq.core.recipe import GuideWindow
        from tmt_dq.errors import ConfigError

        if isinstance(value, GuideWindow):
            return value
        try:
            return GuideWindow.parse(str(value))
        except ConfigError as error:
            self.fail(error.what, param, ctx)


class Values(click.ParamType["str | dict[int, str]"]):
    """What numbers mean: ``convention``, or ``16=HOT,4=DEAD|DO_NOT_USE``."""

    name = "values"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the word, or names by number."""
        if not isinstance(value, str) or value.strip().lower() == "convention":
            return value if not isinstance(value, str) else "convention"
        meanings: dict[int, str] = {}
        for item in value.split(","):
            number, separator, names = item.partition("=")
            try:
                key = int(number)
            except ValueError:
                separator = ""
                key = 0
            if not separator or key in meanings:
                self.fail(
                    f"{item!r} does not say what one number means; expected 'convention' or "
                    "16=HOT,4=DEAD",
                    param,
                    ctx,
                )
            meanings[key] = names
        return meanings


class Bad(click.ParamType["int | str"]):
    """The value of bad pixels: a number, or ``nonzero``."""

    name = "value"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number or the word."""
        if isinstance(value, int) or str(value).lower() == "nonzero":
            return value if isinstance(value, int) else "nonzero"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is no value; expected a whole number or nonzero", param, ctx)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which flag sources run; None where the user does not say."""
    switches = {
        "propagate-do-not-use": "Set the mask's DO_NOT_USE in every group of GROUPDQ too.",
        "reference-pixels": "Flag the border of reference pixels if the mask does not.",
        "guide-windows": "Flag the guide windows that the file's table or header names.",
        "missing-reads": "Flag groups next to missing reads as DROPOUT.",
        "non-finite": "Flag pixels with NaN or infinite values.",
    }
    values = {
        "ad-floor": "Flag samples at or below this value as AD_FLOOR; 0 for uint16.",
        "full-scale": "Flag samples at or above this value as SATURATED; 65535 for uint16.",
    }
    decorators = [
        click.option(f"--{name}/--no-{name}", default=None, help=text)
        for name, text in switches.items()
    ]
    decorators += [
        click.option(
            "--guide-window",
            "guide_window",
            type=Guide(),
            multiple=True,
            metavar="X,Y,NX,NY[,GROUPS]",
            help="Flag this window, read for guiding in GROUPS (FIRST:LAST); may be repeated.",
        ),
        click.option(
            "--guide-parts",
            metavar="PARTS",
            shell_complete=offers.parts("box", "rows", "columns"),
            help="What of guide windows to flag. [default: box,rows,columns]",
        ),
        click.option(
            "--guide-expand",
            type=click.IntRange(min=0),
            metavar="N",
            help="Make guide windows larger by N pixels on all sides.",
        ),
        click.option(
            "--dropout-value",
            type=float,
            multiple=True,
            metavar="V",
            help="Flag samples of this value as DROPOUT; may be repeated.",
        ),
    ]
    decorators += [
        click.option(f"--{name}", type=float, metavar="V", help=text)
        for name, text in values.items()
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def recipe_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `source_options` out of `options`; return the recipe's fields."""
    given = {
        "propagate_do_not_use": options.pop("propagate_do_not_use"),
        "reference_pixels": options.pop("reference_pixels"),
        "guide_windows_from_file": options.pop("guide_windows"),
        "missing_reads": options.pop("missing_reads"),
        "non_finite": options.pop("non_finite"),
        "guide_windows": options.pop("guide_window") or None,
        "guide_expand": options.pop("guide_expand"),
        "dropout_values": options.pop("dropout_value") or None,
        "ad_floor": options.pop("ad_floor"),
        "full_scale": options.pop("full_scale"),
    }
    parts = options.pop("guide_parts")
    if parts is not None:
        given["guide_parts"] = tuple(part.strip() for part in parts.split(",") if part.strip())
    return {name: value for name, value in given.items() if value is not None}


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
            "[default: CRDS_CONTEXT, or the newest of the cache]",
        ),
        click.option(
            "--crds-path",
            type=FolderPath(),
            metavar="DIR",
            help="CRDS cache. [default: CRDS_PATH, or the one that comes with tmt-dq]",
        ),
    ):
        command = decorate(command)
    return command
