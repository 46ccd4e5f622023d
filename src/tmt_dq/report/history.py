"""History of a detector's masks: what each gained and lost, and whether a new one is due."""

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, MaskFormatError, TmtDqError
from tmt_dq.instruments import Detector
from tmt_dq.masks.mask import Mask, read_mask
from tmt_dq.masks.new_mask import find_detector
from tmt_dq.references.versions import Version, list_versions
from tmt_dq.report.colours import flag_colour
from tmt_dq.report.figures import LEFT, TOP, add_panel, label_lines, new_figure
from tmt_dq.report.report import Report
from tmt_dq.tables import Table, share

__all__ = ["FlagHistory", "MaskHistory", "MaskVersion", "mask_history"]

_CANDIDATE = "candidate"
_DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])


@dataclass(frozen=True, slots=True)
class FlagHistory:
    """Pixels with a flag in one mask, and those that gained, lost and kept it since the last."""

    mask: str
    name: str
    pixels: int
    gained: int
    lost: int
    kept: int


@dataclass(frozen=True, slots=True)
class MaskVersion:
    """One mask: from when on it applies, how much it flags, what changed since the one before.

    `changed` is the number of pixels whose DO_NOT_USE differs; `problem` is the reason where the
    mask cannot be read, or is of other pixels than the one before.
    """

    name: str
    useafter: str
    in_context: bool
    flagged: int
    do_not_use_fraction: float
    changed: int
    problem: str | None = None


@dataclass(frozen=True)
class MaskHistory(Report):
    """What `mask_history` found.

    Attributes
    ----------
    instrument, detector : str
        Whose masks they are.
    context, cache : str
        The rules, and the folder of the CRDS cache.
    masks : tuple of MaskVersion
        The masks in the order of their dates, and the candidate last.
    flags : tuple of FlagHistory
        Pixels per flag and mask.
    due : bool
        Whether the candidate differs from the mask in force by more than the recipe's limit.
    reason : str
        Why a delivery is due, or not.
    warnings : tuple of str
        The masks that the rules name and that cannot be read, each with what to do.
    """

    instrument: str
    detector: str
    context: str
    cache: str
    masks: tuple[MaskVersion, ...]
    flags: tuple[FlagHistory, ...]
    due: bool
    reason: str
    warnings: tuple[str, ...] = ()

    def headline(self) -> Sequence[str]:
        """Return whose masks they are, and whether a delivery is due."""
        title = f"masks of {self.instrument} {self.detector} in {self.cache}, by {self.context}"
        return (title, self.reason)

    def tables(self) -> Sequence[Table]:
        """Return the masks, and the changes of each flag."""
        masks = [
            (
                mask.useafter or "unknown",
                mask.name,
                "yes" if mask.in_context else "no",
                *(
                    ("", "", mask.problem)
                    if mask.problem
                    else (mask.flagged, share(mask.do_not_use_fraction), f"{mask.changed:,}")
                ),
            )
            for mask in self.masks
        ]
        flags = [
            (flag.mask, flag.name, flag.pixels, f"+{flag.gained:,}", f"-{flag.lost:,}", flag.kept)
            for flag in self.flags
        ]
        header = ("useafter", "mask", "in context", "flagged", "DO_NOT_USE", "changed")
        tables = [
            Table.of("Masks by USEAFTER", header, masks, [3, 4, 5]),
            Table.of(
                "Flags", ("mask", "flag", "pixels", "gained", "lost", "kept"), flags, [2, 3, 4, 5]
            ),
        ]
        return [table for table in tables if table.rows]

    def figure(self) -> Any:
        """Draw the share of pixels with DO_NOT_USE, and the pixels of each flag, by mask."""
        masks = [mask for mask in self.masks if mask.problem is None]
        width, height = 1400, 700
        figure = new_figure(width + 3 * LEFT, TOP + 2 * height + 500, self.headline()[0])
        places = _places(masks)
        upper = add_panel(figure, (LEFT, TOP), width, height)
        upper.plot(
            places, [100 * mask.do_not_use_fraction for mask in masks], "o-", color="#d55e00"
        )
        upper.set(ylabel="DO_NOT_USE (% of the pixels)", xticks=places, xticklabels=[])
        upper.set_ylim(bottom=0)
        lower = add_panel(figure, (LEFT, TOP + height + 120), width, height)
        markers = "osd^v<>ph*XP"
        for number, name in enumerate(dict.fromkeys(flag.name for flag in self.flags)):
            counts = {flag.mask: flag.pixels for flag in self.flags if flag.name == name}
            series = [counts.get(mask.name, 0) for mask in masks]
            marker = markers[number % len(markers)]
            style = {"color": flag_colour(name), "marker": marker, "ms": 4, "linewidth": 1}
            lower.plot(places, series, label=name, **style)
        lower.set(xlabel="USEAFTER, mask", ylabel="pixels", yscale="symlog", xlim=upper.get_xlim())
        lower.set_ylim(bottom=0)
        labels = _tick_labels(masks, places, lower.get_xlim())
        lower.set_xticks(list(labels), list(labels.values()), fontsize=7, rotation=35, ha="right")
        label_lines(lower)
        return figure


def _places(masks: Sequence[MaskVersion]) -> list[float]:
    """Return where masks are on an axis of days: those without a date before and after all."""
    days = [_day(mask.useafter) for mask in masks]
    known = [day for day in days if day is not None] or [0.0]
    margin = max(30.0, 0.1 * (max(known) - min(known)))
    return [
        day
        if day is not None
        else (max(known) + margin if mask.useafter == _CANDIDATE else min(known) - margin)
        for mask, day in zip(masks, days, strict=True)
    ]


def _day(useafter: str) -> float | None:
    """Return a date in days, None for what is no date."""
    try:
        return dt.datetime.fromisoformat(useafter).replace(tzinfo=dt.UTC).timestamp() / 86400
    except ValueError:
        return None


def _tick_labels(
    masks: Sequence[MaskVersion], places: Sequence[float], limits: tuple[float, float]
) -> dict[float, str]:
    """Return dates and names by place; masks too close together share one label."""
    labels: dict[float, str] = {}
    last = -np.inf
    for mask, place in sorted(zip(masks, places, strict=True), key=lambda pair: pair[1]):
        text = f"{mask.useafter[:10] or 'unknown'}\n{mask.name}"
        if place - last < 0.03 * (limits[1] - limits[0]):
            labels[last] += f"\n{text}"
        else:
            labels[place] = text
            last = place
    return labels


def mask_history(
    detector: str,
    *,
    instrument: str = "IRIS",
    candidate: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] = "iris",
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
) -> MaskHistory:
    """Compare all masks of a detector in a CRDS cache, in the order of their dates.

    Parameters
    ----------
    detector, instrument : str
        Whose masks.
    candidate : path, optional
        A new mask, compared with the one in force: the last that the rules name.
    recipe : str or path
        The recipe that says how large a change makes a delivery due.
    crds_path, context : optional
        As in `tmt_dq.select_mask`.

    Returns
    -------
    MaskHistory
        Each mask with what it flags, gained, lost and kept.

    Raises
    ------
    ConfigError
        Raised if detector, cache or recipe are not known.
    MaskFormatError
        Raised if the candidate is no mask, or of another detector or other pixels.

    Examples
    --------
    >>> from tmt_dq import mask_history
    >>> history = mask_history("IRIS1")
    >>> history.masks[0].name, history.masks[0].flagged
    ('tmt_iris_mask_0101.fits', 65472)
    """
    described, chip = find_detector(instrument, detector)
    listing = list_versions(described, chip, crds_path=crds_path, context=context)
    masks: list[MaskVersion] = []
    flags: list[FlagHistory] = []
    before: Mask | None = None
    force: Mask | None = None
    lost: list[str] = []  # masks that the rules name after `force`
    warnings: list[str] = []
    for version in listing.versions:
        mask, problem = _readable(version)
        entry, rows = _compare(version, mask, before, problem)
        masks.append(entry)
        flags += rows
        before = before if mask is None or entry.problem else mask
        if version.in_context and mask is not None:
            force, lost = mask, []
        elif version.in_context:
            lost.append(version.name)
            warnings.append(
                f"{version.name} is not compared: {problem}. Put it into the cache "
                f"{listing.cache}, or name a cache that has it (--crds-path, crds_path)"
            )
    due, reason = False, "no candidate was given"
    if candidate is not None:
        new = _candidate(Path(candidate), chip, force)
        version = Version(Path(candidate).name, _CANDIDATE, in_context=False, path=new.path)
        entry, rows = _compare(version, new, force, None)
        masks.append(entry)
        flags += rows
        limit = load_recipe(recipe if isinstance(recipe, str) else Path(recipe)).due_fraction
        fraction = entry.changed / new.dq.size
        due = force is None or bool(lost) or fraction >= limit
        if lost:
            other = "no other mask" if force is None else f"{force.path.name}, an older one,"
            reason = (
                f"a delivery is taken to be due: the mask in force, {lost[-1]}, cannot be read; "
                f"{other} is compared with the candidate"
            )
        elif force is None:
            reason = "a delivery is due: no mask is in force"
        else:
            reason = (
                f"a delivery is {'' if due else 'not '}due: DO_NOT_USE changes in "
                f"{entry.changed:,} pixels ({share(fraction)}); the limit is {share(limit)}"
            )
    facts = (described.name, chip.name, listing.context, str(listing.cache))
    return MaskHistory(*facts, tuple(masks), tuple(flags), due, reason, tuple(warnings))


def _readable(version: Version) -> tuple[Mask | None, str | None]:
    """Return a mask, or why it cannot be read."""
    if version.path is None:
        first = (version.problem or "cannot be read").splitlines()[0]
        return None, first.removesuffix(". Looked in")
    try:
        return read_mask(version.path), None
    except TmtDqError as error:
        return None, error.what.splitlines()[0]


def _candidate(path: Path, detector: Detector, force: Mask | None) -> Mask:
    """Return the candidate, which must be of the same pixels as the mask in force."""
    mask = read_mask(path)
    names = {name.upper() for name in (detector.name, *detector.aliases)}
    if mask.detector is not None and mask.detector.upper() not in names:
        raise MaskFormatError(f"is a mask of {mask.detector}; expected {detector.name}", where=path)
    if force is not None and mask.window != force.window:
        raise ConfigError(
            f"covers {mask.window.describe()}, but {force.path.name} {force.window.describe()}",
            where=path,
            hint="Compare masks of the same pixels.",
        )
    return mask


def _compare(
    version: Version, mask: Mask | None, before: Mask | None, problem: str | None
) -> tuple[MaskVersion, list[FlagHistory]]:
    """Return what a mask flags, and what of it is new against the one before."""
    if mask is None:
        return MaskVersion(
            version.name, version.useafter, version.in_context, 0, 0.0, 0, problem
        ), []
    if before is not None and mask.window != before.window:
        what = f"covers {mask.window.describe()}, not the pixels of the one before"
        return MaskVersion(version.name, version.useafter, version.in_context, 0, 0.0, 0, what), []
    dq = mask.dq
    old = np.zeros_like(dq) if before is None else before.dq
    gained, lost, kept = (_counts(part) for part in (dq & ~old, old & ~dq, dq & old))
    names = [name for name in PIXEL if name in {**gained, **lost, **kept}]
    counts = _counts(dq)
    rows = [
        FlagHistory(
            version.name,
            name,
            *(part.get(name, 0) for part in (counts, gained, lost, kept)),
        )
        for name in names
    ]
    entry = MaskVersion(
        version.name,
        version.useafter,
        version.in_context,
        int(np.count_nonzero(dq)),
        float(np.count_nonzero(dq & _DO_NOT_USE)) / dq.size,
        int(np.count_nonzero((dq ^ old) & _DO_NOT_USE)),
    )
    return entry, rows


def _counts(dq: npt.NDArray[np.uint32]) -> Mapping[str, int]:
    counts = PIXEL.count(dq)
    del counts["GOOD"]
    return counts
