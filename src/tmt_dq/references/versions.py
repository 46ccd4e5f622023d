"""All masks of a detector that the rules name, in the order of their USEAFTER."""

import os
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.errors import SelectionError
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.references.rule_files import SPECIAL_VALUES
from tmt_dq.references.rules import open_rules

__all__ = ["Listing", "Version", "list_versions"]

_DETECTOR = "META.INSTRUMENT.DETECTOR"


@dataclass(frozen=True, slots=True)
class Version:
    """One reference file.

    `useafter` is the earliest date of the rules for it, "2026-05-01 00:00:00" ("" where they have
    none). `path` is None, and `problem` the reason, where the file cannot be used.
    """

    name: str
    useafter: str
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
    """List the masks of a detector that a context's rules name; missing ones with the problem."""
    cache, instrument, found = open_rules(crds_path, context, instrument)
    detector = instrument.detector(detector.name)
    dates: dict[str, str] = {}
    for rule in found.rules:
        checks = {check.parkey: check for check in rule.check({_DETECTOR: detector.name})}
        if _DETECTOR in checks and not checks[_DETECTOR].matched:
            continue
        useafter = checks.get("USEAFTER")
        date = "" if useafter is None else useafter.required.removesuffix(" or later")
        dates[rule.leads_to] = min(date, dates.get(rule.leads_to, date))
    versions = []
    for name, date in dates.items():
        if name.upper() in SPECIAL_VALUES:
            continue
        path, problem = None, None
        try:
            path = cache.reference(instrument.name, name)
        except SelectionError as error:
            problem = error.what
        versions.append(Version(name, date, path, problem))
    versions.sort(key=lambda version: (version.useafter, version.name))
    return Listing(found.context, cache.root, tuple(versions))
