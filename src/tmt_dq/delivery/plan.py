"""Files of a delivery, written and tried in a folder laid out like the cache."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tmt_dq import __version__
from tmt_dq.delivery.answers import check_answers
from tmt_dq.delivery.caches import config_text, write_text
from tmt_dq.delivery.certify import examine
from tmt_dq.delivery.changes import Changes
from tmt_dq.delivery.new_rules import derive, difference, new_names
from tmt_dq.delivery.receipts import DeliveredFile, Receipt, receipt_name
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.errors import DeliveryError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.identity import Identity, identify, sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument, load
from tmt_dq.references import checksums
from tmt_dq.references.cache import Cache, open_cache, open_cache_of
from tmt_dq.references.rules import read_chain

__all__ = ["Candidate", "examine_candidate", "plan_delivery"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mask that passed certification, whose file must stay as it was `seen`."""

    source: Path
    seen: Identity | None
    instrument: Instrument
    header: Mapping[str, str]
    """INSTRUME, DETECTOR, SUBARRAY, USEAFTER and REFTYPE, as rules see them."""
    border: bool
    warnings: tuple[str, ...]


def examine_candidate(
    source: Path, root: Path, useafter: str | None, max_flagged: float | None, *, border: bool
) -> Candidate:
    """Certify a mask against the rules of the cache `root`; an error if it does not pass."""
    seen = identify(source)
    rules = (root, "latest")
    found = examine(source, rules, useafter=useafter, max_flagged=max_flagged, border=border)
    found.raise_errors()
    _, instrument = open_cache_of(root, load(str(found.instrument)), "latest")
    header = {
        "INSTRUME": instrument.name,
        "DETECTOR": str(found.detector),
        "SUBARRAY": found.subarray.upper(),
        "USEAFTER": found.useafter,
        "REFTYPE": instrument.reftype.upper(),
    }
    return Candidate(source, seen, instrument, header, border, found.warnings)


def plan_delivery(
    candidate: Candidate,
    cache: Cache,
    stage: Path,
    changes: Changes | None,
    warnings: tuple[str, ...],
) -> tuple[Receipt, tuple[str, ...]]:
    """Write all files of the delivery into the stage, and try the new rules there.

    Returned are the receipt and the files, relative to the cache, in the order in which they get
    there.
    """
    instrument, header = candidate.instrument, candidate.header
    before = cache.context("latest")
    chain = read_chain(cache.mappings, before, instrument)
    names, leftovers = new_names(cache, instrument, chain)
    rules, replaces = derive(chain, instrument, header, names)

    def relative(path: Path) -> str:
        return path.relative_to(cache.root).as_posix()

    mask = relative(cache.references / instrument.name.lower() / names.mask)
    _write_mask(candidate, stage / mask)
    texts = {relative(cache.mappings / name): content for name, content in rules.items()}
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
    sides = (cache, before), (open_cache(stage, cache.observatory), names.pmap)
    unexpected = check_answers(*sides, instrument, header, names.mask)
    own = receipt_name(cache.observatory, names.pmap)
    receipt = Receipt(
        path=cache.root / own,
        cache=cache.root,
        observatory=cache.observatory,
        instrument=instrument.name,
        detector=header["DETECTOR"],
        subarray=header["SUBARRAY"],
        useafter=header["USEAFTER"],
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
        replaces=replaces,
        difference=difference(chain, rules),
        changes=changes,
        border=candidate.border,
        warnings=(*candidate.warnings, *warnings, *unexpected, *leftovers),
        delivered=dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        software=f"tmt-dq {__version__}",
    )
    write_text(stage / own, receipt.as_json())
    return receipt, (mask, record, rmap, imap, own, *last)


def _write_mask(candidate: Candidate, target: Path) -> None:
    """Write the mask as it will be in the cache; what is written must be what was certified."""
    cards = {key: candidate.header[key] for key in ("DETECTOR", "REFTYPE", "USEAFTER")}
    cards["FILENAME"] = target.name
    with output_errors(target), open_input(candidate.source) as file:
        target.parent.mkdir(parents=True)
        write_reference(file, target, cards)
    if identify(candidate.source) != candidate.seen:
        raise DeliveryError(
            "was changed while it was certified",
            where=candidate.source,
            hint="Nothing was delivered. Deliver it again.",
        )
