"""``tmt-dq combine``."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli import offers
from tmt_dq.cli.console import working
from tmt_dq.cli.options import FilePath, table_options, take_values
from tmt_dq.cli.reading_options import mask_options, show_made
from tmt_dq.masks.reading import Reading

__all__ = ["command"]


@click.command("combine", short_help="Merge masks; add or take away the flags of lists.")
@click.argument("masks", metavar="MASK...", nargs=-1, required=True, type=FilePath())
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="any|all|K|FLAG=...",
    shell_complete=offers.merge_rules,
    help="Keep a flag that any, all or at least K of the masks give a pixel; FLAG=K for one flag. "
    "Repeatable. [default: any]",
)
@click.option("--add", type=FilePath(), multiple=True, help="Add the flags of this list or map.")
@click.option(
    "--clear", type=FilePath(), multiple=True, help="Take the flags of this list or map away."
)
@click.option(
    "--clear-flag",
    metavar="NAME[,NAME]",
    shell_complete=offers.flags,
    help="Flags that --clear takes away. [default: as --flag]",
)
@click.option(
    "--detector",
    metavar="NAME",
    shell_complete=offers.detectors,
    help="Detector, where the masks do not say.",
)
@click.option(
    "--instrument",
    metavar="NAME",
    shell_complete=offers.instruments,
    help="Instrument, where the masks do not say.",
)
@table_options(Reading)
@mask_options
def command(
    masks: tuple[Path, ...],
    output: Path | None,
    rules: tuple[str, ...],
    add: tuple[Path, ...],
    clear: tuple[Path, ...],
    clear_flag: str | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a mask from others: merge them flag by flag, take flags away, add flags.

    --add and --clear read files of any kind that tmt-dq import reads; --flag, --base and the other
    options about reading are for these files. USEAFTER, AUTHOR and the like are those of the new
    mask: they are not taken over.

    \b
    Examples:
      tmt-dq combine old.fits -o new.fits --add tuesday.txt --flag HOT --base 0
      tmt-dq combine old.fits -o new.fits --clear healed.reg --clear-flag HOT,DO_NOT_USE
      tmt-dq combine a.fits b.fits c.fits -o merged.fits --rule 2
      tmt-dq combine a.fits b.fits -o merged.fits --rule all --rule DEAD=any
    """
    from tmt_dq.masks.combine import combine_masks

    given = take_values(Reading, options)
    if not clear:
        _refuse_unused({"clear_flag": clear_flag} if add else {**given, "clear_flag": clear_flag})
    rule, per_flag = _rules(rules)
    unknown = options["unknown"]
    reading = Reading(**given, unknown=unknown)
    clearing = reading if clear_flag is None else dataclasses.replace(reading, flag=clear_flag)
    with working(f"combining {len(masks)} masks"):
        made = combine_masks(
            masks,
            output,
            rule=rule,
            per_flag=per_flag,
            add=[(path, reading) for path in add],
            remove=[(path, clearing) for path in clear],
            **options,
        )
    show_made(made, as_json=as_json)


def _refuse_unused(options: dict[str, Any]) -> None:
    """Refuse options about files that are not there."""
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is about the files of --add and --clear, but "
                "there is no such file."
            )


def _rules(texts: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """Split the rules into that of all flags and those of single ones."""
    general: list[Any] = []
    single: dict[str, Any] = {}
    for text in texts:
        name, separator, rule = text.rpartition("=")
        value: Any = int(rule) if rule.isdecimal() else rule
        if separator:
            single[name] = value
        else:
            general.append(value)
    if len(general) > 1:
        raise click.UsageError("--rule is given twice for all flags; expected one.")
    return (general[0] if general else "any"), single
