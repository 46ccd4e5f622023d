"""Puts a mask into a CRDS cache, with rules that select it, or takes the last one out again."""

import datetime as dt
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tmt_dq import __version__
from tmt_dq.delivery import new_cache as fresh
from tmt_dq.delivery.certify import Certification, certify_mask
from tmt_dq.delivery.derivation import derive, next_reference
from tmt_dq.delivery.locks import exclusive
from tmt_dq.delivery.mask_headers import check_identity, text
from tmt_dq.delivery.publication import (
    FOLDER,
    Step,
    carry_out,
    is_pending,
    recover,
    staging_folder,
)
from tmt_dq.delivery.receipts import (
    DeliveredFile,
    Receipt,
    all_receipts,
    read_receipt,
    receipt_name,
)
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.delivery.rule_regression import check_answers
from tmt_dq.delivery.staging import Stage, reference_folder, stage_delivery, stage_rollback
from tmt_dq.errors import ConfigError, DeliveryError, MaskFormatError, RampFormatError
from tmt_dq.files.atomic import output_errors
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument, load
from tmt_dq.masks.useafter import useafter_text
from tmt_dq.references import checksums as sums
from tmt_dq.references import embedded
from tmt_dq.references.cache import Cache, open_cache
from tmt_dq.references.selection import applicable_name, select_reference

__all__ = ["DeliveredFile", "Receipt", "deliver_mask", "rollback"]


def deliver_mask(
    mask: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str],
    useafter: str | dt.datetime | None = None,
    dry_run: bool = False,
    max_flagged: float | None = None,
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
    max_flagged : float, optional
        As in `tmt_dq.certify_mask`.
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
        base = _open(embedded.cache_path() if fresh.is_new(root) else root, prepared.instrument)
        certification = _certify(prepared, base, max_flagged)
        if dry_run:
            stage = Stage(base, Path(scratch) / "cache")
            receipt, _ = _stage(prepared, certification, stage)
            return replace(receipt, path=None, cache=root)
        if fresh.is_new(root):
            fresh.create(root, wait_s=wait_s)
        target = _open(root, prepared.instrument)
        with exclusive(root / FOLDER / "lock", wait_s=wait_s):
            recover(root)
            with staging_folder(root) as folder:
                receipt, steps = _stage(prepared, certification, Stage(target, folder))
                carry_out(root, folder, steps)
    return receipt


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
            findings, instrument, detector = check_identity(header)
            if file.compressed or instrument is None or detector is None:
                # What else is wrong with it shall be said at once.
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
    digest = sums.file_sha256(source)
    return _Prepared(source, digest, copy, instrument, selectors, tuple(changes))


def _open(root: Path, instrument: Instrument) -> Cache:
    return open_cache(root, instrument.observatory, {})


def _certify(prepared: _Prepared, base: Cache, max_flagged: float | None) -> Certification:
    certification = certify_mask(
        prepared.copy,
        crds_path=base.root,
        context=base.context("latest", {}),
        max_flagged=max_flagged,
    )
    certification = replace(certification, path=prepared.source)
    certification.raise_errors()
    return certification


def _stage(
    prepared: _Prepared, certification: Certification, stage: Stage
) -> tuple[Receipt, tuple[Step, ...]]:
    """Write all files of the delivery into the stage, and try the new rules there."""
    cache, instrument = stage.cache, prepared.instrument
    before = cache.context("latest", {})
    taken = all_receipts(cache.root, cache.observatory)
    name = next_reference(cache, instrument, taken=taken)
    derivation = derive(cache, before, instrument, prepared.header, name, taken=taken)
    mask = stage.folder / stage.relative(reference_folder(cache, instrument) / name)
    with output_errors(mask), open_input(prepared.copy) as file:
        mask.parent.mkdir(parents=True)
        write_reference(file, mask, {"FILENAME": (name, "Name of the file")})
    receipt, steps = stage_delivery(
        stage,
        instrument,
        derivation,
        Receipt(
            path=cache.root / receipt_name(cache.observatory, derivation.context),
            cache=cache.root,
            observatory=cache.observatory,
            instrument=instrument.name,
            detector=prepared.header["DETECTOR"],
            subarray=prepared.header["SUBARRAY"],
            useafter=prepared.header["USEAFTER"],
            mask=name,
            source=str(prepared.source.absolute()),
            source_sha256=prepared.source_sha256,
            context=derivation.context,
            context_before=before,
            files=(),
            replaces=derivation.replaces,
            difference=derivation.difference,
            warnings=(
                *prepared.changes,
                *(
                    f"{found.where}: {found.what}"
                    for found in certification.findings
                    if found.severity == "warning"
                ),
            ),
            delivered=_now(),
            software=f"tmt-dq {__version__}",
        ),
    )
    kept = _try_rules(prepared, cache, stage.folder, receipt)
    if not kept:
        return receipt, steps
    receipt = replace(receipt, warnings=(*receipt.warnings, *kept))
    stage.write(receipt_name(cache.observatory, receipt.context), receipt.as_json())
    own = receipt_name(cache.observatory, receipt.context)
    return receipt, tuple(stage.step(own) if step.target == own else step for step in steps)


def _try_rules(
    prepared: _Prepared, cache: Cache, folder: Path, receipt: Receipt
) -> tuple[str, ...]:
    """Ask the new rules for the mask, with its file, and compare them with the old ones."""
    date, time = prepared.header["USEAFTER"].split("T")
    exposure = {**prepared.header, "DATE-OBS": date, "TIME-OBS": time}
    staged = _open(folder, prepared.instrument)
    name = applicable_name(
        exposure, instrument=prepared.instrument, cache=staged, context=receipt.context
    )
    if name != receipt.mask:
        raise DeliveryError(
            f"the new rules would select {name} for the mask's own keywords; expected "
            f"{receipt.mask}",
            where=receipt.context,
            hint="Nothing was delivered. These rules call what serves all subarrays GENERIC: write "
            "SUBARRAY = GENERIC into the mask."
            if receipt.subarray == "N/A"
            else "Nothing was delivered. Look at the rules for this detector and subarray "
            f"({receipt.subarray}).",
        )
    # With the file: it must be one, with the sum that will be on record.
    select_reference(
        exposure, instrument=prepared.instrument, crds_path=folder, context=receipt.context
    )
    return check_answers(
        (cache, receipt.context_before),
        (staged, receipt.context),
        prepared.instrument,
        prepared.header,
        receipt.mask,
    )


def rollback(
    receipt: str | os.PathLike[str] | Receipt, *, dry_run: bool = False, wait_s: float = 60.0
) -> Receipt:
    """Take the last delivery out of its cache again.

    The context before becomes the default again. The mask and the rules of the delivery are moved
    to ``deliveries/<observatory>/withdrawn``: nothing is lost, and their names are not used again,
    so that what was calibrated with them can be told apart.

    Parameters
    ----------
    receipt : path or Receipt
        The receipt of the delivery, in the cache.
    dry_run : bool
        Only make sure that the delivery can be taken back; the cache is not touched.
    wait_s : float
        How many seconds to wait for a delivery into the same cache.

    Returns
    -------
    Receipt
        The receipt, which says now that the delivery was taken back; in a dry run it does not.

    Raises
    ------
    DeliveryError
        Raised if it is no receipt, was taken back already, is not the last delivery, or the files
        are not as they were delivered.
    OutputError
        Raised if the cache cannot be written.

    Examples
    --------
    >>> from tmt_dq import rollback
    >>> path = "/data/crds/deliveries/tmt/tmt_0101.json"
    >>> rollback(path).rolled_back  # doctest: +SKIP
    '2026-11-24T09:12:45Z'
    """
    path = receipt.path if isinstance(receipt, Receipt) else Path(receipt)
    if path is None:
        raise DeliveryError("was not delivered (dry_run), so it cannot be taken back")
    found = read_receipt(path)
    root = found.cache
    if dry_run:
        if is_pending(root):
            raise DeliveryError(
                "an earlier change was interrupted; it must be settled before this can be judged",
                where=root,
                hint="The next delivery, or rollback without a dry run, settles it.",
            )
        cache, instrument = _last_delivery(path, found)
        with tempfile.TemporaryDirectory(prefix="tmt-dq-rollback-") as scratch:
            stage_rollback(Stage(cache, Path(scratch)), instrument, found, _now())
        return found
    with exclusive(root / FOLDER / "lock", wait_s=wait_s):
        recover(root)
        # Read again: it may have been taken back, or its delivery be the one that recovery undid.
        found = read_receipt(path)
        cache, instrument = _last_delivery(path, found)
        with staging_folder(root) as folder:
            found, steps = stage_rollback(Stage(cache, folder), instrument, found, _now())
            carry_out(root, folder, steps)
    return found


def _last_delivery(path: Path, found: Receipt) -> tuple[Cache, Instrument]:
    """Return the cache of a receipt, and its instrument, if it is of the cache's last delivery."""
    instrument = load(found.instrument)
    cache = _open(found.cache, instrument)
    current = cache.context("latest", {})
    if found.rolled_back is not None:
        raise DeliveryError(f"was taken back already, at {found.rolled_back}", where=path)
    if current != found.context:
        raise DeliveryError(
            f"the cache's context is {current}, not {found.context}, which this delivery made",
            where=path,
            hint="Take back later deliveries first, the last one first.",
        )
    return cache, instrument


def _now() -> str:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds")
