"""``tmt-dq apply`` and ``select``: one exposure after the other, and its mask."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli.console import echo, fields_of, json_list, print_json, report_error, show_table
from tmt_dq.cli.options import CONTEXT, CRDS_PATH, JSON, VERIFY, table_options, take_apply_options
from tmt_dq.cli.progress import progress_bar
from tmt_dq.cli.verb import FILE_OR_URL, argument, option, verb
from tmt_dq.errors import BatchError, ConfigError, TmtDqError, printable
from tmt_dq.files.urls import file_name, redacted
from tmt_dq.tables import flag_table, number


@verb(
    argument("ramps", "RAMP...", FILE_OR_URL),
    option("-o --output FILE", "Output of a single ramp.", kind=FILE_OR_URL, group="Output"),
    *table_options(ApplyOptions, face="apply"),
    JSON,
)
def apply_command(
    ramps: tuple[Path | str, ...], output: Path | str | None, *, as_json: bool, **options: Any
) -> None:
    """Initialize the data quality of raw ramps.

    Writes <root>_dqinit.fits beside each RAMP: the same file with PIXELDQ and GROUPDQ, flagged by
    the mask that CRDS' rules choose for the exposure.

    \b
    Examples:
      tmt-dq apply iris_0001_uncal.fits
      tmt-dq apply night/*_uncal.fits --output-dir reduced
      tmt-dq apply ramp.fits -o flagged.fits --mask my_mask.fits
      tmt-dq apply small.fits --subarray 1,467
      tmt-dq apply ramp.fits --guide-window 2001,1501,64,64,1:20 --full-scale 65535
    """
    if output is not None and len(ramps) > 1:
        raise ConfigError(
            f"--output names one file, but there are {len(ramps):,} ramps",
            hint="Use --output-dir for several ramps.",
        )
    options = take_apply_options(options, "apply")
    if len(ramps) > 1:
        _check_outputs(ramps, options.get("output_dir"), overwrite=options.get("overwrite", False))
    failures: list[Exception] = []
    with json_list("ramps", wanted=as_json) as add:
        for ramp in ramps:
            start = time.perf_counter()
            try:
                applied = _apply_one(ramp, output, options)
            except TmtDqError as error:
                add({"input": redacted(str(ramp)), "error": error})
                if len(ramps) == 1:
                    raise
                # One bad file does not stop the others.
                report_error(error)
                failures.append(error)
                continue
            seconds = time.perf_counter() - start
            add({**describe(applied), "seconds": round(seconds, 3)})
            if not as_json:
                show(applied, seconds)
    if failures:
        raise BatchError(f"{len(failures):,} of {len(ramps):,} ramps failed", failures)


def _check_outputs(
    ramps: tuple[Path | str, ...], folder: Path | str | None, *, overwrite: bool
) -> None:
    """Refuse outputs that would replace one another, or a ramp that is still to be read."""
    from tmt_dq.files.names import default_place

    def shown(place: Path | str) -> str:
        return redacted(place) if isinstance(place, str) else str(place.absolute())

    taken = dict.fromkeys(map(shown, ramps), "a ramp to be read as well") if overwrite else {}
    for ramp in ramps:
        target = shown(default_place(ramp, folder))
        if target in taken:
            raise ConfigError(
                f"the output of {shown(ramp)}, {target}, is {taken[target]}; inputs are never "
                "modified",
                hint="Run them one by one, or use --output-dir.",
            )
        taken[target] = f"that of {shown(ramp)}"


def _apply_one(ramp: Path | str, output: Path | str | None, options: dict[str, Any]) -> Any:
    from tmt_dq.apply.apply import apply_dq

    try:
        size = Path(ramp).stat().st_size
    except OSError:
        size = 0  # a URL, or a file of which `apply_dq` tells what is wrong
    with progress_bar(file_name(str(ramp)), size) as progress:
        return apply_dq(ramp, output, progress=progress, **options)


def describe(applied: Any) -> dict[str, Any]:
    """Return what was done to an exposure as it stands in JSON."""
    described = fields_of(applied)
    selection = described.pop("selection")
    return {**described, "context": None if selection is None else selection.context}


def show(applied: Any, seconds: float) -> None:
    """Print what was done and how many pixels carry each flag."""
    selection = applied.selection
    chosen = "" if selection is None else f" (chosen by {selection.context})"
    written = "" if applied.written else "  (dry run: not written)"
    echo(f"{applied.output}  {applied.status} in {seconds:.1f} s{written}")
    echo(f"mask {applied.mask}{chosen}")
    for source in applied.sources:
        echo(f"  {source.describe()}")
    if applied.pixels_before:
        echo(f"  flags from before: {number(applied.pixels_before)} pixels")
    for path, bits in applied.left_out.items():
        listing = ", ".join(f"bit {bit} of {number(count)} pixels" for bit, count in bits.items())
        echo(f"left out as asked, from {path}: {listing}")
    if applied.counts:
        show_table(flag_table(applied.counts, applied.shape[2] * applied.shape[3]))


@verb(
    argument("ramp", "RAMP", FILE_OR_URL),
    option("--explain", "Show what each rule key required and found."),
    *(VERIFY, CRDS_PATH, CONTEXT, JSON),
)
def select_command(ramp: Path | str, *, explain: bool, as_json: bool, **options: Any) -> None:
    """Show which mask belongs to an exposure, and why.

    Prints the path of the MASK reference file that CRDS' rules choose for RAMP, or N/A.

    \b
    Examples:
      tmt-dq select iris_0001_uncal.fits
      tmt-dq select iris_0001_uncal.fits --explain --context tmt_0001.pmap
    """
    from tmt_dq.references import select_mask
    from tmt_dq.references.rule_matches import checks_table

    selection = select_mask(ramp, **options)
    if as_json:
        chosen = {name: getattr(selection, name) for name in ("path", "context", "cache", "rules")}
        print_json({"ramp": redacted(str(ramp)), "mask": selection.uri, **chosen})
        return
    path = "N/A" if selection.path is None else str(selection.path)
    # For a script, which opens it, the path is what it is.
    click.echo(printable(path) if sys.stdout.isatty() else path)
    if explain:
        echo(f"context {selection.context} of {selection.cache}")
        show_table(checks_table(selection.rules))
