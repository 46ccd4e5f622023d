"""The sha256 of a cache's references, on record beside them, and files compared with it.

crds never looks at what a cached reference holds. Deliveries keep the sums in ``SHA256SUMS``, a
file that ``sha256sum --check`` reads too. Hashing a mask takes a tenth of a second; that a file was
found to be right is therefore remembered, in the user's cache folder, until the file changes.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tmt_dq.errors import ConfigError, OutputError, SelectionError
from tmt_dq.files.atomic import AtomicOutput
from tmt_dq.files.copying import write_all
from tmt_dq.references.rule_files import Stamp, read_regular, stamp
from tmt_dq.references.user_folder import user_folder

__all__ = ["FILE_NAME", "entries", "file_sha256", "recorded", "text", "verify"]

FILE_NAME = "SHA256SUMS"
"""Name of the record, in the observatory's folder of references."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_State = tuple[int, int, int, int]

_VERIFIED: dict[tuple[str, str], _State] = {}
"""What this process found to be right: path and sha256, and the file's state then."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded(references: Path) -> Mapping[str, str]:
    """Return the sha256 of references by their names.

    Parameters
    ----------
    references : Path
        The observatory's folder of references.

    Returns
    -------
    mapping of str to str
        What its ``SHA256SUMS`` says; nothing if it has none.

    Raises
    ------
    SelectionError
        Raised if the record is there and cannot be read.
    """
    found = stamp(references / FILE_NAME)
    return MappingProxyType({}) if found is None else _read(found)


def text(entries: Mapping[str, str]) -> str:
    """Return the text of a record: relative path and sha256 of each file."""
    return "".join(f"{entries[path]}  {path}\n" for path in sorted(entries))


def entries(references: Path) -> dict[str, str]:
    """Return a record's sha256 by relative path, as `text` takes it."""
    found = stamp(references / FILE_NAME)
    return {} if found is None else dict(_parse(found))


@functools.lru_cache(maxsize=8)
def _read(found: Stamp) -> Mapping[str, str]:
    """Read a record, once per state of the file."""
    return MappingProxyType({PurePosixPath(path).name: value for path, value in _parse(found)})


def _parse(found: Stamp) -> list[tuple[str, str]]:
    path = Path(found[0])
    try:
        lines = read_regular(path)[0].decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SelectionError(
            f"the record of the references' sums cannot be read: {error}",
            where=path,
            hint="Mend it, or select without it (TMT_DQ_VERIFY=0).",
        ) from error
    matches = [_LINE.fullmatch(line) for line in lines if line.strip()]
    for number, match in enumerate(matches, start=1):
        if match is None:
            raise SelectionError(
                f"entry {number} is not a sha256 and a file name",
                where=path,
                hint="Mend it, or select without it (TMT_DQ_VERIFY=0).",
            )
    return [(match[2], match[1]) for match in matches if match is not None]


def verify(path: Path, expected: str) -> None:
    """Make sure that a reference's content is what is on record.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        Its sha256.

    Raises
    ------
    SelectionError
        Raised if it is not.
    """
    key = (str(path.absolute()), expected)
    state = _state(path)
    if _VERIFIED.get(key) == state:
        return
    if _remembered(*key) != state:
        try:
            found = file_sha256(path)
        except OSError as error:
            raise SelectionError(
                f"the rules select this reference, but it cannot be read: {error.strerror}",
                where=path,
                hint="Check the permissions.",
            ) from error
        if found != expected:
            raise SelectionError(
                "the rules select this reference, but it is not the file that was delivered: its "
                f"sha256 is {found}, on record is {expected}",
                where=path,
                hint="It was changed, exchanged or cut off. Restore it from its source or another "
                "copy of the cache. To use it as it is: TMT_DQ_VERIFY=0.",
            )
        _remember(*key, state)
    _VERIFIED[key] = state


def _state(path: Path) -> _State:
    """Return what changes whenever a file changes; the time of change cannot be set by hand."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _note(path: str) -> Path:
    """Return where it is kept that a file was verified."""
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
    return user_folder() / "verified" / f"{name}.json"


def _remembered(path: str, expected: str) -> _State | None:
    """Return the state in which a file was found to be right, if it is known."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, ConfigError):
        note = json.loads(_note(path).read_text("utf-8"))
        if (note["path"], note["sha256"]) == (path, expected):
            inode, size, mtime, ctime = map(int, note["state"])
            return inode, size, mtime, ctime
    return None


def _remember(path: str, expected: str, state: _State) -> None:
    """Note that a file was found to be right; if that cannot be noted, it is hashed again."""
    note = {"path": path, "sha256": expected, "state": state}
    with contextlib.suppress(OSError, OutputError, ConfigError):
        target = _note(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with AtomicOutput(target, overwrite=True, sync=False) as out:
            write_all(out.fd, json.dumps(note).encode(), 0)
