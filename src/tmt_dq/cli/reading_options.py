"""Options of the verbs that read bad pixels and write masks."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import click

from tmt_dq.cli import offers
from tmt_dq.cli.console import echo, print_json, show_table
from tmt_dq.cli.options import FilePath, TableOption, json_option, unknown_option
from tmt_dq.tables import flag_table, number

__all__ = ["mask_options", "show_made"]


def mask_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a new mask says of itself."""
    for decorate in (
        json_option,
        click.option("--dry-run", is_flag=True, help="Do everything but write the mask."),
        click.option(
            "--grow",
            metavar="plus|square:NAME,...",
            help="Give these flags to the neighbours of their pixels, too: those that share an "
            "edge (plus) or also a corner (square).",
        ),
        click.option("--overwrite", is_flag=True, help="Replace an existing mask."),
        click.option(
            "--description",
            "--descrip",
            cls=TableOption,
            aliases=["--descrip"],
            metavar="TEXT",
            help="DESCRIP of the mask.",
        ),
        click.option("--author", metavar="TEXT", help="AUTHOR of the mask."),
        click.option(
            "--pedigree",
            metavar="TEXT",
            shell_complete=offers.words("INFLIGHT", "GROUND", "MODEL", "SIMULATION", "DUMMY"),
            help="PEDIGREE: INFLIGHT, GROUND, DUMMY, ...",
        ),
        click.option(
            "--useafter", metavar="T", help="USEAFTER: date, or date and time, UTC, ISO 8601."
        ),
        click.option(
            "--do-not-use",
            default="instrument",
            show_default=True,
            metavar="instrument|keep|NAME,...",
            shell_complete=offers.flag_lists("instrument", "keep"),
            help="Flags that set DO_NOT_USE: the instrument's, none, or these.",
        ),
        unknown_option,
        click.option("-o", "--output", type=FilePath(), metavar="MASK", help="The mask to write."),
    ):
        command = decorate(command)
    return command


def show_made(made: Any, *, as_json: bool) -> None:
    """Report a mask that was made."""
    if as_json:
        print_json(_as_dict(made))
        return
    name = made.output or "no file"
    written = "" if made.written else "  (dry run: not written)"
    echo(f"{name}  mask of {made.instrument} {made.detector}{written}")
    for source in made.sources:
        said = f" ({source.said})" if source.said else ""
        remarks = "".join(f"; {remark}" for remark in source.remarks)
        echo(f"{source.role} {source.path}{said}{remarks}")
    if made.policy:
        flags = ", ".join(made.policy)
        echo(f"DO_NOT_USE where {flags}: {number(made.do_not_use_added)} pixels got it")
    else:
        echo("DO_NOT_USE kept as it was")
    counts = {flag: made.counts.get(flag, 0) for flag in (*made.counts, *made.lost)}
    changes = {"gained": _signed("+", made.gained), "lost": _signed("-", made.lost)}
    show_table(flag_table(counts, made.size, changes if made.gained or made.lost else None))
    if made.missing:
        echo(f"not in the file yet, and needed to deliver it: {', '.join(made.missing)}")


def _signed(sign: str, counts: Mapping[str, int]) -> dict[str, str]:
    return {flag: f"{sign}{number(count)}" for flag, count in counts.items()}


def _as_dict(made: Any) -> dict[str, Any]:
    document = dataclasses.asdict(made)
    document["output"] = None if made.output is None else str(made.output)
    for source in document["sources"]:
        source["path"] = str(source["path"])
    return document
