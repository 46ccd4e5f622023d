"""Combine masks: merge several, add the flags of lists, take flags away."""

import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.merging import MergeRule, merge
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError
from tmt_dq.masks.formats import read_flags
from tmt_dq.masks.mask import Mask, open_mask_file, place_on_detector, read_mask
from tmt_dq.masks.new_mask import Made, MaskOptions, NewMask
from tmt_dq.masks.reading import Reading

PathLike = str | os.PathLike[str]
Source = PathLike | tuple[PathLike, Reading]
Flags = npt.NDArray[np.uint32]


def combine_masks(  # noqa: PLR0913 - the options of the verb, keyword-only
    masks: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    rule: MergeRule = "any",
    per_flag: Mapping[str, MergeRule] | None = None,
    add: Sequence[Source] = (),
    remove: Sequence[Source] = (),
    instrument: str | None = None,
    detector: str | None = None,
    unknown: Unknown = "error",
    do_not_use: str | Iterable[str] = "instrument",
    useafter: str | dt.datetime | dt.date | None = None,
    pedigree: str | None = None,
    author: str | None = None,
    description: str | None = None,
    grow: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Made:
    """Make a mask from others: merge them flag by flag, then take flags away, then add some.

    Parameters
    ----------
    masks : path or sequence of path
        Mask files of one detector, that cover the same pixels.
    output : path, optional
        The mask file to write; not needed for a dry run.
    rule : {"any", "all"} or int
        A pixel gets a flag that any, all, or at least this many of the masks give it.
    per_flag : mapping of str to rule, optional
        Other rules for some flags, by name.
    add, remove : sequence of path or (path, Reading)
        Files of any kind that `tmt_dq.import_mask` reads, whose flags are added to, or taken away
        from, the pixels they name. Both at once for the same flag of the same pixel is an error.
    instrument, detector : str, optional
        Whose pixels they are, where the masks do not say.
    unknown : {"error", "drop"}
        What to do about bits and DQ_DEF names of `masks` without a meaning.
    do_not_use, useafter, pedigree, author, description, grow, overwrite, dry_run
        As in `tmt_dq.import_mask`. These keywords are not taken over from `masks`: a new mask is
        for other dates.

    Returns
    -------
    Made
        What was made. `Made.gained` and `Made.lost` compare it with the merged `masks`.

    Raises
    ------
    ConfigError
        Raised if there are no masks, the rule is impossible, or the detector is not known.
    MaskFormatError, UnknownFlagError
        Raised if a file cannot be understood, masks are of different detectors, or a flag is both
        added and taken away.
    GeometryError
        Raised if masks do not cover the same pixels, or were read out in different orientations.
    OutputError
        Raised if the output exists, or cannot be written.

    Notes
    -----
    The policy (`do_not_use`) only ever sets DO_NOT_USE. Taking HOT away from a pixel leaves its
    DO_NOT_USE, which may have another reason: take both away, and the policy sets DO_NOT_USE
    again only where another flag demands it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tmt_dq import Reading, make_mask
    >>> dq = np.zeros((4096, 4096), np.uint32)
    >>> dq[10, 20] = 1024
    >>> made = make_mask(dq, "old.fits", detector="IRIS1")
    >>> _ = Path("hot.txt").write_text("1205 877")
    >>> hot = ("hot.txt", Reading(flag="HOT", base=1, columns=("x", "y")))
    >>> combine_masks("old.fits", "new.fits", add=[hot]).counts
    {'GOOD': 16777214, 'DO_NOT_USE': 2, 'DEAD': 1, 'HOT': 1}
    """
    paths = [Path(masks)] if isinstance(masks, str | os.PathLike) else [Path(m) for m in masks]
    changes = [
        (role, Path(item[0]), item[1]) if isinstance(item, tuple) else (role, Path(item), Reading())
        for role, items in (("clear", remove), ("add", add))
        for item in items
    ]
    keywords = (useafter, pedigree, author, description)
    options = MaskOptions(output, keywords, do_not_use, grow, overwrite=overwrite, dry_run=dry_run)
    options.check([*paths, *(path for _, path, _ in changes)])
    if not paths:
        raise ConfigError("there are no masks; expected at least one", where="masks")
    given = [read_mask(path, unknown=unknown) for path in paths]
    instrument, detector = instrument or given[0].instrument, detector or given[0].detector
    if instrument is None or detector is None:
        raise ConfigError(
            "does not state of which instrument and detector it is",
            where=paths[0],
            hint="Give both, for example IRIS and IRIS1.",
            options=("instrument", "detector"),
        )
    new = NewMask("combine", instrument, detector, options)
    new.orientation = _common_orientation(given)
    if len(paths) == 1:
        with open_mask_file(paths[0]) as file:
            new.history += file.units[0].header.commentary("HISTORY")
    else:
        others = "".join(f", {name} of {other}" for name, other in (per_flag or {}).items())
        new.note(f"flags of {rule}{others} of {len(paths)} masks")
    for mask in given:
        new.record("mask", mask, Reading(unknown=unknown))
    frames = [place_on_detector(mask, new.detector.shape).dq for mask in given]
    new.dq = merged = merge(frames, rule, per_flag=per_flag)
    _change(new, changes)
    return new.write(before=merged)


def _change(new: NewMask, changes: Sequence[tuple[str, Path, Reading]]) -> None:
    """Take flags away and add flags, as files have them; refuse to do both with the same."""
    taken = np.zeros_like(new.dq)
    for role, path, reading in changes:
        mask = read_flags(path, new.target, reading)
        if role == "clear":
            taken |= mask.dq
            remark = f"{np.count_nonzero(new.dq & mask.dq):,} pixels had a flag to clear"
            new.dq = new.dq & ~mask.dq
            new.record(role, mask, reading, remark)
            continue
        ys, xs = np.nonzero(mask.dq & taken)
        if ys.size:
            names = ", ".join(PIXEL.decode((mask.dq & taken)[ys[0], xs[0]]))
            raise MaskFormatError(
                f"adds flags that another list takes away, in {ys.size:,} pixels, the first is "
                f"{names} at x = {xs[0] + 1}, y = {ys[0] + 1} (1-based)",
                where=path,
                hint="Take these pixels out of one of the lists, or combine in two steps.",
            )
        new.add(mask, reading)


def _common_orientation(masks: Sequence[Mask]) -> tuple[int | None, int | None]:
    """Return FASTAXIS and SLOWAXIS of masks; refuse masks that are not of the same pixels."""
    first = masks[0]
    axes = zip(*(mask.orientation for mask in masks), strict=True)
    fast, slow = (next((axis for axis in each if axis is not None), None) for each in axes)
    for mask in masks:
        finding = ""
        if mask.window != first.window:
            finding = f"covers {mask.window.describe()}, {first.path} {first.window.describe()}"
        elif mask.orientation[0] not in (None, fast) or mask.orientation[1] not in (None, slow):
            finding = f"has FASTAXIS, SLOWAXIS {mask.orientation}, masks before it {(fast, slow)}"
        if finding:
            hint = "Combine masks of the same pixels, in one orientation."
            raise GeometryError(finding, where=mask.path, hint=hint)
    return fast, slow
