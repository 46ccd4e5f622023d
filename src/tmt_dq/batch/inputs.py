"""What a batch works on: files, globs, folders, lists, manifests, associations."""
# Half a million names are kept as text: it takes a third of the memory, and a tenth of the time.
# ruff: noqa: PTH100, PTH112, PTH118, PTH119, PTH207

import csv
import glob
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tmt_dq.errors import ConfigError
from tmt_dq.files.urls import Place, Url, is_url, place_of
from tmt_dq.io.fetched import fetch, names_of_fetched

__all__ = ["find_inputs", "is_ramp_name"]

_FITS = tuple(
    ending + packed for ending in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")
)
_OUTPUTS = tuple(f"_dqinit{ending}" for ending in _FITS)
_COLUMNS = ("input", "path", "file", "filename", "expname")
_MAGIC = "*?["


def find_inputs(
    names: Iterable[str | os.PathLike[str]],
    *,
    manifests: Iterable[str | os.PathLike[str]] = (),
    output_dir: Path | None,
    stdin: TextIO | None = None,
) -> list[str]:
    """Return the exposures that a batch is about.

    Parameters
    ----------
    names : iterable of str, path or URL
        Each one a file; a pattern (``night/*_uncal.fits``, ``**`` for all folders below); a folder,
        searched with all folders below it for FITS files; ``-`` for a list on standard input;
        ``@FILE`` for a manifest; or a JWST-style association (``.json``), of which the members of
        type ``science`` are taken. A `Path` is never a pattern, list or manifest.
    manifests : iterable of path
        Files with one name a line, or a table (``.csv``) with a column ``input``, ``path``,
        ``file``, ``filename`` or ``expname``.
    output_dir : Path or None
        Folder of the outputs; it is not searched unless it is named itself. None where outputs
        themselves are the input: searches then find them too.
    stdin : text stream, optional
        What ``-`` reads.

    Returns
    -------
    list of str
        Absolute names in the order given, each once. Names in a list on standard input count from
        the current folder, those in a manifest or association from its own folder.

    Raises
    ------
    ConfigError
        Raised if a pattern, folder, list or association gives nothing, or cannot be read. A file
        that does not exist is no error here: the others can be worked on.

    Notes
    -----
    Searches leave out hidden files and folders, and outputs (``*_dqinit.fits``). Links to folders
    are not followed.
    """
    found: dict[str, None] = {}
    stream = sys.stdin if stdin is None else stdin
    for name in names:
        for path in _expand(name, output_dir, stream):
            found.setdefault(_absolute(path))
    for manifest in manifests:
        for path in _manifest(place_of(manifest)):
            found.setdefault(_absolute(path))
    if not found:
        raise ConfigError("there is no input", hint="Name files, folders, or a list of them.")
    return list(found)


def _expand(
    name: str | os.PathLike[str], output_dir: Path | None, stdin: TextIO
) -> Iterable[str | os.PathLike[str]]:
    """Return the files that one name stands for."""
    text = os.fspath(name)
    plain = not isinstance(name, str) or os.path.lexists(text)
    if not plain and text == "-":
        return _lines(stdin.read(), "standard input", "")
    if not plain and text.startswith("@"):
        return _manifest(place_of(text[1:]))
    if is_url(text):
        return _elsewhere(text, outputs=output_dir is None)
    if os.path.isdir(text):
        paths = list(_search(text, output_dir))
        if not paths:
            outputs = "" if output_dir is None else " or an output (*_dqinit.fits)"
            raise ConfigError(
                f"has no FITS file that is not hidden{outputs}",
                where=text,
                hint="Name the folder of the exposures.",
            )
        return paths
    if not plain and any(sign in text for sign in _MAGIC):
        found = sorted(glob.glob(text, recursive=True))
        paths = [path for path in found if is_ramp_name(path, outputs=output_dir is None)]
        if not paths:
            raise ConfigError("matches no FITS file", where=text, hint="Check the pattern.")
        return paths
    if text.lower().endswith(".json"):
        return _association(Path(text), str(Path(text).parent))
    return [text]


def _elsewhere(text: str, *, outputs: bool) -> list[str]:
    """Return the files that a URL stands for."""
    from tmt_dq.batch import elsewhere

    if Url(text).suffix.lower() == ".json":
        return _manifest(Url(text))
    return elsewhere.search(text, lambda name: is_ramp_name(name, outputs=outputs))


def _absolute(name: str | os.PathLike[str]) -> str:
    place = place_of(name)
    return place.full if isinstance(place, Url) else os.path.abspath(place)


def _in_folder(folder: str, name: str) -> str:
    """Return a name in a list, which counts from the list's folder."""
    if "://" in name:
        return name
    if is_url(folder):
        from tmt_dq.batch import elsewhere

        return elsewhere.joined(folder, name)
    return os.path.join(folder, name)


def _search(folder: str, output_dir: Path | None) -> Iterator[str]:
    """Find the FITS files below a folder, in the order of their names."""
    own = None if output_dir is None else os.path.abspath(output_dir)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.abspath(os.path.join(place, name)) != own
        )
        wanted = (name for name in sorted(files) if is_ramp_name(name, outputs=own is None))
        yield from (os.path.join(place, name) for name in wanted)


def is_ramp_name(path: str, *, outputs: bool = False) -> bool:
    """Tell whether a name is that of a FITS file that is neither hidden nor (if so) an output."""
    name = os.path.basename(path)
    lower = name.lower()
    if name.startswith(".") or not lower.endswith(_FITS):
        return False
    return outputs or not lower.endswith(_OUTPUTS)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=path, hint="Check the name and the rights."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"is not text in UTF-8 (byte {error.start})",
            where=path,
            hint="A manifest is a list of names, an association is JSON.",
        ) from error


def _manifest(place: Place) -> list[str]:
    with names_of_fetched():
        return _listed_in(fetch(place), _folder_of(place))


def _folder_of(place: Place) -> str:
    return place.parent.full if isinstance(place, Url) else str(place.parent)


def _listed_in(path: Path, folder: str) -> list[str]:
    text = _read(path)
    if path.suffix.lower() == ".json":
        return _association(path, folder)
    if path.suffix.lower() == ".csv":
        return _table(text, path, folder)
    return _lines(text, path, folder)


def _lines(text: str, where: object, folder: str) -> list[str]:
    """Read one name a line (or between NULs); blank lines and those that begin with # are not."""
    lines = text.split("\0") if "\0" in text else text.splitlines()
    names = [line if "\0" in text else line.strip() for line in lines]
    found = [_in_folder(folder, name) for name in names if name and not name.startswith("#")]
    if not found:
        raise ConfigError("names no file", where=where, hint="Write one name a line.")
    return found


def _table(text: str, path: Path, folder: str) -> list[str]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    columns = [name for name in _COLUMNS if name in header]
    if len(columns) != 1:
        raise ConfigError(
            f"has {'several of' if columns else 'none of'} the columns {', '.join(_COLUMNS)} in "
            f"its first line; expected one, found {', '.join(header) or 'no line at all'}",
            where=path,
            hint="Name the column of the exposures' files `input`.",
        )
    place = header.index(columns[0])
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if place >= len(row) or not row[place].strip():
            raise ConfigError(f"row {number} names no file", where=path, hint="Complete the row.")
        found.append(_in_folder(folder, row[place].strip()))
    if not found:
        raise ConfigError("has no row", where=path, hint="Write one row for each exposure.")
    return found


def _association(path: Path, folder: str) -> list[str]:
    """Read a JWST-style association: products, with members, with expname and exptype."""
    try:
        content: Any = json.loads(_read(path))
        members = [member for product in content["products"] for member in product["members"]]
        types = [str(member.get("exptype", "science")).strip().lower() for member in members]
        science = [m for m, kind in zip(members, types, strict=True) if kind == "science"]
        names = [member["expname"] for member in science]
        found = [_in_folder(folder, name) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"is no association ({type(error).__name__}: {error}); expected products with members "
            "that have expname and exptype",
            where=path,
            hint="Write a list of names as a text file, and give it with @ or --manifest.",
        ) from error
    if not found:
        raise ConfigError(
            "has no member of exptype science",
            where=path,
            hint=f"Its members are {', '.join(sorted(set(types))) or 'none'}.",
        )
    return found
