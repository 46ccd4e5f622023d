"""A CRDS cache on disk: its folders, its default context, its reference files."""

import ast
import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.errors import ConfigError, SelectionError
from tmt_dq.files.identity import Identity, identify
from tmt_dq.references import checksums, embedded
from tmt_dq.references.rule_files import read_regular

__all__ = ["Cache", "crds_variables", "open_cache"]

_CONTEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*\.pmap")
_LFS = b"version https://git-lfs"
_FOLDERS = ("CRDS_PATH", "CRDS_MAPPATH", "CRDS_REFPATH", "CRDS_CFGPATH")
_VARIABLES = (*_FOLDERS, *(f"{name}_SINGLE" for name in _FOLDERS))
_OWN_PATH, _OWN_CONTEXT = "TMT_DQ_CRDS_PATH", "TMT_DQ_CRDS_CONTEXT"
"""They go before CRDS' variables, which may be there for another observatory's software."""

_EMBEDDED = "the cache that comes with tmt-dq"
_OTHER = (
    "Name a cache that has them: --crds-path DIR (crds_path=), or TMT_DQ_CRDS_PATH, which goes "
    "before CRDS_PATH. Without any of them, the rules that come with tmt-dq are used."
)
_PERMISSIONS = "Check its path, its permissions, and those of the folders above it."


@dataclass(frozen=True, slots=True)
class Cache:
    """The part of a cache that belongs to one observatory.

    `root` is the cache (CRDS_PATH), `mappings`, `references` and `config` are the observatory's
    folders; `embedded` is true for the cache that comes with the package.
    """

    root: Path
    observatory: str
    mappings: Path
    references: Path
    config: Path
    embedded: bool

    def server_config(self) -> Mapping[str, Any]:
        """Return what the server of the cache declared; nothing if it never had one."""
        path = self.config / "server_config"
        with _readable(path):
            found = identify(path)
        return {} if found is None else _read_server_config(path, found)

    def context(self, wanted: str | None, environ: Mapping[str, str]) -> str:
        """Return the name of the context to use.

        `wanted` is a name, ``latest`` or ``<observatory>-latest``, ``-operational`` or ``-edit``;
        without it TMT_DQ_CRDS_CONTEXT or CRDS_CONTEXT of `environ` counts. ConfigError is raised
        for a name that is no context's or another observatory's, SelectionError if the context is
        not in the cache.
        """
        where = "context"
        if wanted is None:
            where = _OWN_CONTEXT if environ.get(_OWN_CONTEXT) else "CRDS_CONTEXT"
            wanted = environ.get(where) or "latest"
        symbol = wanted.removeprefix(f"{self.observatory}-")
        if symbol in ("latest", "operational"):
            name = self._default_context()
        elif symbol == "edit" and "edit_context" in self.server_config():
            name = str(self.server_config()["edit_context"])
        else:
            name = wanted
        if not _CONTEXT.fullmatch(name):
            raise ConfigError(
                f"{wanted!r} is not a context that can be found without a server; expected a "
                f"name such as {self.observatory}_0001.pmap, or latest",
                where=where,
                hint=f"The cache has: {self._list_contexts()}",
            )
        if not name.startswith((f"{self.observatory}_", f"{self.observatory}.")):
            raise ConfigError(
                f"{name!r} is not a context of observatory {self.observatory!r}",
                where=where,
                hint=f"The cache {self.root} has: {self._list_contexts()}. Name one with --context "
                "(context=), or TMT_DQ_CRDS_CONTEXT, which goes before CRDS_CONTEXT.",
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
        for key in ("latest_context", "operational_context"):
            if config.get(key):
                return str(config[key])
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

    def subdir_mode(self) -> str:
        """Return how references lie: ``instrument``, in one folder for each, or ``flat``."""
        try:
            return (self.config / "ref_cache_subdir_mode").read_text("utf-8").strip()
        except OSError:
            has_files = any(self.references.glob("*.fits"))
            return "flat" if has_files else "instrument"

    def bad_files(self) -> frozenset[str]:
        """Return the files that the server declared bad."""
        config = self.server_config()
        listed = config.get("bad_files_list") or str(config.get("bad_files", "")).split()
        return frozenset(map(str, listed))

    def reference(self, instrument: str, name: str, *, verify: bool = True) -> Path:
        """Return where a reference file is, after making sure that it is one.

        With `verify` its content must be what the cache has on record. SelectionError is raised if
        it is not in the cache, not a readable FITS file, or not the file that was put there.
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
        _check_reference(path)
        if verify:
            expected = checksums.recorded(self.references)
            if name in expected:
                checksums.verify(path, expected[name])
        return path


def open_cache(
    crds_path: str | os.PathLike[str] | None, observatory: str, environ: Mapping[str, str]
) -> Cache:
    """Return the cache to use for an observatory.

    Without `crds_path` it is the one that TMT_DQ_CRDS_PATH of `environ` names, or crds' own
    variables: CRDS_PATH, or the separate CRDS_MAPPATH, CRDS_REFPATH, CRDS_CFGPATH and the
    ``_SINGLE`` forms of all. Without them it is the embedded one. ConfigError is raised if there is
    no such cache, or it has no rules for the observatory.
    """
    if crds_path is not None:
        where, variables = "crds_path", {"CRDS_PATH": os.fspath(crds_path)}
    else:
        found = crds_variables(environ)
        variables = {name: found[name] for name in _VARIABLES if found.get(name)}
        where = "CRDS_PATH_SINGLE" if "CRDS_PATH_SINGLE" in variables else "CRDS_PATH"
        if where not in variables:
            where, variables["CRDS_PATH"] = _EMBEDDED, str(embedded.cache_path())
        elif environ.get(_OWN_PATH):
            where = _OWN_PATH
    # Absolute, so that what is remembered and returned outlives a change of folder.
    named = variables.get("CRDS_PATH_SINGLE") or variables["CRDS_PATH"]
    root = Path(named).absolute()
    mappings = _folder(variables, "CRDS_MAPPATH", "mappings", observatory)
    try:
        has_root, has_rules = named and _is_folder(root), _is_folder(mappings)
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise ConfigError(
            f"the cache {named!r} cannot be used: {error}", where=where, hint=_PERMISSIONS
        ) from error
    if not has_root:
        hint = "Correct it, or leave it out to use the rules that come with tmt-dq."
        raise ConfigError(f"there is no folder {named!r}", where=where, hint=hint)
    if not has_rules:
        raise ConfigError(
            f"the cache {root} has no rules for observatory {observatory!r}: there is no folder "
            f"{mappings}",
            where=where,
            hint=_OTHER,
        )
    return Cache(
        root=root,
        observatory=observatory,
        mappings=mappings,
        references=_folder(variables, "CRDS_REFPATH", "references", observatory),
        config=_folder(variables, "CRDS_CFGPATH", "config", observatory),
        embedded=embedded.is_here(root),
    )


def crds_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for crds itself, which does not know the variables of tmt-dq."""
    found = dict(environ)
    if environ.get(_OWN_PATH):
        for name in _VARIABLES:
            found.pop(name, None)
        found["CRDS_PATH"] = environ[_OWN_PATH]
    if environ.get(_OWN_CONTEXT):
        found["CRDS_CONTEXT"] = environ[_OWN_CONTEXT]
    return found


def _folder(variables: Mapping[str, str], name: str, kind: str, observatory: str) -> Path:
    """Return one of an observatory's folders, by crds' own rules (``crds.core.config``)."""
    if f"{name}_SINGLE" in variables:
        folder = Path(variables[f"{name}_SINGLE"])
    elif name in variables:
        folder = Path(variables[name]) / observatory
    elif "CRDS_PATH_SINGLE" in variables:
        folder = Path(variables["CRDS_PATH_SINGLE"]) / kind
    else:
        folder = Path(variables["CRDS_PATH"]) / kind / observatory
    return folder.absolute()


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


@functools.lru_cache(maxsize=8)
def _read_server_config(path: Path, _identity: Identity) -> Mapping[str, Any]:
    """Read a ``server_config``, once as long as the file does not change."""
    try:
        config = ast.literal_eval(read_regular(path)[0].decode("utf-8"))
        if not isinstance(config, dict):
            raise TypeError("not a dictionary")  # noqa: TRY301
    except (OSError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise SelectionError(
            f"the cache's configuration cannot be read ({error}); expected a dictionary",
            where=path,
            hint="Repair or remove the file, or name the context with --context or CRDS_CONTEXT.",
        ) from error
    return config


def _check_reference(path: Path) -> None:
    """Refuse what only looks like a reference file."""
    what = hint = None
    try:
        if not path.exists():
            what, hint = "it is a link to a file that is not there", "Repair the link."
        elif not path.is_file():
            what, hint = "it is not a file", "Remove it and put the file in its place."
        else:
            with path.open("rb") as file:
                start = file.read(30)
            if not start:
                what, hint = "it is empty", "Copy the file again."
            elif start.startswith(_LFS):
                what, hint = "it is a Git LFS pointer", "Fetch the file itself: git lfs pull"
            elif path.suffix == ".fits" and not start.startswith(b"SIMPLE  ="):
                what, hint = f"it is not a FITS file; it starts with {start!r}", "Copy it again."
    except OSError as error:
        what, hint = f"it cannot be read: {error.strerror}", "Check the permissions."
    if what is not None:
        raise SelectionError(f"the rules select this reference, but {what}", where=path, hint=hint)
