"""Puts a mask into a CRDS cache, with rules that select it."""

import contextlib
import datetime as dt
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tmt_dq import __version__
from tmt_dq.delivery.certify import Certification, certify_mask
from tmt_dq.delivery.derivation import Derivation, derive
from tmt_dq.delivery.locks import exclusive
from tmt_dq.delivery.mask_headers import check_identity, check_kind, text
from tmt_dq.delivery.names import NewNames, find_leftovers, new_names
from tmt_dq.delivery.new_cache import create, is_new
from tmt_dq.delivery.publication import config_text, publish, write_text
from tmt_dq.delivery.receipts import DeliveredFile, Receipt, receipt_name
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.delivery.rule_regression import check_answers
from tmt_dq.errors import (
    ConfigError,
    DeliveryError,
    MaskFormatError,
    RampFormatError,
    SelectionError,
)
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.identity import sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument
from tmt_dq.masks.useafter import useafter_text
from tmt_dq.references import checksums, embedded
from tmt_dq.references.cache import Cache, open_cache
from tmt_dq.references.selection import applicable_name, select_reference

__all__ = ["DeliveredFile", "Receipt", "deliver_mask"]

_REFERENCE = re.compile(r"'([\w.\-]+\.fits)'")
"""A reference file in the text of rules."""


def deliver_mask(
    mask: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str],
    useafter: str | dt.datetime | None = None,
    dry_run: bool = False,
    max_flagged: float | None = None,
    border: bool = True,
    wait_s: float = 60.0,
) -> Receipt:
    """Put a mask into a CRDS cache, and make it the one that is selected from its USEAFTER on.

    The mask is certified, copied under the next free name and entered into new rules, which are
    derived from the cache's default context. They are asked about exposures of all detectors before
    and after every date they know, and must answer as expected. Only then are the files put in
    place; the new context becomes the default with the last step. Whatever kills the process, the
    cache is the old one or the new one; what a killed delivery left is cleaned up by the next.

    Parameters
    ----------
    mask : path
        FITS file of the mask; only read. The copy differs in FILENAME, USEAFTER if it is given,
        and DETECTOR if that is an alias; an ASDF extension is left out. All other bytes are the
        same.
    cache : path
        CRDS cache. One that does not exist yet starts as a copy of the one that comes with tmt-dq.
    useafter : str or datetime, optional
        Time (UTC) of the first exposure that the mask is for, instead of the file's USEAFTER.
    dry_run : bool
        Only work out what would be delivered; the cache is not touched.
    max_flagged, border : optional
        As in `tmt_dq.certify_mask`; that a mask lacks the border is recorded in the receipt.
    wait_s : float
        How many seconds to wait for another delivery into the same cache.

    Returns
    -------
    Receipt
        What was, or would be, delivered.

    Raises
    ------
    CertificationError
        Raised if the mask does not pass.
    MaskFormatError
        Raised if it cannot be read.
    ConfigError
        Raised if the cache or USEAFTER make no sense.
    SelectionError
        Raised if the cache's rules cannot be trusted.
    DeliveryError
        Raised if the new rules would not answer as expected, or another delivery is under way.
    OutputError
        Raised if the cache cannot be written.

    Examples
    --------
    >>> from tmt_dq import deliver_mask
    >>> receipt = deliver_mask("hot.fits", cache="/data/crds")  # doctest: +SKIP
    >>> receipt.mask, receipt.context  # doctest: +SKIP
    ('tmt_iris_mask_0106.fits', 'tmt_0101.pmap')
    """
    when = None if useafter is None else useafter_text(useafter)
    root = Path(cache).absolute()
    if embedded.is_here(root):
        raise ConfigError(
            "this is the cache that comes with tmt-dq, which is not to be changed",
            where=root,
            hint="Deliver into another folder; a new one starts as a copy of this.",
        )
    with tempfile.TemporaryDirectory(prefix="tmt-dq-deliver-") as scratch:
        prepared = _prepare(Path(mask), Path(scratch), when)
        base = _open(embedded.cache_path() if is_new(root) else root, prepared.instrument)
        certification = _certify(prepared, base, max_flagged, border=border)
        stage = Path(scratch) / "cache"
        if dry_run:
            delivery = _plan(prepared, certification, base, stage)
            return replace(delivery.receipt, path=None, cache=root)
        if is_new(root):
            create(root)
        with exclusive(root, wait_s=wait_s):
            base = _open(root, prepared.instrument)
            delivery = _plan(prepared, certification, base, stage)
            publish(stage, root, delivery.files, delivery.replaced)
    return delivery.receipt


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A copy of the mask, as it will be delivered but for its name."""

    source: Path
    source_sha256: str
    copy: Path
    instrument: Instrument
    header: Mapping[str, str]
    changes: tuple[str, ...]


def _prepare(source: Path, scratch: Path, useafter: str | None) -> _Prepared:
    """Copy the mask, so that what is certified is what is delivered."""
    copy = scratch / "mask.fits"
    try:
        with open_input(source) as file:
            header = file.units[0].header
            Certification(source, tuple(check_kind(file))).raise_errors()
            findings, instrument, detector = check_identity(header)
            if file.compressed or instrument is None or detector is None:
                # What else is wrong with it is listed, too.
                certify_mask(source).raise_errors()
            Certification(source, tuple(findings)).raise_errors()
            assert instrument is not None
            assert detector is not None
            cards: dict[str, tuple[str, str]] = {}
            changes = []
            if text(header, "DETECTOR") != detector.name:
                cards["DETECTOR"] = (detector.name, "Detector")
                changes.append(f"DETECTOR: {text(header, 'DETECTOR')} is {detector.name} in rules")
            if file.named("ASDF"):
                changes.append("ASDF: left out, CRDS allows no such extension in a FITS reference")
            if useafter is not None:
                cards["USEAFTER"] = (useafter, "First observation date this file is for")
            with output_errors(copy):
                write_reference(file, copy, cards, leave_out=("ASDF",))
    except RampFormatError as error:
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error
    selectors = {
        "INSTRUME": instrument.name,
        "DETECTOR": detector.name,
        "SUBARRAY": text(header, "SUBARRAY").upper(),
        "USEAFTER": useafter or text(header, "USEAFTER"),
        "REFTYPE": instrument.reftype.upper(),
    }
    digest = sha256_of(source)
    return _Prepared(source, digest, copy, instrument, selectors, tuple(changes))


def _open(root: Path, instrument: Instrument) -> Cache:
    return open_cache(root, instrument.observatory, {})


def _certify(
    prepared: _Prepared, base: Cache, max_flagged: float | None, *, border: bool
) -> Certification:
    certification = certify_mask(
        prepared.copy,
        crds_path=base.root,
        context=base.context("latest", {}),
        max_flagged=max_flagged,
        border=border,
    )
    certification = replace(certification, path=prepared.source)
    certification.raise_errors()
    return certification


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Files of a delivery, in a folder laid out like the cache, and its receipt."""

    receipt: Receipt
    files: tuple[str, ...]
    """Relative to the cache, in the order in which they get there."""
    replaced: frozenset[str]
    """Those of them that the cache has already."""


def _plan(
    prepared: _Prepared, certification: Certification, cache: Cache, stage: Path
) -> _Delivery:
    """Write all files of the delivery into the stage, and try the new rules there."""
    instrument, before = prepared.instrument, cache.context("latest", {})
    names = new_names(cache, instrument)
    derivation = derive(cache, before, instrument, prepared.header, names)

    def relative(path: Path) -> str:
        return path.relative_to(cache.root).as_posix()

    mask = relative(_reference_folder(cache, instrument) / names.mask)
    with output_errors(stage / mask), open_input(prepared.copy) as file:
        (stage / mask).parent.mkdir(parents=True)
        write_reference(file, stage / mask, {"FILENAME": (names.mask, "Name of the file")})
    texts = {relative(cache.mappings / name): rules for name, rules in derivation.texts.items()}
    rmap, imap, pmap = texts
    record = relative(cache.references / checksums.FILE_NAME)
    texts[record] = _record(prepared, cache, derivation, stage / mask)
    config = config_text(cache, names.pmap)
    last = [pmap]
    if config is not None:
        last.append(relative(cache.config / "server_config"))
        texts[last[-1]] = config
    for target, content in texts.items():
        write_text(stage / target, content)
    receipt = Receipt(
        path=cache.root / receipt_name(cache.observatory, names.pmap),
        cache=cache.root,
        observatory=cache.observatory,
        instrument=instrument.name,
        detector=prepared.header["DETECTOR"],
        subarray=prepared.header["SUBARRAY"],
        useafter=prepared.header["USEAFTER"],
        mask=names.mask,
        source=str(prepared.source.absolute()),
        source_sha256=prepared.source_sha256,
        context=names.pmap,
        context_before=before,
        files=tuple(_delivered(stage, target) for target in (mask, *texts)),
        replaces=derivation.replaces,
        difference=derivation.difference,
        warnings=(
            *prepared.changes,
            *certification.warnings,
            *_try_rules(prepared, cache, stage, before, names),
            *_leftovers(cache, instrument, before),
        ),
        delivered=dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        software=f"tmt-dq {__version__}",
    )
    own = receipt_name(cache.observatory, names.pmap)
    write_text(stage / own, receipt.as_json())
    return _Delivery(
        receipt, (mask, record, rmap, imap, own, *last), replaced=frozenset({record, *last[1:]})
    )


def _reference_folder(cache: Cache, instrument: Instrument) -> Path:
    """Return the folder of an instrument's references."""
    if cache.subdir_mode() == "flat":
        return cache.references
    return cache.references / instrument.name.lower()


def _delivered(stage: Path, target: str) -> DeliveredFile:
    path = stage / target
    return DeliveredFile(target, path.stat().st_size, sha256_of(path))


def _record(prepared: _Prepared, cache: Cache, derivation: Derivation, mask: Path) -> str:
    """Return the text of SHA256SUMS, with the new mask and what the rules name and nobody noted."""
    folder = _reference_folder(cache, prepared.instrument).relative_to(cache.references)
    entries = {**checksums.entries(cache.references)}
    known = checksums.recorded(cache.references)
    for name in sorted(set(_REFERENCE.findall("".join(derivation.before.values()))) - known.keys()):
        # What is missing, or a Git LFS pointer, is not on record: it may come later.
        with contextlib.suppress(SelectionError):
            path = cache.reference(prepared.instrument.name, name, verify=False)
            entries[path.relative_to(cache.references).as_posix()] = sha256_of(path)
    entries[(folder / mask.name).as_posix()] = sha256_of(mask)
    return checksums.text(entries)


def _try_rules(
    prepared: _Prepared, cache: Cache, stage: Path, before: str, names: NewNames
) -> tuple[str, ...]:
    """Make sure that the new rules select the mask, with its file, and compare them with the old.

    Returned is what may be unexpected, though it follows from the rules.
    """
    header, instrument = prepared.header, prepared.instrument
    date, time = header["USEAFTER"].split("T")
    exposure = {**header, "DATE-OBS": date, "TIME-OBS": time}
    staged = _open(stage, instrument)
    name = applicable_name(exposure, instrument=instrument, cache=staged, context=names.pmap)
    if name != names.mask:
        raise DeliveryError(
            f"the new rules would select {name} for the mask's own keywords; expected {names.mask}",
            where=names.pmap,
            hint="Nothing was delivered. These rules call what serves all subarrays GENERIC: write "
            "SUBARRAY = GENERIC into the mask."
            if header["SUBARRAY"] == "N/A"
            else "Nothing was delivered. Look at the rules for this detector and subarray "
            f"({header['SUBARRAY']}).",
        )
    # With the file: it must be one, with the sum that will be on record.
    select_reference(exposure, instrument=instrument, crds_path=stage, context=names.pmap)
    return check_answers((cache, before), (staged, names.pmap), instrument, header, names.mask)


def _leftovers(cache: Cache, instrument: Instrument, context: str) -> tuple[str, ...]:
    """Name the files of earlier deliveries that never were, or are no more, in force."""
    found = find_leftovers(cache, instrument, context)
    if not found:
        return ()
    warning = (
        f"the cache holds {', '.join(found)}, which are not in force: their delivery was "
        "interrupted or taken back. They do no harm; their names are not used again"
    )
    return (warning,)
