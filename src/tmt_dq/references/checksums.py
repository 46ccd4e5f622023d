"""SHA256SUMS of a cache: the sha256 of its references, on record beside them.

crds never looks at what a cached reference holds. Deliveries keep the sums in ``SHA256SUMS``, a
file that ``sha256sum --check`` reads too.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tmt_dq.errors import SelectionError
from tmt_dq.files.identity import Identity, identify
from tmt_dq.references.rule_files import read_regular

FILE_NAME = "SHA256SUMS"
"""Name of the record, in the observatory's folder of references."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_HINT = "Repair it, or select without it (TMT_DQ_VERIFY=0)."


def entries(references: Path) -> Mapping[str, str]:
    """Return the sha256 of references by their relative paths; empty without a SHA256SUMS."""
    path = references / FILE_NAME
    try:
        identity = identify(path)
        return MappingProxyType({}) if identity is None else _read(path, identity)
    except (OSError, UnicodeDecodeError) as error:
        raise SelectionError(
            f"the record of the references' sums cannot be read: {error}", where=path, hint=_HINT
        ) from error


def recorded(references: Path, path: Path) -> str | None:
    """Return the sha256 that is on record for a reference, None if there is none."""
    return entries(references).get(path.relative_to(references).as_posix())


def text(entries: Mapping[str, str]) -> str:
    """Return the text of a record: sha256 and relative path of each file."""
    return "".join(f"{entries[path]}  {path}\n" for path in sorted(entries))


@functools.lru_cache(maxsize=8)
def _read(path: Path, _identity: Identity) -> Mapping[str, str]:
    """Read a record, once as long as the file does not change."""
    found = {}
    lines = read_regular(path).decode("utf-8").splitlines()
    for number, line in enumerate(filter(str.strip, lines), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise SelectionError(
                f"entry {number} is not a sha256 and a file name", where=path, hint=_HINT
            )
        found[match[2]] = match[1]
    return MappingProxyType(found)
