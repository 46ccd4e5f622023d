"""``tmt-dq doctor``: what would be used here."""

import os
import platform
import tempfile
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.cli.console import echo, print_json, remark, report_error, table
from tmt_dq.cli.options import CONTEXT, CRDS_PATH, JSON
from tmt_dq.cli.verb import verb
from tmt_dq.errors import ConfigError, TmtDqError
from tmt_dq.files.urls import redacted
from tmt_dq.instruments.files import VARIABLE, available, load, origin

_LIBRARIES = ("numpy", "astropy", "crds", "stdatamodels", "stpipe", "asdf", "click")
_EXTRAS = {
    "plot": ("matplotlib",),
    "remote": ("fsspec", "s3fs", "aiohttp"),
    "watch": ("prometheus_client",),
    "distributed": ("distributed",),
}
_OWN = (
    "TMT_DQ_CACHE_DIR",
    "TMT_DQ_CRDS_CONTEXT",
    "TMT_DQ_CRDS_PATH",
    VARIABLE,
    "TMT_DQ_VERIFY",
)
_SECRET = ("PASSWORD", "TOKEN", "KEY")


@verb(CRDS_PATH, CONTEXT, JSON)
def doctor_command(crds_path: Path | None, context: str | None, *, as_json: bool) -> int:
    """Show what tmt-dq would use here, and what is wrong with it.

    Versions, the CRDS cache and context and what names them, variables, folders, extras. Send this
    with a report of a problem. The exit status is 2 where ramps could not be initialized.

    \b
    Examples:
      tmt-dq doctor
      tmt-dq doctor --crds-path /data/crds --json
    """
    from tmt_dq.references.embedded import user_folder

    rules, errors, remarks = _rules(crds_path, context)
    described, problems = _instruments()
    errors += [each for each in problems if str(each) not in map(str, errors)]
    variables = {
        name: "(hidden)" if any(word in name for word in _SECRET) else redacted(value)
        for name, value in sorted(os.environ.items())
        if name.startswith(("TMT_DQ_", "CRDS_")) or name == "TMPDIR"
    }
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    folders = {
        "masks": _folder(user_folder),
        "temporary": _folder(tempfile.gettempdir),
        "current": _folder(Path.cwd),
    }
    report: dict[str, dict[str, Any]] = {
        "versions": {"tmt-dq": __version__, "Python": platform.python_version(), **libraries},
        "rules": rules,
        "instruments": described,
        "variables": variables,
        "folders": folders,
        "extras": {name: _missing(modules) or "installed" for name, modules in _EXTRAS.items()},
    }
    remarks += [
        f"{name} is no variable of tmt-dq; these are {', '.join(_OWN)}"
        for name in variables
        if name.startswith("TMT_DQ_") and name not in _OWN
    ]
    remarks += [
        f"folder {name}: {folder}; check its permissions, or choose another one (TMT_DQ_CACHE_DIR, "
        "TMPDIR, --output-dir)"
        for name, folder in folders.items()
        if not folder.endswith("(writable)")
    ]
    if as_json:
        print_json({**report, "errors": errors, "remarks": remarks})
    else:
        for title, values in report.items():
            table((title, ""), [(name, str(value)) for name, value in values.items()])
            echo()
        for text in remarks:
            remark("Warning:", text, fg="yellow")
        for error in errors:
            report_error(error)
    return ConfigError.exit_code if errors else 0


def _rules(
    path: Path | None, context: str | None
) -> tuple[dict[str, Any], list[TmtDqError], list[str]]:
    """Load the rules that exposures would get, as `apply` would."""
    from tmt_dq.references.cache import open_caches
    from tmt_dq.references.rules import load_rules, served

    rules: dict[str, Any] = {
        "cache": "",
        "cache_from": _origin("--crds-path", path, "CRDS_PATH", "comes with tmt-dq"),
        "context": "",
        "context_from": _origin("--context", context, "CRDS_CONTEXT", "newest of the cache"),
    }
    try:
        found = open_caches(path, context)
    except TmtDqError as error:
        return rules, [error], []
    rules["cache"] = str(found[0][0].root)
    rules["context"] = ", ".join(name for _, name in found)
    loaded, errors = 0, []
    for cache, name in found:
        try:
            for instrument in served(cache, name):
                load_rules(cache.mappings, name, instrument)
                loaded += 1
        except TmtDqError as error:
            errors.append(error)
    # Rules of an instrument that are not whole hinder no exposures of the others.
    return rules, [] if loaded else errors, [str(error) for error in errors if loaded]


def _instruments() -> tuple[dict[str, str], list[TmtDqError]]:
    """Return the file that describes each instrument, and what is wrong with these files."""
    found: dict[str, str] = {}
    errors: list[TmtDqError] = []
    try:
        for name in available():
            found[name] = str(origin(name))
            load(name)
    except ConfigError as error:
        errors.append(error)
    return found, errors


def _origin(option: str, given: object, variable: str, default: str) -> str:
    """Return what a value comes from: an option, a variable, or nothing of the kind."""
    if given is not None:
        return option
    names = (f"TMT_DQ_{variable}", variable)
    return next((name for name in names if os.environ.get(name)), default)


def _missing(modules: tuple[str, ...]) -> str:
    return ", ".join(f"no {each}" for each in modules if util.find_spec(each) is None)


def _folder(find: Callable[[], str | Path]) -> str:
    """Return a folder, and whether files can be written into it."""
    try:
        path = Path(find())
        there = next(folder for folder in (path, *path.parents) if folder.exists())
    except (TmtDqError, OSError) as error:
        return str(error)
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return f"{path} ({'writable' if writable else 'cannot be written'})"
