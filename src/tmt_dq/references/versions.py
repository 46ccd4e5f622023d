"""All masks of a detector that a cache has, in the order of their USEAFTER."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tmt_dq.errors import SelectionError, TmtDqError
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.references.cache import Cache
from tmt_dq.references.rule_files import SPECIAL_VALUES
from tmt_dq.references.rules import open_rules

_DETECTOR = "META.INSTRUMENT.DETECTOR"


@dataclass(frozen=True, slots=True)
class Version:
    """One reference file.

    `useafter` is the earliest date of the rules for it, "2026-05-01 00:00:00", or USEAFTER of a
    file that no rule names ("" without either). `path` is None, and `problem` the reason, where the
    file cannot be used.
    """

    name: str
    useafter: str
    in_context: bool
    path: Path | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The references of one detector, ordered by USEAFTER, then name."""

    context: str
    cache: Path
    versions: tuple[Version, ...]


def list_versions(
    instrument: Instrument,
    detector: Detector,
    *,
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
) -> Listing:
    """List the masks of a detector that rules name, and others; missing ones with the problem."""
    cache, instrument, found = open_rules(crds_path, context, instrument)
    detector = instrument.detector(detector.name)
    dates: dict[str, str] = {}
    ruled = {rule.leads_to for rule in found.rules}
    for rule in found.rules:
        checks = {check.parkey: check for check in rule.check({_DETECTOR: detector.name})}
        if _DETECTOR in checks and not checks[_DETECTOR].matched:
            continue
        useafter = checks.get("USEAFTER")
        date = "" if useafter is None else useafter.required.removesuffix(" or later")
        dates[rule.leads_to] = min(date, dates.get(rule.leads_to, date))
    versions = list(_others(cache, instrument, detector, ruled))
    for name, date in dates.items():
        if name.upper() in SPECIAL_VALUES:
            continue
        path, problem = None, None
        try:
            path = cache.reference(instrument.name, name)
        except SelectionError as error:
            problem = error.what
        versions.append(Version(name, date, in_context=True, path=path, problem=problem))
    versions.sort(key=lambda version: (version.useafter, version.name))
    return Listing(found.context, cache.root, tuple(versions))


def _others(
    cache: Cache, instrument: Instrument, detector: Detector, ruled: set[str]
) -> Iterator[Version]:
    """Yield the detector's masks that lie in the cache without a rule that names them."""
    kind = [instrument.reftype.upper(), instrument.name.upper()]
    names = {detector.name.upper(), *map(str.upper, detector.aliases)}
    for folder in (cache.references / instrument.name.lower(), cache.references):
        for path in folder.glob("*.fits*"):
            if path.name in ruled or path.name.startswith("."):
                continue
            try:
                with open_input(path) as file:
                    header = file.units[0].header
            except TmtDqError as error:
                if not os.access(path, os.R_OK):  # it may be a mask of this detector
                    yield Version(path.name, "", in_context=False, path=None, problem=error.what)
                continue  # not FITS: nothing says that it is a mask of this detector
            *found, name, useafter = (
                str(header.get(key) or "").strip().upper()
                for key in ("REFTYPE", "INSTRUME", "DETECTOR", "USEAFTER")
            )
            if found == kind and name in names:
                yield Version(path.name, _date(useafter), in_context=False, path=path)


def _date(useafter: str) -> str:
    """Return a date in the form that rules have, "" for what is none."""
    try:
        return str(datetime.fromisoformat(useafter).replace(tzinfo=None))
    except ValueError:
        return ""
