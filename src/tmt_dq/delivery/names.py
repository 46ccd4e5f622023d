"""Names in a cache: numbered, and never used twice."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tmt_dq.delivery.receipts import receipts_folder
from tmt_dq.errors import DeliveryError
from tmt_dq.instruments import Instrument
from tmt_dq.references.cache import Cache
from tmt_dq.references.rules import read_chain

__all__ = ["NewNames", "find_leftovers", "new_names"]


@dataclass(frozen=True, slots=True)
class NewNames:
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
    """Return the numbers of the names of one kind that a text mentions."""
    pattern = rf"(?<![A-Za-z0-9]){re.escape(stem)}_(\d+){re.escape(suffix)}(?!\w)"
    return [int(number) for number in re.findall(pattern, text)]


def _files(cache: Cache) -> Iterator[str]:
    """Yield the names of the files in a cache's folders."""
    for folder in (cache.mappings, cache.references, *cache.references.glob("*/")):
        if folder.is_dir():
            yield from (path.name for path in folder.iterdir())


def new_names(cache: Cache, instrument: Instrument) -> NewNames:
    """Return names with numbers above all that files have, or rules or receipts mention."""
    receipts = receipts_folder(cache.root, cache.observatory)
    try:
        texts = [
            path.read_text("utf-8", errors="replace")
            for path in (*cache.mappings.glob("*.?map"), *receipts.glob("*.json"))
            if path.is_file()
        ]
        used = "\n".join((*_files(cache), *texts))
    except OSError as error:
        raise DeliveryError(
            f"cannot be read: {error.strerror}",
            where=error.filename or cache.root,
            hint="Names that are in use must be known. Check the permissions of the cache.",
        ) from error
    return NewNames(
        *(
            f"{stem}_{max(_numbers(stem, suffix, used), default=0) + 1:04d}{suffix}"
            for stem, suffix in _stems(cache, instrument)
        )
    )


def find_leftovers(cache: Cache, instrument: Instrument, context: str) -> tuple[str, ...]:
    """Return a warning of files newer than all that the context in force mentions, if any."""
    chain = read_chain(cache.mappings, context, instrument)
    in_force = "\n".join((context, *(file.text for file in chain)))
    files = "\n".join(_files(cache))
    found = [
        f"{stem}_{number:04d}{suffix}"
        for stem, suffix in _stems(cache, instrument)
        for number in sorted(_numbers(stem, suffix, files))
        if number > max(_numbers(stem, suffix, in_force), default=0)
    ]
    warning = (
        f"the cache holds {', '.join(found)}, which are not in force: their delivery was "
        "interrupted or taken back. They do no harm; their names are not used again"
    )
    return (warning,) if found else ()
