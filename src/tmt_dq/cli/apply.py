"""``tmt-dq apply``."""

import time
from pathlib import Path
from typing import Any

import click

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.cli.console import as_record, echo, json_list, progress_bar, report_error, show_table
from tmt_dq.cli.options import (
    FilePath,
    GroupedCommand,
    TableOption,
    json_option,
    table_options,
    take_apply_options,
)
from tmt_dq.errors import BatchError, ConfigError, TmtDqError
from tmt_dq.files.urls import file_name, redacted
from tmt_dq.tables import flag_table, number

__all__ = ["command", "describe", "show"]

_OF_A_SOURCE = ("kind", "origin", "flagged", "parameters", "counts", "samples", "remarks")


@click.command("apply", cls=GroupedCommand, short_help="Initialize the data quality of raw ramps.")
@click.argument("ramps", metavar="RAMP...", nargs=-1, required=True, type=FilePath(urls=True))
@click.option(
    "-o",
    "--output",
    cls=TableOption,
    group="Output",
    type=FilePath(urls=True),
    help="Output of a single ramp.",
)
@table_options(ApplyOptions, face="apply")
@json_option
def command(
    ramps: tuple[Path | str, ...],
    output: Path | str | None,
    *,
    as_json: bool,
    **options: Any,
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
            f"--output names one file, but there are {len(ramps)} ramps",
            hint="Use --output-dir for several ramps.",
        )
    options = take_apply_options(options, "apply")
    if len(ramps) > 1:
        _check_outputs(ramps, options.get("output_dir"), overwrite=options.get("overwrite", False))
    failures: list[Exception] = []
    with json_list("ramps", wanted=as_json) as add:
        for ramp in ramps:
            try:
                applied, seconds = _apply_one(ramp, output, options)
            except TmtDqError as error:
                add({"input": redacted(str(ramp)), "error": as_record(error)})
                if len(ramps) == 1:
                    raise
                # One bad file does not stop the others.
                report_error(error)
                failures.append(error)
                continue
            add({**describe(applied), "seconds": round(seconds, 3)})
            if not as_json:
                show(applied, seconds)
    if failures:
        raise BatchError(f"{len(failures)} of {len(ramps)} ramps failed", failures)


def _size(path: Path | str) -> int:
    """Return the size of a local file; 0 where `apply_dq` will say what is wrong with it."""
    try:
        return path.stat().st_size if isinstance(path, Path) and path.is_file() else 0
    except OSError:
        return 0


def _check_outputs(
    ramps: tuple[Path | str, ...], folder: Path | str | None, *, overwrite: bool
) -> None:
    """Refuse outputs that would replace one another, or a ramp that is still to be read."""
    from tmt_dq.files.names import default_place

    def shown(place: Path | str) -> str:
        return redacted(place) if isinstance(place, str) else str(place.absolute())

    inputs = {shown(ramp) for ramp in ramps}
    found: dict[str, str] = {}
    for ramp in ramps:
        target = shown(default_place(ramp, folder))
        if target in found:
            raise ConfigError(
                f"{found[target]} and {shown(ramp)} have the same output {target}",
                hint="Run them one by one, each with an --output or --output-dir of its own.",
            )
        if overwrite and target in inputs:
            raise ConfigError(
                f"{target} is the output of {shown(ramp)}, and a ramp to be read as well",
                hint="Inputs are never modified: leave it out, or use --output-dir.",
            )
        found[target] = shown(ramp)


def _apply_one(
    ramp: Path | str, output: Path | str | None, options: dict[str, Any]
) -> tuple[Any, float]:
    start = time.perf_counter()
    from tmt_dq.apply.apply import apply_dq

    with progress_bar(file_name(str(ramp)), _size(ramp)) as progress:
        applied = apply_dq(ramp, output, progress=progress, **options)
    return applied, time.perf_counter() - start


def describe(applied: Any) -> dict[str, Any]:
    """Return what was done to an exposure as it stands in JSON."""
    selection = applied.selection
    return {
        "input": str(applied.input),
        "output": str(applied.output),
        "written": applied.written,
        "status": applied.status,
        "mask": applied.mask,
        "mask_path": None if applied.mask_path is None else str(applied.mask_path),
        "context": None if selection is None else selection.context,
        "sources": [
            {name: getattr(source, name) for name in _OF_A_SOURCE} for source in applied.sources
        ],
        "counts": applied.counts,
        "shape": applied.shape,
        "pixels_before": applied.pixels_before,
        "left_out": applied.left_out,
    }


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
