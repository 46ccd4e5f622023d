"""The rules of a cache with one reference more: new .rmap, .imap and .pmap, as text.

crds' own code inserts the reference and writes the rules, with no file touched; names,
``derived_from`` and sums, which crds leaves to its server, are set here.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.errors import DeliveryError
from tmt_dq.instruments import Instrument
from tmt_dq.references.adapter import LOCK, import_crds
from tmt_dq.references.cache import Cache
from tmt_dq.references.rule_files import RuleFile
from tmt_dq.references.rules import read_chain

__all__ = ["Derivation", "derive", "next_reference"]


@dataclass(frozen=True, slots=True)
class Derivation:
    """New rules.

    Parameters
    ----------
    context, context_before : str
        The new .pmap and the one that it is derived from.
    texts : mapping of str to str
        The new files' text by their names: .rmap, .imap, .pmap.
    before : mapping of str to str
        The text of the files that they are derived from, by name.
    replaces : str or None
        The reference whose place in the rules the new one takes, if it has the same keys and the
        same USEAFTER.
    """

    context: str
    context_before: str
    texts: Mapping[str, str]
    before: Mapping[str, str]
    replaces: str | None

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


def next_reference(cache: Cache, instrument: Instrument, *, taken: Iterable[Path] = ()) -> str:
    """Return the next free name of a reference file.

    Parameters
    ----------
    cache : Cache
        The cache.
    instrument : Instrument
        The instrument, whose masks are named.
    taken : iterable of Path
        Further files whose text mentions names that are not free.

    Returns
    -------
    str
        Such as ``tmt_iris_mask_0106.fits``: higher than any in the cache, and than any that its
        rules mention.
    """
    stem = f"{cache.observatory}_{instrument.name.lower()}_{instrument.reftype}"
    return _next(stem, ".fits", cache, taken)


def _next(stem: str, suffix: str, cache: Cache, taken: Iterable[Path]) -> str:
    pattern = re.compile(rf"(?<![A-Za-z0-9]){re.escape(stem)}_(\d+){re.escape(suffix)}(?!\w)")
    folders = (cache.mappings, cache.references, *cache.references.glob("*/"))
    names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    texts = [
        path.read_text("utf-8", errors="replace")
        for path in (*cache.mappings.glob("*.?map"), *taken)
        if path.is_file()
    ]
    numbers = [
        int(number) for text in ("\n".join(names), *texts) for number in pattern.findall(text)
    ]
    return f"{stem}_{max(numbers, default=0) + 1:04d}{suffix}"


def derive(
    cache: Cache,
    context: str,
    instrument: Instrument,
    header: Mapping[str, str],
    reference: str,
    *,
    taken: Iterable[Path] = (),
) -> Derivation:
    """Derive rules that select a new reference.

    Parameters
    ----------
    cache : Cache
        The cache; not changed.
    context : str
        The rules to start from.
    instrument : Instrument
        The instrument.
    header : mapping of str to str
        The reference's FITS keywords: DETECTOR, SUBARRAY, USEAFTER and what else rules ask for.
    reference : str
        The reference's name.
    taken : iterable of Path
        As for `next_reference`.

    Returns
    -------
    Derivation
        The new rules.

    Raises
    ------
    SelectionError
        Raised if the old rules cannot be trusted.
    DeliveryError
        Raised if they have no place for such a reference.
    """
    taken = tuple(taken)
    reftype = instrument.reftype
    chain = read_chain(cache.mappings, context, instrument, reftype, verify_sums=True)
    if chain[-1].path.suffix != ".rmap":
        raise DeliveryError(
            f"{context} says that no {reftype} applies to {instrument.name}, so there are no "
            "rules to add one to",
            where=chain[-1].path,
            hint="Give the context an .rmap for the type first (tmt-dq crds newcontext).",
        )
    pmap, imap, rmap = chain
    stem = f"{cache.observatory}_{instrument.name.lower()}"
    new_rmap, new_imap, new_pmap = (
        _next(f"{stem}_{reftype}", ".rmap", cache, taken),
        _next(stem, ".imap", cache, taken),
        _next(cache.observatory, ".pmap", cache, taken),
    )
    with LOCK:
        inserted, replaces = _inserted(rmap, header, reference)
        texts = {
            new_rmap: _text(inserted, rmap, new_rmap),
            new_imap: _text(_relinked(imap, reftype, new_rmap), imap, new_imap),
            new_pmap: _text(_relinked(pmap, instrument.name, new_imap), pmap, new_pmap),
        }
    return Derivation(
        context=new_pmap,
        context_before=context,
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
