"""``tmt-dq doctor``."""

import os
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq import __version__
from tmt_dq.cli import LIBRARIES
from tmt_dq.cli.console import as_record, echo, print_json, remark, report_error, table
from tmt_dq.cli.options import crds_options, json_option
from tmt_dq.errors import ConfigError, TmtDqError
from tmt_dq.files.urls import redacted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]

_EXTRAS = {
    "plot": ("matplotlib",),
    "remote": ("fsspec", "s3fs", "aiohttp"),
    "watch": ("watchfiles", "prometheus_client"),
    "distributed": ("distributed",),
}
_OWN = ("TMT_DQ_CACHE_DIR", "TMT_DQ_CRDS_CONTEXT", "TMT_DQ_CRDS_PATH", "TMT_DQ_VERIFY")
_FOLDERS = ("CRDS_PATH", "CRDS_MAPPATH", "CRDS_REFPATH", "CRDS_CFGPATH")
_CACHES = ("TMT_DQ_CRDS_PATH", *_FOLDERS, *(f"{name}_SINGLE" for name in _FOLDERS))
_CONTEXTS = ("TMT_DQ_CRDS_CONTEXT", "CRDS_CONTEXT")
_INSTEAD = {"masks": "TMT_DQ_CACHE_DIR", "temporary": "TMPDIR", "current": "--output-dir"}
_SECRET = ("PASSWORD", "TOKEN", "KEY")


@click.command("doctor", short_help="Show what tmt-dq would use here, and what is wrong with it.")
@crds_options
@json_option
def command(crds_path: Path | None, context: str | None, *, as_json: bool) -> int:
    """Show what tmt-dq would use here, and what is wrong with it.

    Versions, the CRDS cache and context and what names them, variables, folders, extras. Send this
    with a report of a problem. The exit status is 2 where ramps could not be initialized.

    \b
    Examples:
      tmt-dq doctor
      tmt-dq doctor --crds-path /data/crds --json
    """  # noqa: D301
    error = None
    rules = {
        "cache": None,
        "cache_from": _origin("--crds-path", crds_path, _CACHES, "comes with tmt-dq"),
        "context": None,
        "context_from": _origin("--context", context, _CONTEXTS, "newest of the cache"),
    }
    try:
        _examine_rules(rules, crds_path, context)
    except TmtDqError as found:
        error = found
    report: dict[str, Any] = {
        "versions": {
            "tmt-dq": __version__,
            "Python": sys.version.split()[0],
            **{name: metadata.version(name) for name in LIBRARIES},
        },
        "rules": rules,
        "variables": {
            name: "(hidden)" if any(word in name for word in _SECRET) else redacted(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(("TMT_DQ_", "CRDS_")) or name == "TMPDIR"
        },
        "folders": _folders(),
        "extras": {
            name: [module for module in modules if util.find_spec(module) is None]
            for name, modules in _EXTRAS.items()
        },
    }
    remarks = _remarks(report)
    if as_json:
        errors = [] if error is None else [as_record(error)]
        print_json({**report, "errors": errors, "remarks": remarks})
    else:
        _show(report)
        for text in remarks:
            remark("Warning:", text, fg="yellow")
        if error is not None:
            report_error(error)
    return 0 if error is None else ConfigError.exit_code


def _origin(option: str, value: object, variables: tuple[str, ...], other: str) -> str:
    """Return what names the cache or context: an option, variables, or nothing."""
    given = [name for name in variables if os.environ.get(name)]
    if given and given[0].startswith("TMT_DQ_"):
        del given[1:]
    return option if value is not None else ", ".join(given) or other


def _examine_rules(rules: dict[str, Any], crds_path: Path | None, context: str | None) -> None:
    """Load the rules that an exposure of IRIS would get, as `apply` would."""
    from tmt_dq.instruments import load
    from tmt_dq.references.cache import open_cache
    from tmt_dq.references.rules import load_rules

    instrument = load("IRIS")
    cache = open_cache(crds_path, instrument.observatory, os.environ)
    rules["cache"] = str(cache.root)
    rules["context"] = cache.context(context, os.environ)
    load_rules(cache.mappings, rules["context"], instrument, instrument.reftype, verify_sums=True)


def _folders() -> dict[str, dict[str, Any]]:
    """Return the folders that are written to, and whether they can be."""
    from tmt_dq.references.checksums import user_folder

    found: dict[str, dict[str, Any]] = {}
    places: dict[str, Callable[[], str | Path]] = {
        "masks": user_folder,
        "temporary": tempfile.gettempdir,
        "current": Path.cwd,
    }
    for name, place in places.items():
        try:
            path = Path(place())
        except (TmtDqError, OSError) as error:
            found[name] = {"path": str(error), "writable": False}
            continue
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        found[name] = {"path": str(path), "writable": writable}
    return found


def _remarks(report: dict[str, Any]) -> list[str]:
    """Return what is wrong but does not stop every exposure, with what to do."""
    unknown = [
        name for name in report["variables"] if name.startswith("TMT_DQ_") and name not in _OWN
    ]
    return [
        *(f"{name} is no variable of tmt-dq; these are {', '.join(_OWN)}" for name in unknown),
        *(
            f"{folder['path']} ({name} folder) cannot be written: check its permissions, or use "
            f"{_INSTEAD[name]}"
            for name, folder in report["folders"].items()
            if not folder["writable"]
        ),
    ]


def _show(report: dict[str, Any]) -> None:
    for title in ("versions", "rules", "variables"):
        rows = [(name, str(value)) for name, value in report[title].items()]
        table((title, ""), rows or [("none", "")])
        echo()
    folders = report["folders"].items()
    table(
        ("folders", "", "writable"),
        [(name, each["path"], "yes" if each["writable"] else "no") for name, each in folders],
    )
    echo()
    for name, missing in report["extras"].items():
        lacking = f"lacks {', '.join(missing)}: pip install 'tmt-dq[{name}]'"
        echo(f"extra {name}: {lacking if missing else 'installed'}")
