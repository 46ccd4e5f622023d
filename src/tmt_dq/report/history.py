"""History of a detector's masks: what each gained and lost, and whether a new one is due."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.instruments import Detector
from tmt_dq.masks.mask import Mask, read_mask
from tmt_dq.masks.new_mask import find_detector
from tmt_dq.references.versions import Version, list_versions
from tmt_dq.report.colours import flag_colour
from tmt_dq.report.difference import flag_changes
from tmt_dq.report.figures import LEFT, TOP, add_panel, new_figure
from tmt_dq.report.origins import read_version
from tmt_dq.report.report import Report
from tmt_dq.tables import Table, share

_CANDIDATE = "candidate"
_ANY_DATE, _MONTH = np.datetime64("2000-01-01"), np.timedelta64(30, "D")
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

    `in_context` tells whether the rules name it, `changed` in how many pixels DO_NOT_USE differs;
    `problem` is the reason where it cannot be read, or is of other pixels than the one before.
    """

    name: str
    useafter: str
    in_context: bool
    flagged: int = 0
    do_not_use_fraction: float = 0.0
    changed: int = 0
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
        masks = []
        for mask in self.masks:
            counts = (mask.flagged, share(mask.do_not_use_fraction), f"{mask.changed:,}")
            found = ("", "", mask.problem) if mask.problem else counts
            named = "yes" if mask.in_context else "no"
            masks.append((mask.useafter or "unknown", mask.name, named, *found))
        flags = [
            (flag.mask, flag.name, flag.pixels, f"+{flag.gained:,}", f"-{flag.lost:,}", flag.kept)
            for flag in self.flags
        ]
        header = ("useafter", "mask", "in context", "flagged", "DO_NOT_USE", "changed")
        changes = ("mask", "flag", "pixels", "gained", "lost", "kept")
        tables = [
            Table.of("Masks by USEAFTER", header, masks, [3, 4, 5]),
            Table.of("Flags", changes, flags, [2, 3, 4, 5]),
        ]
        return [table for table in tables if table.rows]

    def figure(self) -> Any:
        """Draw the share of pixels with DO_NOT_USE, and the pixels of each flag, by date."""
        masks = [mask for mask in self.masks if mask.problem is None]
        width, height = 1400, 700
        figure = new_figure(width + 3 * LEFT, TOP + 2 * height + 220, self.headline()[0])
        dates = _dates(masks)
        shares = [100 * mask.do_not_use_fraction for mask in masks]
        upper = add_panel(figure, (LEFT, TOP), width, height)
        # A mask holds until the next one.
        upper.plot(dates, shares, "o-", color="#d55e00", drawstyle="steps-post")
        upper.set(ylabel="DO_NOT_USE (% of the pixels)", ylim=(0, None))
        lower = add_panel(figure, (LEFT, TOP + height + 120), width, height)
        markers = "osd^v<>ph*XP"
        for number, name in enumerate(dict.fromkeys(flag.name for flag in self.flags)):
            counts = {flag.mask: flag.pixels for flag in self.flags if flag.name == name}
            series = [counts.get(mask.name, 0) for mask in masks]
            marker = markers[number % len(markers)]
            style = {"color": flag_colour(name), "marker": marker, "ms": 4, "linewidth": 1}
            lower.plot(dates, series, label=name, drawstyle="steps-post", **style)
        has_candidate = any(mask.useafter == _CANDIDATE for mask in masks)
        label = "USEAFTER (candidate: 30 days later)" if has_candidate else "USEAFTER"
        lower.set(xlabel=label, ylabel="pixels", yscale="symlog", ylim=(0, None))
        if self.flags:
            lower.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
        return figure


def _dates(masks: Sequence[MaskVersion]) -> "list[np.datetime64]":
    """Return the dates of masks; a candidate is drawn 30 days after the last of the others."""
    known = [np.datetime64(mask.useafter) for mask in masks if mask.useafter[:1].isdigit()]
    others = {"": min(known, default=_ANY_DATE), _CANDIDATE: max(known, default=_ANY_DATE) + _MONTH}
    return [
        others[mask.useafter] if mask.useafter in others else np.datetime64(mask.useafter)
        for mask in masks
    ]


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
    warnings: list[str] = []
    before: Mask | None = None
    force: Mask | None = None  # the last mask that the rules name
    lost = ""  # one after it, which cannot be read
    for version in listing.versions:
        mask, problem = read_version(version)
        if mask is None:
            facts = (version.name, version.useafter, version.in_context)
            masks.append(MaskVersion(*facts, problem=problem))
            if version.in_context:
                lost = version.name
                warnings.append(
                    f"{lost} is not compared: {problem}. Put it into the cache {listing.cache}, or "
                    "name a cache that has it (--crds-path, crds_path)"
                )
            continue
        entry, rows = _compare(version, mask, before)
        masks.append(entry)
        flags += rows
        before = before if entry.problem else mask
        if version.in_context:
            force, lost = mask, ""
    due, reason = False, "no candidate was given"
    if candidate is not None:
        new = _candidate(Path(candidate), chip, force)
        named = Version(new.path.name, _CANDIDATE, in_context=False, path=new.path)
        entry, rows = _compare(named, new, force)
        masks.append(entry)
        flags += rows
        limit = load_recipe(recipe if isinstance(recipe, str) else Path(recipe)).due_fraction
        due, reason = _judge(entry.changed, new.dq.size, limit, force, lost)
    rules = (described.name, chip.name, listing.context, str(listing.cache))
    return MaskHistory(*rules, tuple(masks), tuple(flags), due, reason, tuple(warnings))


def _judge(
    changed: int, pixels: int, limit: float, force: Mask | None, lost: str
) -> tuple[bool, str]:
    """Return whether a delivery is due, and why."""
    if lost:
        other = "no other mask" if force is None else f"{force.path.name}, an older one,"
        return True, (
            f"a delivery is taken to be due: the mask in force, {lost}, cannot be read; {other} "
            "is compared with the candidate"
        )
    if force is None:
        return True, "a delivery is due: no mask is in force"
    due = changed / pixels >= limit
    return due, (
        f"a delivery is {'' if due else 'not '}due: DO_NOT_USE changes in {changed:,} pixels "
        f"({share(changed / pixels)}); the limit is {share(limit)}"
    )


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
            hint="Make it with the mask in force as its base (tmt-dq make --base auto).",
        )
    return mask


def _compare(
    version: Version, mask: Mask, before: Mask | None
) -> tuple[MaskVersion, list[FlagHistory]]:
    """Return what a mask flags, and what of it is new against the one before."""
    facts = (version.name, version.useafter, version.in_context)
    if before is not None and mask.window != before.window:
        problem = f"covers {mask.window.describe()}, not the pixels of the one before"
        return MaskVersion(*facts, problem=problem), []
    dq = mask.dq
    old = np.zeros_like(dq) if before is None else before.dq
    flagged, unusable, changed = (
        int(np.count_nonzero(part)) for part in (dq, dq & _DO_NOT_USE, (dq ^ old) & _DO_NOT_USE)
    )
    rows = [
        FlagHistory(version.name, flag.name, flag.new, flag.gained, flag.lost, flag.kept)
        for flag in flag_changes(old, dq)
    ]
    return MaskVersion(*facts, flagged, unusable / dq.size, changed), rows
