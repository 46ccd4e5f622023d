"""``tmt-dq make``."""

import os
from pathlib import Path
from typing import Any

import click

from tmt_dq.cli.console import echo, print_json, table
from tmt_dq.cli.masks import NEW_MASK, show_made
from tmt_dq.cli.options import CONTEXT, CRDS_PATH, SCHEDULER, table_options, take_cluster
from tmt_dq.cli.progress import progress_bar
from tmt_dq.cli.verb import option, verb
from tmt_dq.core.options import values_of
from tmt_dq.masks.reading import Reading
from tmt_dq.tables import number

_FILES = "A file, URL, quoted pattern, folder or @LIST; may be repeated."
_OWN = ("unknown", "do_not_use", "dry_run")
"""Options of other new masks that mean nothing here, or something else."""


@verb(
    option("--darks FILES", f"Raw darks. {_FILES}", multiple=True),
    option("--flats FILES", f"Raw flats. {_FILES}", multiple=True),
    option(
        "--long-flats FILES",
        "Flats in which pixels may saturate: for the linearity alone.",
        multiple=True,
    ),
    option("--detector NAME", "Detector, for example IRIS1.", required=True),
    option("--instrument NAME", "Instrument that the detector belongs to.", default="IRIS"),
    option(
        "--recipe NAME|FILE.toml",
        "Finders and thresholds: a recipe of tmt-dq, or your own.",
        default="iris",
    ),
    option(
        "--base auto|MASK",
        "Keep the flags of this mask that no finder measures, and all outside a subarray; the new "
        "mask covers the same pixels. auto: the mask in force.",
    ),
    *(CRDS_PATH, CONTEXT),
    option("--add FILE", "Add the flags of this list or map, which win.", multiple=True),
    *table_options(Reading, prefix="add_"),
    option("--full-frame", "Cover the whole detector, with no flags outside a subarray."),
    option("--gain E_PER_DN", "Gain. [default: GAIN of the files]", kind=float),
    option("--allow-few", "Accept, and record, fewer exposures than the recipe demands."),
    option("--keep-maps FILE", "Write the maps that the finders decide from, with units."),
    option("--jobs N", "Threads. [default: the cores]"),
    *SCHEDULER,
    option(
        "--do-not-use instrument|keep|NAME,...",
        "Flags that set DO_NOT_USE: the instrument's, none, or these. [default: the recipe's]",
    ),
    *(one for one in NEW_MASK if one.name not in _OWN),
    option("--dry-run", "Read headers only; show what would be read, how long, how much memory."),
)
def make_command(
    darks: tuple[str, ...],
    flats: tuple[str, ...],
    long_flats: tuple[str, ...],
    output: Path | None,
    add: tuple[Path, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a mask from darks and flats.

    All reads of all exposures are measured in one pass; the finders of the recipe decide from the
    maps. --add reads files of any kind that tmt-dq import reads; the options --add-flag,
    --add-base and so on say what such a file does not say itself.

    \b
    Examples:
      tmt-dq make --darks 'dark_*.fits' --flats 'flat_*.fits' --detector IRIS1 -o mask.fits
      tmt-dq make --darks @d.txt --flats flats/ --detector IRIS1 --base auto -o mask.fits
      tmt-dq make --darks darks/ --flats flats/ --detector IRIS1 --add list.txt -o mask.fits
      tmt-dq make --darks 'dark_*.fits' --flats 'flat_*.fits' --detector IRIS1 --dry-run
    """
    from tmt_dq.batch.inputs import find_inputs
    from tmt_dq.calibration.make import find_bad_pixels

    given = values_of(Reading, lambda name, _row: options.pop(name), prefix="add_")
    if given and not add:
        raise click.UsageError(f"--add-{next(iter(given))} is about the files of --add: name one.")
    mapper = take_cluster(options)
    groups = [
        find_inputs(names, output_dir=Path()) if names else []
        for names in (darks, flats, long_flats)
    ]
    local = [Path(name) for group in groups for name in group if "://" not in name]
    size = sum(path.stat().st_size for path in local if os.access(path, os.R_OK))
    with progress_bar("measuring", 2 * size) as progress:
        found = find_bad_pixels(
            groups[0],
            output,
            flats=groups[1],
            long_flats=groups[2],
            add=[(path, Reading(**given)) for path in add],
            mapper=mapper,
            progress=progress,
            **options,
        )
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(found: Any) -> None:
    """Report what was found, or what a dry run says."""
    kinds = [one.kind for one in found.inputs]
    numbers = ", ".join(f"{kinds.count(kind)} {kind}s" for kind in dict.fromkeys(kinds))
    if found.made is None:
        echo(f"would read {numbers}: {number(found.cost.reads)} reads of pixels")
        echo(f"about {found.cost.seconds:,.0f} s, {found.cost.peak_bytes / 1e9:.1f} GB of memory")
        for one in found.inputs:
            echo(f"{one.kind} {one.name}  {one.date}  {' × '.join(map(str, one.shape))}")
        return
    echo(f"made of {numbers} by the recipe {found.recipe}, in {found.seconds:.1f} s")
    for remark in found.remarks:
        echo(f"accepted on request: {remark}")
    table(
        ("finder", "flag", "pixels", "share", "s"),
        [
            (one.finder, one.flag, one.pixels, one.fraction, f"{one.seconds:.2f}")
            for one in found.finders
            if not one.skipped
        ],
    )
    for one in found.finders:
        if one.detail:
            echo(f"{one.finder}: {one.detail}")
    show_made(found.made, as_json=False)
