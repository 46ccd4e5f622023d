"""Files of a delivery, written and tried in a folder laid out like the cache."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmt_dq import __version__
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import overlap
from tmt_dq.delivery.answers import check_answers
from tmt_dq.delivery.caches import config_text, write_text
from tmt_dq.delivery.certify import examine
from tmt_dq.delivery.new_rules import derive, difference, new_names
from tmt_dq.delivery.receipts import (
    Changes,
    DeliveredFile,
    Receipt,
    find_receipt,
    receipt_name,
)
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.errors import DeliveryError, TmtDqError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.identity import Identity, identify, sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument, load
from tmt_dq.masks.mask import Mask, read_mask
from tmt_dq.references import checksums
from tmt_dq.references.cache import Cache, open_cache, open_cache_of
from tmt_dq.references.rules import read_chain
from tmt_dq.references.selection import applicable_name


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
    candidate: Candidate, root: Path, stage: Path, *, force: bool, yes: bool, dry_run: bool
) -> tuple[Receipt, tuple[str, ...]]:
    """Write all files of a delivery into the cache `root` to a stage, and try the new rules there.

    Returned are the receipt and the files in the order in which they get into the cache.
    """
    instrument, header = candidate.instrument, candidate.header
    cache = open_cache(root, instrument.observatory)
    before = cache.context("latest")
    changes, warnings = _compare(candidate, cache, before, force=force, yes=yes, dry_run=dry_run)
    chain = read_chain(cache.mappings, before, instrument)
    names, leftovers = new_names(cache, instrument, chain)
    rules, replaces = derive(chain, instrument, header, names)
    references, place = f"references/{cache.observatory}", f"{instrument.name.lower()}/{names.mask}"
    mask, record = f"{references}/{place}", f"{references}/{checksums.FILE_NAME}"
    _write_mask(candidate, stage / mask)
    sums = {**checksums.entries(cache.references), place: sha256_of(stage / mask)}
    texts = {f"mappings/{cache.observatory}/{name}": content for name, content in rules.items()}
    rmap, imap, pmap = texts
    texts[record] = checksums.text(sums)
    last = [pmap]
    config = config_text(cache, names.pmap)
    if config is not None:
        last.append(f"config/{cache.observatory}/server_config")
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


def _compare(
    candidate: Candidate, cache: Cache, context: str, *, force: bool, yes: bool, dry_run: bool
) -> tuple[Changes | None, tuple[str, ...]]:
    """Compare a mask with the one in force, if that can be; return changes and warnings.

    The same flags, or an implausible change, are a DeliveryError.
    """
    instrument = candidate.instrument
    date, time = candidate.header["USEAFTER"].split("T")
    exposure = {**candidate.header, "DATE-OBS": date, "TIME-OBS": time}
    name = applicable_name(exposure, instrument=instrument, cache=cache, context=context)
    try:
        new, old = read_mask(candidate.source), None
        if name.endswith(".fits"):
            old = read_mask(cache.reference(instrument.name, name))
    except TmtDqError as error:
        return None, (f"the mask was not compared with {name}, which is in force: {error.what}",)
    changes = _changes(None if old is None else name, old, new)
    limit = instrument.limits.changed_fraction
    if old is not None and not changes.pixels and not force:
        receipt = find_receipt(cache.root, cache.observatory, name)
        raise DeliveryError(
            f"has the same flags as {name}, which is in force for its exposures already"
            f"{f' (delivered with {receipt})' if receipt else ''}",
            where=candidate.source,
            hint="Use --force (force=True) to deliver it all the same.",
        )
    if old is None or yes or limit is None or changes.fraction <= limit:
        return changes, ()
    problem = (
        f"{changes.describe()}: {changes.fraction:.1%} of its pixels; plausible are up to "
        f"{limit:.1%}"
    )
    if dry_run:
        return changes, (f"{problem}. The delivery needs --yes",)
    raise DeliveryError(
        problem,
        where=candidate.source,
        hint=f"Compare it with {name} (tmt-dq diff). If it is right, use --yes (yes=True).",
    )


def _changes(name: str | None, old: Mask | None, new: Mask) -> Changes:
    """Compare a new mask with the one in force, called `name`, which may be smaller or None."""
    before = np.zeros_like(new.dq)
    if old is not None:
        before[overlap(old.window, new.window)] = old.dq[overlap(new.window, old.window)]
    added, removed = PIXEL.count(new.dq & ~before), PIXEL.count(before & ~new.dq)
    flags = {
        flag.name: (added.get(flag.name, 0), removed.get(flag.name, 0))
        for flag in PIXEL.flags
        if flag.name in {*added, *removed}
    }
    pixels = int(np.count_nonzero(before != new.dq))
    return Changes(name, pixels, pixels / new.dq.size, flags)


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
