"""Masks from darks and flats: open, measure, find, write."""

import contextlib
import datetime as dt
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.found import BadPixels, FinderResult
from tmt_dq.calibration.inputs import Calibrations, Elsewhere, border_of
from tmt_dq.calibration.map_files import write_maps
from tmt_dq.calibration.maps import Maps
from tmt_dq.calibration.recipe import MaskRecipe, load_recipe
from tmt_dq.calibration.suitability import (
    Shortage,
    check_fraction,
    check_numbers,
    check_threshold,
)
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, OutputError, SelectionError
from tmt_dq.files.atomic import check_output, try_output
from tmt_dq.files.identity import sha256_of
from tmt_dq.masks.formats import read_flags
from tmt_dq.masks.mask import Mask, check_belongs, place_on_detector, read_mask
from tmt_dq.masks.new_mask import MaskOptions, NewMask, find_detector
from tmt_dq.masks.reading import Reading
from tmt_dq.references import select_mask

PathLike = str | os.PathLike[str]
Flags = npt.NDArray[np.uint32]

_log = logging.getLogger(__name__)


def find_bad_pixels(  # noqa: PLR0913 - the options of the verb, keyword-only
    darks: Iterable[PathLike],
    output: PathLike | None = None,
    *,
    flats: Iterable[PathLike] = (),
    long_flats: Iterable[PathLike] = (),
    detector: str,
    instrument: str = "IRIS",
    recipe: str | PathLike = "iris",
    base: PathLike | None = None,
    crds_path: PathLike | None = None,
    context: str | None = None,
    add: Iterable[tuple[PathLike, Reading]] = (),
    full_frame: bool = False,
    gain: float | None = None,
    allow_few: bool = False,
    keep_maps: PathLike | None = None,
    jobs: int | None = None,
    mapper: Elsewhere | None = None,
    do_not_use: str | Iterable[str] | None = None,
    useafter: str | dt.datetime | dt.date | None = None,
    pedigree: str | None = None,
    author: str | None = None,
    description: str | None = None,
    grow: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> BadPixels:
    """Make a mask from darks and flats.

    Parameters
    ----------
    darks : iterable of path or URL
        Raw up-the-ramp exposures of one detector and the same pixels, all read in the same way.
        Integrations of a file count as exposures of their own.
    output : path, optional
        The mask file to write; not needed for a dry run.
    flats : iterable of path or URL
        Exposures to a lamp, of one level or several, read in one way too.
    long_flats : iterable of path or URL
        Flats in which pixels may saturate; they count for the linearity alone.
    detector, instrument : str
        Whose pixels they are.
    recipe : str or path
        Name of a recipe of tmt-dq, or a TOML file of one's own.
    base : path, optional
        A mask of which flags stay that no finder of the recipe measures, and all flags outside the
        exposures' window; "auto" for the mask that the rules select for the first dark. The new
        mask covers the same pixels.
    crds_path, context : optional
        Cache and rules for ``base="auto"``, as in `tmt_dq.select_mask`.
    add : iterable of (path, Reading)
        Files of any kind that `tmt_dq.import_mask` reads, whose flags are added to what was found.
    full_frame : bool
        For exposures, or a base, of a subarray: whether the mask covers the whole detector, with
        no flags in the other pixels but the border's. By default it covers the subarray.
    gain : float, optional
        Gain, e⁻/DN; by default GAIN of the exposures, or that of the instrument's description.
    allow_few : bool
        Whether fewer exposures or reads than the recipe demands are accepted; it is recorded.
    keep_maps : path, optional
        A FITS file for the maps, one extension each, with units.
    jobs : int, optional
        Threads; by default one for each core.
    mapper : callable, optional
        Where the exposures are measured instead, as in `tmt_dq.batch.run_batch`: a
        `tmt_dq.batch.Cluster`, whose workers must see the same files. The mask is the same.
    do_not_use : "instrument", "keep", or names of flags, optional
        As in `tmt_dq.import_mask`; by default what the recipe says.
    useafter, pedigree, author, description, grow, overwrite
        As in `tmt_dq.import_mask`.
    dry_run : bool
        Whether only headers are read: the result says what would be read, and its cost.
    progress : callable, optional
        Called, also by threads, with numbers of bytes that are done: each file is read twice, for
        its checksum and for its reads.

    Returns
    -------
    BadPixels
        The mask, pixels per finder, and what they were made of.

    Raises
    ------
    ConfigError
        Raised if there are too few exposures, a recipe is not understood, the gain is unknown, or
        a cache or context is named without ``base="auto"``.
    RampFormatError
        Raised if a file is not what it should be: no ramp, read otherwise than the others, without
        TGROUP or TFRAME, with lost reads or NaN, a flat among darks, a dark among flats, a
        saturated flat; and if a finder flags more pixels than the recipe allows.
    MaskFormatError, GeometryError
        Raised if a file is of another detector or of other pixels, or the base does not cover them.
    OutputError
        Raised if an output exists, or cannot be written.

    Examples
    --------
    >>> from tmt_dq import find_bad_pixels
    >>> found = find_bad_pixels(
    ...     night.glob("dark_*.fits"), "mask.fits", flats=night.glob("flat_*.fits"),
    ...     detector="IRIS1", gain=2.0,
    ... )  # doctest: +SKIP
    """
    began = time.monotonic()
    described, chip = find_detector(instrument, detector)
    used = load_recipe(recipe if isinstance(recipe, str) else Path(recipe))
    policy = used.do_not_use if do_not_use is None else do_not_use
    keywords = (useafter, pedigree, author, description)
    options = MaskOptions(output, keywords, policy, grow, overwrite=overwrite, dry_run=dry_run)
    names = {"dark": list(darks), "flat": list(flats), "long flat": list(long_flats)}
    lists = [(Path(path), reading) for path, reading in add]
    exposures = [Path(name) for group in names.values() for name in group]
    _check_outputs(options, keep_maps, [*exposures, *(path for path, _ in lists)])
    rules = {"crds_path": crds_path, "context": context}
    _check_rules(base, rules)
    shortage = Shortage(allowed=allow_few)
    with contextlib.ExitStack() as stack:
        night = Calibrations.open(
            stack, names, used, described, chip, gain=gain, jobs=jobs, headers_only=dry_run
        )
        check_numbers(night.series, used, shortage)
        kept = _kept(base, night, rules, full_frame=full_frame)
        new = NewMask("make", described.name, chip.name, options, window=kept.window)
        added = [(read_flags(path, new.target, reading), reading) for path, reading in lists]
        if dry_run:
            return BadPixels(None, used.name, night.inputs, cost=night.cost)
        maps = night.measure(mapper, progress)
        inputs = night.with_sums(progress)
        night.verify()
    check_threshold(maps, used, shortage)
    flags, results = _find(maps, used, shortage)
    if keep_maps is not None:
        write_maps(Path(keep_maps), maps, overwrite=overwrite)
    measured = np.uint32(PIXEL.encode([one.flag for one in results if not one.skipped]))
    new.dq = _placed(flags, kept, night.first.window, measured)
    new.orientation = night.first.ramp.ramp.orientation
    anew = ", ".join(PIXEL.decode(measured))
    for line in (
        *(f"{remark}; flags kept, but for {anew}" for remark in kept.remarks),
        *(one.describe() for one in inputs),
        f"gain {night.gain} e-/DN; recipe {used.name}",
        *(f"recipe {line}" for line in used.describe()),
        *(result.describe() for result in results),
        *(f"accepted on request: {remark}" for remark in shortage.remarks),
    ):
        new.note(line)
    for mask, reading in added:
        new.add(mask, reading)
    seconds = time.monotonic() - began
    remarks = tuple(shortage.remarks)
    return BadPixels(new.write(), used.name, inputs, tuple(results), remarks, night.cost, seconds)


def _check_outputs(options: MaskOptions, keep_maps: PathLike | None, inputs: list[Path]) -> None:
    """Make sure, before any work, that mask and maps can be written."""
    options.check(inputs)
    if keep_maps is not None and not options.dry_run:
        check_output(Path(keep_maps), overwrite=options.overwrite, inputs=inputs)
        try_output(Path(keep_maps))
        output = Path(options.output or "").resolve()
        if output == Path(keep_maps).resolve():
            what = "is named for the mask and for the maps"
            raise OutputError(what, where=keep_maps, hint="Name two files.")


def _check_rules(base: PathLike | None, rules: Mapping[str, object]) -> None:
    """Refuse a cache or context that nothing would ask."""
    for name, value in rules.items():
        if value is not None and (base is None or os.fspath(base) != "auto"):
            raise ConfigError(
                "is for the mask in force, which nothing asks for",
                where=name,
                hint='Leave it out, or keep the flags of that mask: base "auto".',
                options=("base",),
            )


def _find(maps: Maps, recipe: MaskRecipe, shortage: Shortage) -> tuple[Flags, list[FinderResult]]:
    """Run the finders of a recipe, those that complete others last; return flags and results."""
    flags = np.zeros(maps.reference.shape, np.uint32)
    results = []
    for finder, parameters in sorted(recipe.finders.values(), key=lambda pair: pair[0].last):
        began = time.monotonic()
        missing = [name for name in finder.needs if name not in maps]
        if missing:
            reason = f"there are no exposures for {', '.join(missing)}"
            results.append(FinderResult(finder.name, finder.flag, 0, 0.0, 0.0, reason))
            shortage.note(f"the finder {finder.name} did not run: {reason}", "darks and flats")
            continue
        found = finder.run(maps.with_flags(flags) if finder.last else maps, parameters)
        pixels = int(np.count_nonzero(found))
        fraction = pixels / found.size
        check_fraction(finder.name, fraction, recipe)
        flags |= found * np.uint32(PIXEL.encode(finder.flag))
        detail, seconds = finder.report(maps, found), time.monotonic() - began
        result = FinderResult(finder.name, finder.flag, pixels, fraction, seconds, detail=detail)
        _log.info("%s, %.2f s", result.describe(), seconds)
        results.append(result)
    return flags, results


def _kept(
    base: PathLike | None, night: Calibrations, rules: Mapping[str, Any], *, full_frame: bool
) -> Mask:
    """Return the flags that are there before the finders, of all pixels of the new mask."""
    ramp, path = night.first.ramp.ramp, night.first.path
    frame = Window.full(*night.detector.shape)
    window = frame if full_frame else ramp.window
    new = np.zeros(window.shape, np.uint32)
    if "reference" in night.recipe.finders:
        new[border_of(night.detector, window)] = PIXEL["REFERENCE_PIXEL"]
    if base is None:
        return Mask(path, new, window)
    found = select_mask(path, **rules).path if os.fspath(base) == "auto" else Path(base)
    if found is None:
        raise SelectionError("the rules say that no mask applies", where=path)
    mask = read_mask(found)
    check_belongs(mask, ramp, where=path)
    if full_frame:
        place = mask.window.slices(frame)
        mask = place_on_detector(mask, frame.shape)
        new[place] = mask.dq[place]
        mask = replace(mask, dq=new)
    return replace(mask, remarks=(f"base {found.name}; sha256 {sha256_of(found)}",))


def _placed(flags: Flags, kept: Mask, window: Window, measured: np.uint32) -> Flags:
    """Return the flags that were found, with those of the base that nothing measured.

    DO_NOT_USE of the base stays where none of the flags that are measured anew came with it.
    """
    place = window.slices(kept.window)
    inside = kept.dq[place]
    anew = (inside & measured) != 0
    inside = inside & ~measured
    inside[anew] &= ~np.uint32(PIXEL["DO_NOT_USE"])
    result = kept.dq.copy()
    result[place] = flags | inside
    return result
