"""``tmt-dq import`` and ``combine``: verbs that make masks."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import echo, print_json, show_table
from tmt_dq.cli.options import JSON, UNKNOWN, table_options, take_values
from tmt_dq.cli.verb import FILE, argument, option, verb
from tmt_dq.masks.reading import Reading
from tmt_dq.tables import flag_table, number

NEW_MASK = (
    option("-o --output MASK", "The mask to write."),
    UNKNOWN,
    option(
        "--do-not-use instrument|keep|NAME,...",
        "Flags that set DO_NOT_USE: the instrument's, none, or these.",
        default="instrument",
    ),
    option("--useafter T", "USEAFTER: date, or date and time, UTC, ISO 8601."),
    option("--pedigree TEXT", "PEDIGREE: INFLIGHT, GROUND, DUMMY, ..."),
    option("--author TEXT", "AUTHOR of the mask."),
    option("--description TEXT", "DESCRIP of the mask."),
    option("--overwrite", "Replace an existing mask."),
    option(
        "--grow plus|square:NAME,...",
        "Give these flags to the neighbours of their pixels, too: those that share an edge (plus) "
        "or also a corner (square).",
    ),
    option("--dry-run", "Do everything but write the mask."),
    JSON,
)
"""What a new mask says of itself."""


def show_made(made: Any, *, as_json: bool) -> None:
    """Report a mask that was made."""
    if as_json:
        print_json(made)
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


@verb(
    argument("source", "SOURCE", FILE),
    option("--detector NAME", "Detector, for example IRIS1.", required=True),
    option("--instrument NAME", "Instrument that the detector belongs to.", default="IRIS"),
    *table_options(Reading),
    *NEW_MASK,
)
def import_command(source: Path, output: Path | None, *, as_json: bool, **options: Any) -> None:
    """Make a mask from a file of any kind that people keep bad pixels in.

    SOURCE is a FITS image (a mask, or a map where a value means bad), a list of pixels (columns
    x y [flag], ranges a:b with both ends) or boxes (x0 y0 width height [flag]) as text or FITS
    table, an HST bad pixel table, or a DS9 region file. What it does not say is asked for, never
    guessed.

    \b
    Examples:
      tmt-dq import hot.txt -o mask.fits --detector IRIS1 --base 0 --flag HOT
      tmt-dq import map.fits -o mask.fits --detector IRIS2 --good 9 --flag OTHER_BAD_PIXEL
      tmt-dq import bars.reg -o mask.fits --detector IFU --flag NON_SCIENCE --do-not-use keep
      tmt-dq import bpx.fits -o mask.fits --detector IRIS1 --values 16=HOT,4=DEAD
      tmt-dq import chip.fits --detector IRIS1 --at 1,1 --bad 1 --flag DEAD --dry-run
    """
    from tmt_dq.masks.make import import_mask

    made = import_mask(source, output, **options)
    show_made(made, as_json=as_json)


@verb(
    argument("masks", "MASK...", FILE),
    option(
        "--rule any|all|K|FLAG=...",
        "Keep a flag that any, all or at least K of the masks give a pixel; FLAG=K for one flag. "
        "Repeatable. [default: any]",
        name="rules",
        multiple=True,
    ),
    option("--add FILE", "Add the flags of this list or map.", multiple=True),
    option("--clear FILE", "Take the flags of this list or map away.", multiple=True),
    option("--clear-flag NAME[,NAME]", "Flags that --clear takes away. [default: as --flag]"),
    option("--detector NAME", "Detector, where the masks do not say."),
    option("--instrument NAME", "Instrument, where the masks do not say."),
    *table_options(Reading),
    *NEW_MASK,
)
def combine_command(
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
    reading = Reading(**given, unknown=options["unknown"])
    clearing = reading if clear_flag is None else dataclasses.replace(reading, flag=clear_flag)
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
    rules: dict[str, Any] = {}
    for text in texts:
        name, _, rule = text.rpartition("=")
        if not name and name in rules:
            raise click.UsageError("--rule is given twice for all flags; expected one.")
        rules[name] = int(rule) if rule.isdecimal() else rule
    return rules.pop("", "any"), rules
