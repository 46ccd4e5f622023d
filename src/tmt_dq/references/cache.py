"""A CRDS cache on disk: its folders, its default context, its reference files."""

import ast
import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.errors import ConfigError, RampFormatError, SelectionError, TmtDqError
from tmt_dq.files.identity import digest_of, identify
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument
from tmt_dq.references import checksums, embedded
from tmt_dq.references.observatories import available
from tmt_dq.references.rule_files import read_regular

SEPARATE = [f"CRDS_{kind}PATH" for kind in ("MAP", "REF", "CFG")]
SEPARATE += [f"{name}_SINGLE" for name in ("CRDS_PATH", *SEPARATE)]
"""Variables of crds for caches that do not lie in one folder."""

_OWN_PATH, _OWN_CONTEXT = "TMT_DQ_CRDS_PATH", "TMT_DQ_CRDS_CONTEXT"
"""They go before CRDS' variables, which may be there for another observatory's software."""

_OTHER = (
    "Name a cache that has them: --crds-path DIR (crds_path=), or TMT_DQ_CRDS_PATH, which goes "
    "before CRDS_PATH. Without any of them, the rules that come with tmt-dq are used."
)
_PERMISSIONS = "Check its path, its permissions, and those of the folders above it."


@dataclass(frozen=True, slots=True)
class Cache:
    """The part of a cache, `root`, that belongs to one observatory."""

    root: Path
    observatory: str
    mappings: Path
    references: Path
    config: Path
    embedded: bool  # it is the cache that comes with the package

    def server_config(self) -> dict[str, Any]:
        """Return what the server of the cache declared; nothing if it never had one."""
        path = self.config / "server_config"
        with _readable(path):
            if identify(path) is None:
                return {}
        try:
            config = ast.literal_eval(read_regular(path).decode("utf-8"))
            return dict(config)
        except (OSError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise SelectionError(
                f"the cache's configuration cannot be read ({error}); expected a dictionary",
                where=path,
                hint="Repair or remove the file, or name the context (--context, CRDS_CONTEXT).",
            ) from error

    def context(self, wanted: str | None = None) -> str:
        """Return the name of the context to use, which is in the cache.

        `wanted` is a name or ``latest``; without it TMT_DQ_CRDS_CONTEXT or CRDS_CONTEXT counts.
        """
        where = "context"
        if wanted is None:
            where = _OWN_CONTEXT if os.environ.get(_OWN_CONTEXT) else "CRDS_CONTEXT"
            wanted = os.environ.get(where) or "latest"
        name = wanted
        if wanted.removeprefix(f"{self.observatory}-") in ("latest", "operational"):
            wanted = name = self._default_context()
            where = str(self.config / "server_config")
        if not re.fullmatch(rf"{self.observatory}(_[A-Za-z0-9_.\-]*)?\.pmap", name):
            raise ConfigError(
                f"{wanted!r} is not a context of observatory {self.observatory!r} that can be "
                f"found without a server; expected a name such as {self.observatory}_0001.pmap, or "
                "latest",
                where=where,
                hint=f"The cache {self.root} has: {self._list_contexts()}. Correct it, or name one "
                "with --context (context=) or TMT_DQ_CRDS_CONTEXT, which goes before CRDS_CONTEXT.",
            )
        with _readable(self.mappings):
            found = identify(self.mappings / name)
        if found is None:
            raise SelectionError(
                f"the context {name} is not in the cache; it has {self._list_contexts()}",
                where=self.mappings,
                hint="Choose one of these with --context or CRDS_CONTEXT, or complete the cache.",
            )
        return name

    def _default_context(self) -> str:
        """Return the context that the server last declared, or the one with the highest number."""
        config = self.server_config()
        declared = config.get("latest_context") or config.get("operational_context")
        if declared:
            return str(declared)
        # Without a number it is the oldest.
        pattern = re.compile(rf"{self.observatory}(?:_(\d+))?\.pmap")
        found = [match for name in self._contexts() if (match := pattern.fullmatch(name))]
        if not found:
            raise SelectionError(
                f"the cache has no context: expected {self.observatory}_*.pmap in this folder",
                where=self.mappings,
                hint="Complete the cache, or point --crds-path or CRDS_PATH to another one.",
            )
        return max(found, key=lambda match: int(match[1] or -1))[0]

    def _contexts(self) -> list[str]:
        with _readable(self.mappings):
            names = (path.name for path in self.mappings.iterdir())
            return sorted(name for name in names if name.endswith(".pmap"))

    def _list_contexts(self) -> str:
        return ", ".join(self._contexts()) or "no .pmap at all"

    def bad_files(self) -> frozenset[str]:
        """Return the files that the server declared bad."""
        config = self.server_config()
        listed = config.get("bad_files_list") or str(config.get("bad_files", "")).split()
        return frozenset(map(str, listed))

    def reference(self, instrument: str, name: str, *, verify: bool = True) -> Path:
        """Return where a reference file is, found to be a readable FITS file.

        With `verify` its sha256 must be the one on record, if there is one.
        """
        folders = [self.references / instrument.lower(), self.references]
        with _readable(folders[0]):
            path = next((folder / name for folder in folders if _exists(folder / name)), None)
        if self.embedded and embedded.provides(name):
            path = embedded.ensure(name)
        if path is None:
            looked = "\n".join(f"  {folder}" for folder in folders)
            raise SelectionError(
                f"the rules select {name}, but it is not in the cache. Looked in\n{looked}",
                where=self.root,
                hint="Copy it there, or give a mask yourself (--mask FILE).",
            )
        expected = checksums.recorded(self.references, path) if verify else None
        if expected is not None and path.is_file():
            _check_sum(path, expected)
        _check_reference(path)
        return path


def open_cache(
    crds_path: str | os.PathLike[str] | None,
    observatory: str,
    *others: str,
) -> Cache:
    """Return the cache to use for an observatory, ConfigError if there are no rules for it.

    It is the one that is named here, or by TMT_DQ_CRDS_PATH or CRDS_PATH, or else the
    embedded one. Where it has no rules for the observatory, those of the first of `others` that it
    has are used.
    """
    where = "crds_path"
    if crds_path is not None:
        named = os.fspath(crds_path)
    else:
        where = _OWN_PATH if os.environ.get(_OWN_PATH) else "CRDS_PATH"
        separate = [name for name in SEPARATE if os.environ.get(name)]
        if separate and where != _OWN_PATH:
            raise ConfigError(
                "is set, but tmt-dq expects rules and references in one folder, CRDS_PATH",
                where=", ".join(separate),
                hint=f"Unset it, or set {_OWN_PATH}, which goes before the variables of CRDS.",
            )
        named = os.environ.get(where, "")
        if not named:
            where, named = "the cache that comes with tmt-dq", str(embedded.cache_path())
    # Absolute, so that what is remembered and returned outlives a change of folder.
    root = Path(named).absolute()
    served = {name: root / "mappings" / name for name in (observatory, *others)}
    try:
        has_root = named and _is_folder(root)
        found = [name for name, folder in served.items() if _is_folder(folder)]
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise ConfigError(
            f"the cache {named!r} cannot be used: {error}", where=where, hint=_PERMISSIONS
        ) from error
    if not has_root:
        hint = "Correct it, or leave it out to use the rules that come with tmt-dq."
        raise ConfigError(f"there is no folder {named!r}", where=where, hint=hint)
    if not found:
        raise ConfigError(
            f"the cache {root} has no rules for observatory "
            f"{' or '.join(map(repr, served))}: there is no folder {served[observatory]}",
            where=where,
            hint=_OTHER,
        )
    observatory = found[0]
    return Cache(
        root=root,
        observatory=observatory,
        mappings=served[observatory],
        references=root / "references" / observatory,
        config=root / "config" / observatory,
        embedded=embedded.is_here(root),
    )


def open_cache_of(
    crds_path: str | os.PathLike[str] | None,
    instrument: Instrument,
    context: str | None = None,
) -> tuple[Cache, Instrument]:
    """Return the cache for an instrument, and the instrument as the rules of the cache know it.

    Rules of the observatory that a context names go before others: `context`, which may be
    ``latest`` and name none, then the environment's. Else the order is that of the instrument's
    description.
    """
    contexts = (context, os.environ.get(_OWN_CONTEXT), os.environ.get("CRDS_CONTEXT"))
    names = sorted(
        instrument.observatories, key=lambda name: [not _names(each, name) for each in contexts]
    )
    cache = open_cache(crds_path, *names)
    return cache, instrument.under(cache.observatory)


def open_caches(
    crds_path: str | os.PathLike[str] | None, context: str | None = None
) -> list[tuple[Cache, str]]:
    """Return a cache for each observatory whose rules it has, with the context to use: one or more.

    A context that names an observatory leaves that one.
    """
    named = [name for name in available() if _names(context, name)]
    found: list[tuple[Cache, str]] = []
    problems: list[TmtDqError] = []
    for observatory in named or available():
        cache = None
        try:
            cache = open_cache(crds_path, observatory)
            found.append((cache, cache.context(context)))
        except TmtDqError as error:
            # What is wrong in a cache says more than that it is another observatory's.
            problems.insert(0 if cache else len(problems), error)
    if not found:
        raise problems[0]
    return found


def _names(context: str | None, observatory: str) -> bool:
    """Return whether a context is one of an observatory, by its name."""
    return bool(context and re.match(rf"{re.escape(observatory)}[_.\-]", context))


def crds_variables() -> dict[str, str]:
    """Return an environment for crds itself, which does not know the variables of tmt-dq."""
    found = dict(os.environ)
    if found.get(_OWN_PATH):
        for name in SEPARATE:
            found.pop(name, None)
    for own, name in ((_OWN_PATH, "CRDS_PATH"), (_OWN_CONTEXT, "CRDS_CONTEXT")):
        if found.get(own):
            found[name] = found[own]
    return found


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the system's errors about a part of a cache into one that names it."""
    try:
        yield
    except OSError as error:
        raise SelectionError(
            f"this part of the cache cannot be read: {error.strerror}",
            where=path,
            hint=_PERMISSIONS,
        ) from error


def _exists(path: Path) -> bool:
    """Return whether there is a file, or a link to one; what hinders the answer is an OSError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_folder(path: Path) -> bool:
    """Return whether there is a folder; what hinders the answer is an error."""
    return identify(path) is not None and path.is_dir()


def _check_sum(path: Path, expected: str) -> None:
    with _readable(path):
        found = digest_of(path)
    if found != expected:
        raise SelectionError(
            "the rules select this reference, but it is not the file that was delivered: its "
            f"sha256 is {found}, on record is {expected}",
            where=path,
            hint="It was changed, exchanged or cut off. Restore it from its source or another "
            "copy of the cache. To use it as it is: TMT_DQ_VERIFY=0.",
        )


def _check_reference(path: Path) -> None:
    """Refuse what only looks like a reference file."""
    try:
        with open_input(path):
            return
    except RampFormatError as error:
        raise SelectionError(
            f"the rules select this reference, but it {error.what}",
            where=path,
            hint="Put the file itself in its place (of a Git LFS pointer: git lfs pull), readable "
            "for you.",
        ) from error
