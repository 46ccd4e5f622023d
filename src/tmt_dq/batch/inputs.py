"""Inputs of a batch: files, patterns, folders, lists, manifests, associations."""
# Half a million names are kept as text: it takes a third of the memory, and a tenth of the time.
# ruff: noqa: PTH100, PTH112, PTH118, PTH119, PTH120, PTH207

import csv
import errno
import functools
import glob
import io
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tmt_dq.errors import ConfigError
from tmt_dq.files import remote
from tmt_dq.files.urls import WEB, file_name, folder_of, is_url, joined, protocol_of, redacted

log = logging.getLogger(__name__)

_FITS = tuple(
    ending + packed for ending in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")
)
_OUTPUTS = tuple(f"_dqinit{ending}" for ending in _FITS)
_MAGIC = "*?["


def find_inputs(
    names: Iterable[str | os.PathLike[str]],
    *,
    manifests: Iterable[str | os.PathLike[str]] = (),
    output_dir: str | os.PathLike[str],
    stdin: TextIO | None = None,
    outputs: bool = False,
) -> list[str]:
    """Return the absolute names of the exposures of a batch in the order given, each once.

    A name is a file; a pattern; a folder, searched with all below it; ``-`` for a list on standard
    input; ``@FILE`` for a manifest; or a JWST-style association (``.json``), of which the members
    of type ``science`` are taken. A `Path` is never a pattern, list or manifest. Searches leave
    out hidden files, `output_dir` and, unless `outputs` is set, initialized exposures. Raises
    `ConfigError` if a name gives nothing, or cannot be read; that a file does not exist is no
    error here: the others can be worked on.
    """
    found: dict[str, None] = {}
    stream = sys.stdin if stdin is None else stdin
    wanted = functools.partial(is_ramp_name, outputs=outputs)
    expanded = (_expand(name, output_dir, stream, wanted) for name in names)
    for path in itertools.chain(*expanded, *map(_manifest, manifests)):
        found.setdefault(path if is_url(path) else os.path.abspath(path))
    if not found:
        raise ConfigError("there is no input", hint="Name files, folders, or a list of them.")
    return list(found)


def _expand(
    name: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    stdin: TextIO,
    wanted: Callable[[str], bool],
) -> list[str]:
    """Return the files that one name stands for."""
    text = os.fspath(name)
    plain = not isinstance(name, str) or os.path.lexists(text)
    if not plain and text == "-":
        return _lines(stdin.read(), "standard input")
    if not plain and text.startswith("@"):
        return _manifest(text[1:])
    if is_url(text):
        return _search_store(text, wanted)
    if text.lower().endswith(".json"):
        return _listed(Path(text))
    pattern = not plain and any(sign in text for sign in _MAGIC)
    if not (pattern or os.path.isdir(text)):
        return [text]
    try:
        found = list(_match(text, wanted) if pattern else search_folder(text, output_dir, wanted))
    except OSError as error:
        what = f"the folder cannot be searched: {error.strerror}"
        hint = "Check its permissions, or name the other folders one by one."
        raise ConfigError(what, where=error.filename, hint=hint) from error
    return _not_nothing(found, text)


def _not_nothing(found: list[str], where: str) -> list[str]:
    if not found:
        what = "has no FITS file that is not hidden or an output (*_dqinit.fits)"
        hint = "Name the folder of the exposures, or check the pattern."
        raise ConfigError(what, where=redacted(where), hint=hint)
    return found


def _search_store(url: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the exposures that a URL stands for: a file, a pattern, a folder, an association."""
    if file_name(url).lower().endswith(".json"):
        return _manifest(url)
    pattern = any(sign in url for sign in _MAGIC) or url.endswith("/")
    # Web servers list nothing, and ? begins a query.
    if protocol_of(url) in WEB or (wanted(file_name(url)) and not pattern):
        return [url]
    return _not_nothing(remote.search(url, wanted), url)


def _raise(error: OSError) -> None:
    raise error


def search_folder(
    folder: str,
    output_dir: str | os.PathLike[str],
    wanted: Callable[[str], bool],
    *,
    recursive: bool = True,
    failed: Callable[[OSError], None] = _raise,
) -> Iterator[str]:
    """Find the FITS files in a folder, and below it, in the order of their names."""
    own = os.path.abspath(output_dir)
    for place, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted(
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and os.path.abspath(os.path.join(place, name)) != own
        )
        yield from (os.path.join(place, name) for name in sorted(files) if wanted(name))


def _match(pattern: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Find what a pattern matches; a closed folder, which glob would skip, is an error."""
    folder = os.path.dirname(pattern)
    while folder:
        for path in glob.glob(os.path.join(folder, ""), recursive=True):
            if not os.access(path, os.R_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        folder = os.path.dirname(folder) if any(sign in folder for sign in _MAGIC) else ""
    return filter(wanted, sorted(glob.glob(pattern, recursive=True)))


def is_ramp_name(path: str, *, outputs: bool = False) -> bool:
    """Tell whether a name is that of a visible FITS file, which is no output unless wanted."""
    name = os.path.basename(path)
    visible = not name.startswith(".") and name.lower().endswith(_FITS)
    return visible and (outputs or not is_output_name(name))


def is_output_name(path: str) -> bool:
    """Tell whether a name is that of an output."""
    return path.lower().endswith(_OUTPUTS)


def _manifest(name: str | os.PathLike[str]) -> list[str]:
    """Return the names in a list, by the kind that its ending names; it may have a URL."""
    with remote.local(name) as path:
        return _listed(path)


def _listed(path: Path) -> list[str]:
    """Return the names in a list; those of files count from the folder of the list."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        hint = "A manifest is a list of names, an association is JSON."
        raise ConfigError(f"cannot be read: {reason}", where=path, hint=hint) from error
    read = {".json": _association, ".csv": _table}.get(path.suffix.lower(), _lines)
    name = remote.name_of(path)
    folder = folder_of(name) if is_url(name) else str(path.parent)
    return [
        joined(folder, one) if is_url(folder) or is_url(one) else os.path.join(folder, one)
        for one in read(text, path)
    ]


def _lines(text: str, where: object) -> list[str]:
    """Return one name a line (or between NULs), without blank lines and those that begin with #."""
    lines = text.split("\0") if "\0" in text else map(str.strip, text.splitlines())
    found = [name for name in lines if name and not name.startswith("#")]
    if not found:
        raise ConfigError("names no file", where=where, hint="Write one name a line.")
    return found


def _table(text: str, where: object) -> list[str]:
    """Return the names in the column `input` of a table."""
    rows = [row for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "input" not in header:
        what = "has no column input in its first line; found "
        what += ", ".join(header) or "no line at all"
        raise ConfigError(what, where=where, hint="Name the column of the exposures' files input.")
    column = header.index("input")
    found = ["".join(row[column : column + 1]).strip() for row in rows[1:]]
    if not found or "" in found:
        what = f"row {found.index('') + 2} names no file" if found else "has no row"
        raise ConfigError(what, where=where, hint="Write one row for each exposure.")
    return found


def _association(text: str, where: object) -> list[str]:
    """Return the science members of a JWST-style association."""
    try:
        content: Any = json.loads(text)
        members = [member for product in content["products"] for member in product["members"]]
        unknown = sum(not member.get("exptype") for member in members)
        types = [str(member.get("exptype") or "science").strip().lower() for member in members]
        science = [m for m, kind in zip(members, types, strict=True) if kind == "science"]
        found = [str(member["expname"]) for member in science]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"is no association ({type(error).__name__}: {error}); expected products with "
        what += "members that have expname and exptype"
        hint = "Write a list of names as a text file, and give it with @ or --manifest."
        raise ConfigError(what, where=where, hint=hint) from error
    if unknown:
        one = "member has no exptype and is" if unknown == 1 else "members have no exptype and are"
        log.warning("%s: %d %s taken for science", where, unknown, one)
    if not found:
        hint = f"Its members are {', '.join(sorted(set(types))) or 'none'}."
        raise ConfigError("has no member of exptype science", where=where, hint=hint)
    return found
