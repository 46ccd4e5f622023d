"""The rules of a cache with one reference more: new .rmap, .imap and .pmap, as text.

crds' own code inserts the reference and writes the rules, with no file touched; names,
``derived_from`` and sums, which crds leaves to its server, are set here.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tmt_dq.delivery.names import NewNames
from tmt_dq.errors import DeliveryError
from tmt_dq.instruments import Instrument
from tmt_dq.references.adapter import LOCK, import_crds
from tmt_dq.references.cache import Cache
from tmt_dq.references.rule_files import RuleFile
from tmt_dq.references.rules import read_chain

__all__ = ["Derivation", "derive"]


@dataclass(frozen=True, slots=True)
class Derivation:
    """New rules, and those that they are derived from."""

    texts: Mapping[str, str]
    """The new .rmap, .imap and .pmap, by name."""
    before: Mapping[str, str]
    """The files that they are derived from, by name and in the same order."""
    replaces: str | None
    """The reference of the same keys and USEAFTER, whose place the new one takes."""

    @property
    def difference(self) -> str:
        """The difference between the old and the new rules, as ``diff --unified`` shows it."""
        lines: list[str] = []
        for (old, old_text), (new, new_text) in zip(
            self.before.items(), self.texts.items(), strict=True
        ):
            lines += difflib.unified_diff(
                old_text.splitlines(keepends=True), new_text.splitlines(keepends=True), old, new
            )
        return "".join(lines)


def derive(
    cache: Cache, context: str, instrument: Instrument, header: Mapping[str, str], names: NewNames
) -> Derivation:
    """Derive rules that select a new reference, whose keywords are in `header`, from a context."""
    reftype = instrument.reftype
    chain = read_chain(cache.mappings, context, instrument)
    if chain[-1].path.suffix != ".rmap":
        raise DeliveryError(
            f"{context} says that no {reftype} applies to {instrument.name}, so there are no "
            "rules to add one to",
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
    return Derivation(
        texts=texts,
        before={file.path.name: file.text for file in (rmap, imap, pmap)},
        replaces=replaces,
    )


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
    mapping.set_item(key, name)
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
