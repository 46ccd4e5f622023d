"""Certification of a mask: whether it may be delivered, and if not, why not."""

import math
import os
import tempfile
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmt_dq.core.counts import FlagCount, count_flags
from tmt_dq.delivery.checks import Finding, Subject, check_identity, check_mask, error, text
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.errors import CertificationError, ConfigError, MaskFormatError, TmtDqError
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.fits.layout import Keywords
from tmt_dq.masks.mask import open_mask_file, read_mask
from tmt_dq.references import crds_tools
from tmt_dq.references.cache import open_cache
from tmt_dq.references.rules import load_rules
from tmt_dq.tables import Table, as_astropy, as_html, flag_table, number

if TYPE_CHECKING:
    from astropy import table as astropy_table

Rules = tuple[str | os.PathLike[str] | None, str | None]
"""A cache and a context."""


@dataclass(frozen=True, slots=True)
class Certification:
    """What the examination of a mask found.

    Parameters
    ----------
    path : Path
        The mask.
    findings : tuple of Finding
        Errors first, then warnings, then what is worth knowing.
    instrument, detector : str or None
        Whose mask it is; None where the file does not say.
    subarray, useafter : str
        SUBARRAY and USEAFTER as found, "" where they are missing.
    shape : tuple of int or None
        Rows and columns; None where the file cannot be read as a mask.
    flags : tuple of FlagCount
        Pixels with each flag, with and without DO_NOT_USE.
    """

    path: Path
    findings: tuple[Finding, ...]
    instrument: str | None = None
    detector: str | None = None
    subarray: str = ""
    useafter: str = ""
    shape: tuple[int, int] | None = None
    flags: tuple[FlagCount, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What forbids a delivery."""
        return tuple(found for found in self.findings if found.severity == "error")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not forbid a delivery, but may be wrong."""
        return tuple(
            f"{found.where}: {found.what}" for found in self.findings if found.severity == "warning"
        )

    @property
    def passed(self) -> bool:
        """Whether there are no errors."""
        return not self.errors

    def to_table(self, name: str = "findings") -> "astropy_table.Table":
        """Return the ``findings``, or the pixels of ``flags``, as a table of astropy."""
        if name not in {"findings", "flags"}:
            raise ConfigError(f"there is no table {name!r}; expected findings or flags")
        meta = {"file": str(self.path)}
        if name == "findings":
            return as_astropy(self.findings, Finding, meta=meta)
        counts = [(flag.name, flag.pixels, flag.with_do_not_use) for flag in self.flags]
        return as_astropy(counts, ("name", "pixels", "with_do_not_use"), meta=meta)

    def _repr_html_(self) -> str:
        """Show the verdict in a notebook."""
        rows = tuple(
            (found.severity, found.where, found.what, found.remedy or "") for found in self.findings
        )
        tables = (
            Table("Findings", ("severity", "where", "found", "remedy"), rows),
            flag_table(
                {flag.name: flag.pixels for flag in self.flags},
                math.prod(self.shape or ()),
                {"with DO_NOT_USE": {flag.name: number(flag.do_not_use) for flag in self.flags}},
            ),
        )
        verdict = "passed" if self.passed else "FAILED"
        return as_html([f"{self.path}  {verdict}"], [table for table in tables if table.rows])

    def raise_errors(self) -> None:
        """Raise the errors, if there are any, as one CertificationError that lists them."""
        if self.passed:
            return
        listing = "".join(f"\n  - {found.where}: {found.what}" for found in self.errors)
        remedies = dict.fromkeys(found.remedy for found in self.errors if found.remedy)
        count = len(self.errors)
        raise CertificationError(
            f"{count} error{'s' if count > 1 else ''} forbid{'' if count > 1 else 's'} its "
            f"delivery:{listing}",
            where=self.path,
            hint="\n".join(remedies) or None,
        )


def certify_mask(
    mask: str | os.PathLike[str],
    *,
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
    max_flagged: float | None = None,
    border: bool = True,
) -> Certification:
    """Examine a mask: whether it is readable, complete, plausible, and acceptable to CRDS.

    Parameters
    ----------
    mask : path
        FITS file of the mask; only read.
    crds_path : path, optional
        CRDS cache whose rules it is to fit. By default ``CRDS_PATH``, or else the cache that comes
        with tmt-dq.
    context : str, optional
        CRDS context. By default the cache's newest.
    max_flagged : float, optional
        Largest fraction of active pixels that may be flagged, or have DO_NOT_USE, instead of the
        instrument's limits.
    border : bool
        Whether the border of reference pixels must have REFERENCE_PIXEL.

    Returns
    -------
    Certification
        All that was found. The mask may be delivered if it `passed`.

    Raises
    ------
    MaskFormatError
        Raised if there is no such file or it cannot be opened.
    ConfigError, SelectionError
        Raised if the cache or context make no sense, or their rules cannot be trusted.

    Examples
    --------
    >>> from tmt_dq import certify_mask
    >>> certification = certify_mask("hot_2026-05-01.fits")  # doctest: +SKIP
    >>> certification.passed  # doctest: +SKIP
    True
    """
    path = Path(mask)
    if not os.access(path, os.R_OK):
        raise MaskFormatError(
            "cannot be read: there is no such file, or no permission to read it",
            where=path,
            hint="Check the path and its permissions.",
        )
    try:
        return examine(path, (crds_path, context), max_flagged=max_flagged, border=border)
    except MaskFormatError as problem:
        return Certification(path, (error("file", problem.what, problem.hint),))


def examine(
    path: Path,
    rules: Rules,
    *,
    max_flagged: float | None,
    border: bool,
    useafter: str | None = None,
) -> Certification:
    """Examine a mask, or its copy with another USEAFTER; MaskFormatError if it is no sound FITS."""
    with open_mask_file(path) as file:
        wrong = wrong_kind(file, "a mask")
        if wrong is not None:
            return Certification(path, (error("file", *wrong),))
        header: Mapping[str, object] = Keywords(file.path, file.units[0])
        if useafter is not None:
            header = ChainMap({"USEAFTER": useafter}, header)  # type: ignore[arg-type]  # only read
        findings, instrument, detector = check_identity(header, *rules)
        mask = None
        counts: tuple[FlagCount, ...] = ()
        try:
            mask = read_mask(path)
            counts = count_flags(mask.dq)
        except TmtDqError as problem:
            findings.append(error("DQ", problem.what, problem.hint))
        subject = Subject(file, header, instrument, detector, mask, counts, max_flagged, border)
        findings += check_mask(subject)
        known = {f"'{finding.where}'" for finding in findings}
        for finding in _ask_crds(subject, rules):
            if not any(keyword in finding.what for keyword in known):
                findings.append(finding)
    rank = ("error", "warning", "info").index
    return Certification(
        path=path,
        findings=tuple(sorted(findings, key=lambda finding: rank(finding.severity))),
        instrument=None if instrument is None else instrument.name,
        detector=None if detector is None else detector.name,
        subarray=text(header, "SUBARRAY"),
        useafter=text(header, "USEAFTER"),
        shape=None if mask is None else mask.window.shape,
        flags=counts,
    )


def _ask_crds(subject: Subject, rules: Rules) -> Iterator[Finding]:
    """Run CRDS' own certify on the mask as a delivery would write it."""
    file, instrument = subject.file, subject.instrument
    if instrument is None or file.compressed:
        return
    cache = open_cache(rules[0], instrument.observatory)
    context = cache.context(rules[1])
    # crds executes rules: they are examined first.
    load_rules(cache.mappings, context, instrument)
    cards = {"REFTYPE": instrument.reftype.upper(), "USEAFTER": text(subject.header, "USEAFTER")}
    if subject.detector is not None:
        cards["DETECTOR"] = subject.detector.name
    with tempfile.TemporaryDirectory(prefix="tmt-dq-certify-") as folder:
        copy = Path(folder) / f"{file.path.stem}.fits"
        write_reference(file, copy, cards)
        try:
            messages = crds_tools.certify_reference(copy, cache, context)
        except CertificationError as problem:
            yield error("crds certify", problem.what, problem.hint)
            return
    for level, what in messages:
        yield Finding("error" if level == "ERROR" else "warning", "CRDS", what)
