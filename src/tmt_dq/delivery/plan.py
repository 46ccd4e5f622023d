"""Files of a delivery, written and tried in a folder laid out like the cache."""

import contextlib
import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from tmt_dq import __version__
from tmt_dq.delivery.candidate import Candidate
from tmt_dq.delivery.changes import Changes
from tmt_dq.delivery.derivation import Derivation, derive
from tmt_dq.delivery.names import NewNames, find_leftovers, new_names
from tmt_dq.delivery.publication import config_text, write_text
from tmt_dq.delivery.receipts import DeliveredFile, Receipt, receipt_name
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.delivery.rule_regression import check_answers
from tmt_dq.errors import DeliveryError, SelectionError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.identity import sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument
from tmt_dq.references import checksums
from tmt_dq.references.cache import Cache, open_cache
from tmt_dq.references.selection import applicable_name, select_reference

__all__ = ["Delivery", "plan_delivery"]

_REFERENCE = re.compile(r"'([\w.\-]+\.fits)'")
"""A reference file in the text of rules."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Files of a delivery, in a folder laid out like the cache, and its receipt."""

    receipt: Receipt
    files: tuple[str, ...]
    """Relative to the cache, in the order in which they get there."""
    replaced: frozenset[str]
    """Those of them that the cache has already."""


def plan_delivery(
    candidate: Candidate,
    cache: Cache,
    stage: Path,
    *,
    changes: Changes | None,
    border: bool,
    warnings: tuple[str, ...],
) -> Delivery:
    """Write all files of the delivery into the stage, and try the new rules there."""
    instrument, before = candidate.instrument, cache.context("latest", {})
    names = new_names(cache, instrument)
    derivation = derive(cache, before, instrument, candidate.header, names)

    def relative(path: Path) -> str:
        return path.relative_to(cache.root).as_posix()

    mask = relative(_reference_folder(cache, instrument) / names.mask)
    with output_errors(stage / mask), open_input(candidate.copy) as file:
        (stage / mask).parent.mkdir(parents=True)
        write_reference(file, stage / mask, {"FILENAME": (names.mask, "Name of the file")})
    texts = {relative(cache.mappings / name): rules for name, rules in derivation.texts.items()}
    rmap, imap, pmap = texts
    record = relative(cache.references / checksums.FILE_NAME)
    texts[record] = _record(candidate, cache, derivation, stage / mask)
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
        detector=candidate.header["DETECTOR"],
        subarray=candidate.header["SUBARRAY"],
        useafter=candidate.header["USEAFTER"],
        mask=names.mask,
        source=str(candidate.source.absolute()),
        source_sha256=candidate.source_sha256,
        context=names.pmap,
        context_before=before,
        files=tuple(_delivered(stage, target) for target in (mask, *texts)),
        replaces=derivation.replaces,
        difference=derivation.difference,
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
    own = receipt_name(cache.observatory, names.pmap)
    write_text(stage / own, receipt.as_json())
    return Delivery(
        receipt, (mask, record, rmap, imap, own, *last), replaced=frozenset({record, *last[1:]})
    )


def _reference_folder(cache: Cache, instrument: Instrument) -> Path:
    """Return the folder of an instrument's references."""
    return cache.references / instrument.name.lower()


def _delivered(stage: Path, target: str) -> DeliveredFile:
    path = stage / target
    return DeliveredFile(target, path.stat().st_size, sha256_of(path))


def _record(candidate: Candidate, cache: Cache, derivation: Derivation, mask: Path) -> str:
    """Return the text of SHA256SUMS, with the new mask and what the rules name and nobody noted."""
    folder = _reference_folder(cache, candidate.instrument).relative_to(cache.references)
    entries = {**checksums.entries(cache.references)}
    known = {Path(path).name for path in entries}
    for name in sorted(set(_REFERENCE.findall("".join(derivation.before.values()))) - known):
        # What is missing, or a Git LFS pointer, is not on record: it may come later.
        with contextlib.suppress(SelectionError):
            path = cache.reference(candidate.instrument.name, name, verify=False)
            entries[path.relative_to(cache.references).as_posix()] = sha256_of(path)
    entries[(folder / mask.name).as_posix()] = sha256_of(mask)
    return checksums.text(entries)


def _try_rules(
    candidate: Candidate, cache: Cache, stage: Path, before: str, names: NewNames
) -> tuple[str, ...]:
    """Make sure that the new rules select the mask, with its file, and compare them with the old.

    Returned is what may be unexpected, though it follows from the rules.
    """
    header, instrument = candidate.header, candidate.instrument
    exposure = candidate.exposure
    staged = open_cache(stage, instrument.observatory, {})
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
