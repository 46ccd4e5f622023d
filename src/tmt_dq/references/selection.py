"""Selection of an exposure's reference file by the rules of a CRDS cache, with the reason."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmt_dq.errors import NoMatchError, RampFormatError, SelectionError
from tmt_dq.exposures.ramp import read_selectors
from tmt_dq.files.url_arguments import staged
from tmt_dq.fits.file import open_input
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.instruments import Instrument
from tmt_dq.references import checksums
from tmt_dq.references.adapter import import_crds
from tmt_dq.references.cache import Cache
from tmt_dq.references.rule_matches import RuleCheck, checks_table
from tmt_dq.references.rules import load_rules, open_rules
from tmt_dq.references.selectors import instrument_of, parameters
from tmt_dq.tables import as_astropy, as_html

if TYPE_CHECKING:
    from astropy import table as astropy_table

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """The reference file that the rules selected.

    Parameters
    ----------
    observatory, reftype : str
        CRDS observatory and type of reference, in lower case.
    context : str
        The rules: ``tmt_0001.pmap``.
    name : str or None
        The file's name; None if the rules say that no reference applies (N/A).
    path : Path or None
        The file, in the cache, found to be a readable FITS file.
    rules : tuple of RuleCheck
        The keys of the rule that selected it.
    crds_version : str
        Version of crds.
    cache : Path
        The cache.
    sha256 : str or None
        Digest of the file, where the cache has it on record.
    """

    observatory: str
    reftype: str
    context: str
    name: str | None
    path: Path | None
    rules: tuple[RuleCheck, ...]
    crds_version: str
    cache: Path
    sha256: str | None = None

    @property
    def not_applicable(self) -> bool:
        """Whether the rules say that no reference applies."""
        return self.name is None

    @property
    def uri(self) -> str:
        """What is recorded in the data: ``crds://tmt_iris_mask_0001.fits``, or N/A."""
        return "N/A" if self.name is None else f"crds://{self.name}"

    def to_table(self) -> "astropy_table.Table":
        """Return the keys of the rule as a table of astropy."""
        return as_astropy(self.rules, RuleCheck, meta={"context": self.context})

    def _repr_html_(self) -> str:
        """Show the selection in a notebook."""
        path = "N/A" if self.path is None else str(self.path)
        lines = [path, f"context {self.context}", f"cache {self.cache}"]
        return as_html(lines, [checks_table(self.rules)])


def select_reference(
    header: Mapping[str, object],
    *,
    instrument: Instrument | None = None,
    crds_path: str | os.PathLike[str] | None = None,
    context: str | None = None,
    where: object = None,
    verify: bool | None = None,
) -> Selection:
    """Select an exposure's mask by its FITS keywords, with no server and no network.

    The instrument is by default the one that INSTRUME names, cache and context those of the
    environment; `where` is the exposure's file, for error messages. A mask whose sha256 the cache
    has on record is compared with it, unless `verify` is false (TMT_DQ_VERIFY is 0).

    Examples
    --------
    >>> from tmt_dq.references import select_reference
    >>> header = {"INSTRUME": "IRIS", "DETECTOR": "IMG1", "DATE-OBS": "2026-05-01T10:11:12"}
    >>> select_reference(header).name  # doctest: +SKIP
    'tmt_iris_mask_0101.fits'
    """
    described = instrument_of(header, where) if instrument is None else instrument
    cache, instrument, rules = open_rules(crds_path, context, described)
    found = parameters(header, instrument, where)
    name, checks = rules.select(found, where)
    chosen = name or "N/A"
    _log.info(
        "%s selects %s for %s; cache %s", rules.context, chosen, where or "a header", cache.root
    )
    for check in checks:
        _log.debug("%s", check)
    bad = cache.bad_files() & {name, *(file.path.name for file in rules.files)}
    if bad:
        raise SelectionError(
            f"{', '.join(sorted(bad))} was declared scientifically bad",
            where=cache.config / "server_config",
            hint="Choose another context, or give a mask yourself (--mask FILE).",
        )
    if verify is None:
        verify = os.environ.get("TMT_DQ_VERIFY", "1").lower() not in ("0", "f", "false", "no")
    path = None if name is None else cache.reference(instrument.name, name, verify=verify)
    return Selection(
        observatory=instrument.observatory,
        reftype=instrument.reftype,
        context=rules.context,
        name=name,
        path=path,
        rules=checks,
        crds_version=import_crds().__version__,
        cache=cache.root,
        sha256=checksums.recorded(cache.references, path) if path and verify else None,
    )


@staged("ramp")
def select_mask(
    ramp: str | os.PathLike[str],
    *,
    context: str | None = None,
    crds_path: str | os.PathLike[str] | None = None,
    verify: bool | None = None,
    fsspec_kwargs: Mapping[str, Any] | None = None,  # noqa: ARG001 - taken by `staged`
) -> Selection:
    """Find the MASK reference file of an exposure by CRDS' rules.

    Only the exposure's headers are read, and no network is used.

    Parameters
    ----------
    ramp : path or URL
        FITS file of the exposure.
    context : str, optional
        Name of the CRDS context (``tmt_0001.pmap``). By default ``TMT_DQ_CRDS_CONTEXT``,
        ``CRDS_CONTEXT``, or else the newest one of the cache.
    crds_path : path, optional
        CRDS cache. By default ``TMT_DQ_CRDS_PATH``, ``CRDS_PATH``, or else the cache that comes
        with tmt-dq.
    verify : bool, optional
        Whether the mask must be the file whose sha256 the cache has on record. By default yes,
        unless ``TMT_DQ_VERIFY`` is 0.
    fsspec_kwargs : mapping, optional
        Arguments for fsspec, which fetches a URL, as of `astropy.io.fits.open`.

    Returns
    -------
    tmt_dq.references.Selection
        The file, and what each rule key required and found.

    Raises
    ------
    RampFormatError
        Raised if the file is not FITS, is a mask, or lacks a keyword that the rules look at.
    SelectionError
        Raised if no rule matches, or the reference is not in the cache or not as it was delivered.

    Examples
    --------
    >>> from tmt_dq import select_mask
    >>> selection = select_mask("iris_0001_uncal.fits")
    >>> selection.context, selection.path.name
    ('tmt_0100.pmap', 'tmt_iris_mask_0101.fits')
    """
    path = Path(ramp)
    with open_input(path) as file:
        wrong = wrong_kind(file, "an exposure")
        if wrong is not None:
            raise RampFormatError(wrong[0], where=path, hint=wrong[1])
        instrument, selectors = read_selectors(file)
        return select_reference(
            selectors,
            instrument=instrument,
            crds_path=None if crds_path is None else Path(crds_path),
            context=context,
            where=path,
            verify=verify,
        )


def applicable_name(
    header: Mapping[str, object], *, instrument: Instrument, cache: Cache, context: str
) -> str:
    """Return the name that a context's rules select, whether or not the file is there.

    It is that of a file, N/A or ``no rule``. `header` has the exposure's FITS keywords.
    """
    found = parameters(header, instrument, None)
    try:
        name, _ = load_rules(cache.mappings, context, instrument).select(found)
    except NoMatchError:
        return "no rule"
    return name or "N/A"
