"""Files of a delivery, written and tried in a folder laid out like the cache."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tmt_dq import __version__
from tmt_dq.delivery.answers import check_answers
from tmt_dq.delivery.caches import config_text, write_text
from tmt_dq.delivery.certify import certify_mask
from tmt_dq.delivery.changes import Changes
from tmt_dq.delivery.checks import check_identity, text
from tmt_dq.delivery.new_rules import Names, derive, find_leftovers, new_names
from tmt_dq.delivery.receipts import DeliveredFile, Receipt, receipt_name
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.errors import DeliveryError, MaskFormatError, RampFormatError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.identity import sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.fits.kinds import wrong_kind
from tmt_dq.instruments import Instrument
from tmt_dq.references import checksums
from tmt_dq.references.cache import Cache, open_cache
from tmt_dq.references.selection import applicable_name, select_reference

__all__ = ["Candidate", "plan_delivery", "prepare_candidate"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A copy of a mask as it will be delivered, but for its name."""

    source: Path
    copy: Path
    instrument: Instrument
    header: Mapping[str, str]
    """INSTRUME, DETECTOR, SUBARRAY, USEAFTER and REFTYPE, as rules see them."""
    remarks: tuple[str, ...]
    """What differs from the source, in words."""

    @property
    def exposure(self) -> dict[str, str]:
        """Keywords of the first exposure that the mask is for."""
        date, time = self.header["USEAFTER"].split("T")
        return {**self.header, "DATE-OBS": date, "TIME-OBS": time}


def prepare_candidate(source: Path, scratch: Path, useafter: str | None) -> Candidate:
    """Copy the mask, so that what is certified is what is delivered."""
    copy = scratch / "mask.fits"
    try:
        with open_input(source) as file:
            header = file.units[0].header
            _, instrument, detector = check_identity(header)
            if (
                file.compressed
                or instrument is None
                or detector is None
                or wrong_kind(file, "a mask")
            ):
                certify_mask(source).raise_errors()
            assert instrument is not None
            assert detector is not None
            cards: dict[str, tuple[str, str]] = {}
            remarks = []
            if text(header, "DETECTOR") != detector.name:
                cards["DETECTOR"] = (detector.name, "Detector")
                remarks.append(f"DETECTOR: {text(header, 'DETECTOR')} is {detector.name} in rules")
            if file.named("ASDF"):
                remarks.append("ASDF: left out, CRDS allows no such extension in a FITS reference")
            if useafter is not None:
                cards["USEAFTER"] = (useafter, "First observation date this file is for")
            with output_errors(copy):
                write_reference(file, copy, cards)
    except RampFormatError as error:
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error
    selectors = {
        "INSTRUME": instrument.name,
        "DETECTOR": detector.name,
        "SUBARRAY": text(header, "SUBARRAY").upper(),
        "USEAFTER": useafter or text(header, "USEAFTER"),
        "REFTYPE": instrument.reftype.upper(),
    }
    return Candidate(source, copy, instrument, selectors, tuple(remarks))


def plan_delivery(
    candidate: Candidate,
    cache: Cache,
    stage: Path,
    *,
    changes: Changes | None,
    border: bool,
    warnings: tuple[str, ...],
) -> tuple[Receipt, tuple[str, ...]]:
    """Write all files of the delivery into the stage, and try the new rules there.

    Returned are the receipt and the files, relative to the cache, in the order in which they get
    there.
    """
    instrument, before = candidate.instrument, cache.context("latest", {})
    names = new_names(cache, instrument)
    rules = derive(cache, before, instrument, candidate.header, names)

    def relative(path: Path) -> str:
        return path.relative_to(cache.root).as_posix()

    mask = relative(cache.references / instrument.name.lower() / names.mask)
    with output_errors(stage / mask), open_input(candidate.copy) as file:
        (stage / mask).parent.mkdir(parents=True)
        write_reference(file, stage / mask, {"FILENAME": (names.mask, "Name of the file")})
    texts = {relative(cache.mappings / name): content for name, content in rules.texts.items()}
    rmap, imap, pmap = texts
    record = relative(cache.references / checksums.FILE_NAME)
    sums = checksums.entries(cache.references)
    added = (stage / mask).relative_to(stage / relative(cache.references)).as_posix()
    texts[record] = checksums.text({**sums, added: sha256_of(stage / mask)})
    last = [pmap]
    config = config_text(cache, names.pmap)
    if config is not None:
        last.append(relative(cache.config / "server_config"))
        texts[last[-1]] = config
    for target, content in texts.items():
        write_text(stage / target, content)
    own = receipt_name(cache.observatory, names.pmap)
    receipt = Receipt(
        path=cache.root / own,
        cache=cache.root,
        observatory=cache.observatory,
        instrument=instrument.name,
        detector=candidate.header["DETECTOR"],
        subarray=candidate.header["SUBARRAY"],
        useafter=candidate.header["USEAFTER"],
        mask=names.mask,
        source=str(candidate.source.absolute()),
        source_sha256=sha256_of(candidate.source),
        context=names.pmap,
        context_before=before,
        files=tuple(
            DeliveredFile(target, path.stat().st_size, sha256_of(path))
            for target in (mask, *texts)
            for path in [stage / target]
        ),
        replaces=rules.replaces,
        difference=rules.difference,
        changes=changes,
        border=border,
        warnings=(
            *candidate.remarks,
            *warnings,
            *_try_rules(candidate, cache, stage, before, names),
            *find_leftovers(cache, instrument, before),
        ),
        delivered=dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        software=f"tmt-dq {__version__}",
    )
    write_text(stage / own, receipt.as_json())
    return receipt, (mask, record, rmap, imap, own, *last)


def _try_rules(
    candidate: Candidate, cache: Cache, stage: Path, before: str, names: Names
) -> Iterator[str]:
    """Make sure that the new rules select the mask, with its file, and compare them with the old.

    Yielded is what may be unexpected, though it follows from the rules.
    """
    header, instrument = candidate.header, candidate.instrument
    staged = open_cache(stage, instrument.observatory, {})
    name = applicable_name(
        candidate.exposure, instrument=instrument, cache=staged, context=names.pmap
    )
    if name != names.mask:
        advice = f"Look at the rules for this detector and subarray ({header['SUBARRAY']})."
        if header["SUBARRAY"] == "N/A":
            advice = "These rules call what serves all subarrays GENERIC: write SUBARRAY = GENERIC "
            advice += "into the mask."
        raise DeliveryError(
            f"the new rules would select {name} for the mask's own keywords; expected {names.mask}",
            where=names.pmap,
            hint=f"Nothing was delivered. {advice}",
        )
    # With the file: it must be one, with the sum that will be on record.
    select_reference(candidate.exposure, instrument=instrument, crds_path=stage, context=names.pmap)
    sides = (cache, before), (staged, names.pmap)
    yield from check_answers(*sides, instrument, header, names.mask)
