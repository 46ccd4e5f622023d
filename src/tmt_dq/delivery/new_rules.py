"""The rules of a cache with one reference more: new .rmap, .imap and .pmap, as text.

crds' own code inserts the reference and writes the rules, with no file touched; names,
``derived_from`` and sums, which crds leaves to its server, are set here. Names are numbered, and
never used twice.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tmt_dq.delivery.receipts import receipts_folder
from tmt_dq.errors import DeliveryError
from tmt_dq.instruments import Instrument
from tmt_dq.references.adapter import LOCK, import_crds
from tmt_dq.references.cache import Cache
from tmt_dq.references.rule_files import RuleFile


class Names(NamedTuple):
    """Names of the files that a delivery adds."""

    mask: str
    rmap: str
    imap: str
    pmap: str


def _stems(cache: Cache, instrument: Instrument) -> tuple[tuple[str, str], ...]:
    """Return what comes before and after the number in the names of mask, rmap, imap and pmap."""
    imap = f"{cache.observatory}_{instrument.name.lower()}"
    rmap = f"{imap}_{instrument.reftype}"
    return (rmap, ".fits"), (rmap, ".rmap"), (imap, ".imap"), (cache.observatory, ".pmap")


def _numbers(stem: str, suffix: str, text: str) -> list[int]:
    """Return the numbers of the names of one kind that a text mentions, 0 among them."""
    pattern = rf"(?<![A-Za-z0-9]){re.escape(stem)}_(\d+){re.escape(suffix)}(?!\w)"
    return [0, *map(int, re.findall(pattern, text))]


def new_names(
    cache: Cache, instrument: Instrument, chain: Sequence[RuleFile]
) -> tuple[Names, tuple[str, ...]]:
    """Return names with numbers above all that files have, or rules or receipts mention.

    With them comes a warning of files newer than all that the rules in force, `chain`, mention.
    """
    receipts = receipts_folder(cache.root, cache.observatory)
    folders = (cache.mappings, cache.references, *cache.references.glob("*/"))
    try:
        files = "\n".join(
            path.name for folder in folders if folder.is_dir() for path in folder.iterdir()
        )
        texts = "\n".join(
            path.read_text("utf-8", errors="replace")
            for path in (*cache.mappings.glob("*.?map"), *receipts.glob("*.json"))
            if path.is_file()
        )
    except OSError as error:
        raise DeliveryError(
            f"cannot be read: {error.strerror}",
            where=error.filename or cache.root,
            hint="Names that are in use must be known. Check the permissions of the cache.",
        ) from error
    in_force = "\n".join(part for file in chain for part in (file.path.name, file.text))
    names, left = [], []
    for stem, suffix in _stems(cache, instrument):
        newest = max(_numbers(stem, suffix, in_force))
        numbers = sorted(_numbers(stem, suffix, files))
        left += [f"{stem}_{number:04d}{suffix}" for number in numbers if number > newest]
        names.append(f"{stem}_{max(numbers[-1], *_numbers(stem, suffix, texts)) + 1:04d}{suffix}")
    if not left:
        return Names(*names), ()
    what = f"files of interrupted or withdrawn deliveries in {cache.root}: {len(left)}, from "
    return Names(*names), (f"{what}{left[0]} on; they do no harm",)


def derive(
    chain: Sequence[RuleFile], instrument: Instrument, header: Mapping[str, str], names: Names
) -> tuple[dict[str, str], str | None]:
    """Derive rules that select a new reference, whose keywords are in `header`.

    Returned are .rmap, .imap and .pmap by name, and the reference whose place the new one takes.
    """
    reftype = instrument.reftype
    if chain[-1].path.suffix != ".rmap":
        raise DeliveryError(
            f"{chain[0].path.name} says that no {reftype} applies to {instrument.name}, so there "
            "are no rules to add one to",
            where=chain[-1].path,
            hint="Give the context an .rmap for the type first (tmt-dq crds newcontext).",
        )
    pmap, imap, rmap = chain
    with LOCK:
        inserted, replaces = _inserted(rmap, header, names.mask)
        texts = {
            names.rmap: _text(inserted, rmap, names.rmap),
            names.imap: _text(_relinked(imap, reftype, names.rmap), imap, names.imap),
            names.pmap: _text(_relinked(pmap, instrument.name, names.imap), pmap, names.pmap),
        }
    return texts, replaces


def difference(chain: Sequence[RuleFile], texts: Mapping[str, str]) -> str:
    """Return the difference between old and new rules, as ``diff --unified`` shows it."""
    lines: list[str] = []
    for old, (name, text) in zip(reversed(chain), texts.items(), strict=True):
        both = old.text.splitlines(keepends=True), text.splitlines(keepends=True)
        lines += difflib.unified_diff(*both, old.path.name, name)
    return "".join(lines)


def _mapping(file: RuleFile, **keys: Any) -> Any:
    """Return crds' object for a file of rules that was examined."""
    module = import_crds().rmap
    kind = {
        ".pmap": module.PipelineContext,
        ".imap": module.InstrumentContext,
        ".rmap": module.ReferenceMapping,
    }[file.path.suffix]
    return kind.from_string(file.text, file.path.name, ignore_checksum=True, **keys)


def _inserted(file: RuleFile, header: Mapping[str, str], reference: str) -> tuple[Any, str | None]:
    """Insert a reference into an rmap as crds' ``refactor insert`` does."""
    old = _mapping(file)
    try:
        new = old.insert_header_reference(old.reference_to_dataset_header(dict(header)), reference)
    except Exception as error:
        # The last line is the reason; those above it are the header and the rules.
        reason = str(error).strip().splitlines()[-1:] or [""]
        raise DeliveryError(
            "crds cannot insert the reference into these rules "
            f"({type(error).__name__}: {reason[0].strip(' :')})",
            where=file.path,
            hint="Compare the reference's keywords with what the rules look at: "
            f"{', '.join(sorted(old.get_required_parkeys()))}.",
        ) from error
    gone = set(old.reference_names()) - set(new.reference_names())
    return new, min(gone, default=None)


def _relinked(file: RuleFile, key: str, name: str) -> Any:
    """Let a .pmap or .imap lead to another file."""
    # Its files are not needed, and would be looked for in the cache of the environment.
    mapping = _mapping(file, loader=lambda *_, **__: None)
    # In the spelling of the file: crds would add a second entry, IRIS beside Iris.
    own = next(each for each in mapping.selector if each.upper() == key.upper())
    mapping.selector[own] = name
    return mapping


def _text(mapping: Any, before: RuleFile, name: str) -> str:
    """Return new rules as text, with a header that says what they are and come from."""
    mapping.header["name"] = name
    mapping.header["derived_from"] = before.path.name
    # TMT's first rules have it, since their sums are wrong; these are right.
    mapping.header.pop("ignore_checksum", None)
    mapping.header["sha1sum"] = mapping._get_checksum(mapping.format())  # noqa: SLF001 (crds')
    text: str = mapping.format()
    return text
