"""SHA256SUMS of a cache: the sha256 of its references, on record beside them.

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
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tmt_dq.errors import ConfigError, OutputError, SelectionError
from tmt_dq.files.atomic import AtomicOutput
from tmt_dq.files.copying import write_all
from tmt_dq.files.identity import Identity, identify, sha256_of
from tmt_dq.references.rule_files import read_regular

__all__ = ["FILE_NAME", "FOLDER_HINT", "entries", "recorded", "text", "user_folder", "verify"]

FILE_NAME = "SHA256SUMS"
"""Name of the record, in the observatory's folder of references."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_HINT = "Repair it, or select without it (TMT_DQ_VERIFY=0)."

FOLDER_HINT = "Set TMT_DQ_CACHE_DIR to a folder that can be written, or name a cache of your own."

_VERIFIED: dict[tuple[str, str], Identity] = {}
"""What this process found to be right: path and sha256, and the file's identity then."""


def recorded(references: Path) -> Mapping[str, str]:
    """Return the sha256 of references by their names, from an observatory's folder of references.

    It is empty without a ``SHA256SUMS``; one that cannot be read is a SelectionError.
    """
    path = references / FILE_NAME
    with _readable(path):
        found = identify(path)
    return MappingProxyType({}) if found is None else _by_name(path, found)


def entries(references: Path) -> dict[str, str]:
    """Return a record's sha256 by relative path, as `text` takes it."""
    path = references / FILE_NAME
    with _readable(path):
        return {} if identify(path) is None else dict(_parse(path))


def text(entries: Mapping[str, str]) -> str:
    """Return the text of a record: relative path and sha256 of each file."""
    return "".join(f"{entries[path]}  {path}\n" for path in sorted(entries))


@functools.lru_cache(maxsize=8)
def _by_name(path: Path, _identity: Identity) -> Mapping[str, str]:
    """Read a record, once as long as the file does not change."""
    return MappingProxyType({PurePosixPath(name).name: value for name, value in _parse(path)})


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise SelectionError(
            f"the record of the references' sums cannot be read: {error}", where=path, hint=_HINT
        ) from error


def _parse(path: Path) -> list[tuple[str, str]]:
    with _readable(path):
        lines = read_regular(path)[0].decode("utf-8").splitlines()
    found = []
    for number, line in enumerate((line for line in lines if line.strip()), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise SelectionError(
                f"entry {number} is not a sha256 and a file name", where=path, hint=_HINT
            )
        found.append((match[2], match[1]))
    return found


def verify(path: Path, expected: str) -> None:
    """Make sure that a reference's content has the sha256 on record; SelectionError if not."""
    key = (str(path.absolute()), expected)
    try:
        identity = Identity.of(path.stat())
        if identity == _VERIFIED.get(key) or identity == _remembered(*key):
            _VERIFIED[key] = identity
            return
        found = sha256_of(path)
    except OSError as error:
        raise SelectionError(
            f"the rules select this reference, but it cannot be read: {error.strerror}",
            where=path,
            hint="Check the path and its permissions.",
        ) from error
    if found != expected:
        raise SelectionError(
            "the rules select this reference, but it is not the file that was delivered: its "
            f"sha256 is {found}, on record is {expected}",
            where=path,
            hint="It was changed, exchanged or cut off. Restore it from its source or another "
            "copy of the cache. To use it as it is: TMT_DQ_VERIFY=0.",
        )
    _remember(*key, identity)
    _VERIFIED[key] = identity


def user_folder() -> Path:
    """Return the folder for what can be made again: TMT_DQ_CACHE_DIR, or in the user's caches."""
    base = os.environ.get("TMT_DQ_CACHE_DIR")
    if not base:
        import platformdirs

        base = platformdirs.user_cache_dir("tmt-dq")
    if not os.path.isabs(base):  # noqa: PTH117 (it may start with an unexpanded ~)
        raise ConfigError(
            f"the cache folder {base!r} is not an absolute path",
            where="TMT_DQ_CACHE_DIR",
            hint=FOLDER_HINT,
        )
    return Path(base)


def _note(path: str) -> Path:
    """Return where it is kept that a file was verified."""
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
    return user_folder() / "verified" / f"{name}.json"


def _remembered(path: str, expected: str) -> Identity | None:
    """Return the identity that a file had when it was found to be right, if it is known."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, ConfigError):
        note = json.loads(_note(path).read_text("utf-8"))
        if (note["path"], note["sha256"]) == (path, expected):
            return Identity(*map(int, note["identity"]))
    return None


def _remember(path: str, expected: str, identity: Identity) -> None:
    """Note that a file was found to be right; if that cannot be noted, it is hashed again."""
    note = {"path": path, "sha256": expected, "identity": identity}
    with contextlib.suppress(OSError, OutputError, ConfigError):
        target = _note(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with AtomicOutput(target, overwrite=True, sync=False) as out:
            write_all(out.fd, json.dumps(note).encode(), 0)
