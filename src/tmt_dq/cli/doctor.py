"""``tmt-dq doctor``."""

import os
import tempfile
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import click

from tmt_dq import __version__
from tmt_dq.cli import versions
from tmt_dq.cli.console import as_record, echo, print_json, remark, report_error, table
from tmt_dq.cli.options import crds_options, json_option
from tmt_dq.errors import ConfigError, TmtDqError
from tmt_dq.files.urls import redacted
from tmt_dq.instruments import load

__all__ = ["command"]

_EXTRAS = {
    "plot": ("matplotlib",),
    "remote": ("fsspec", "s3fs", "aiohttp"),
    "watch": ("watchfiles", "prometheus_client"),
    "distributed": ("distributed",),
}
_OWN = ("TMT_DQ_CACHE_DIR", "TMT_DQ_CRDS_CONTEXT", "TMT_DQ_CRDS_PATH", "TMT_DQ_VERIFY")
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
    """
    from tmt_dq.references.embedded import user_folder

    rules, errors = _rules(crds_path, context)
    variables = {
        name: "(hidden)" if any(word in name for word in _SECRET) else redacted(value)
        for name, value in sorted(os.environ.items())
        if name.startswith(("TMT_DQ_", "CRDS_")) or name == "TMPDIR"
    }
    folders = {
        "masks": _folder(user_folder),
        "temporary": _folder(tempfile.gettempdir),
        "current": _folder(Path.cwd),
    }
    report: dict[str, dict[str, Any]] = {
        "versions": {"tmt-dq": __version__, **versions()},
        "rules": rules,
        "variables": variables,
        "folders": folders,
        "extras": {
            name: ", ".join(f"no {each}" for each in modules if util.find_spec(each) is None)
            or "installed"
            for name, modules in _EXTRAS.items()
        },
    }
    remarks = [
        f"{name} is no variable of tmt-dq; these are {', '.join(_OWN)}"
        for name in variables
        if name.startswith("TMT_DQ_") and name not in _OWN
    ]
    for name, folder in folders.items():
        if not folder.endswith("(writable)"):
            remarks.append(
                f"folder {name}: {folder}; check its permissions, or choose another one "
                "(TMT_DQ_CACHE_DIR, TMPDIR, --output-dir)"
            )
    if as_json:
        print_json({**report, "errors": list(map(as_record, errors)), "remarks": remarks})
        return ConfigError.exit_code if errors else 0
    for title, values in report.items():
        table((title, ""), [(name, str(value)) for name, value in values.items()])
        echo()
    for text in remarks:
        remark("Warning:", text, fg="yellow")
    for error in errors:
        report_error(error)
    return ConfigError.exit_code if errors else 0


def _rules(path: Path | None, context: str | None) -> tuple[dict[str, Any], list[TmtDqError]]:
    """Load the rules that an exposure of IRIS would get, as `apply` would."""
    from tmt_dq.references.cache import open_cache
    from tmt_dq.references.rules import load_rules

    def origin(option: str, value: object, own: str, variables: tuple[str, ...], other: str) -> str:
        given = ", ".join(name for name in variables if os.environ.get(name))
        return option if value is not None else own if os.environ.get(own) else given or other

    cache_from = origin(
        "--crds-path", path, "TMT_DQ_CRDS_PATH", ("CRDS_PATH",), "comes with tmt-dq"
    )
    context_from = origin(
        "--context", context, "TMT_DQ_CRDS_CONTEXT", ("CRDS_CONTEXT",), "newest of the cache"
    )
    rules = {"cache": "", "cache_from": cache_from, "context": "", "context_from": context_from}
    instrument = load("IRIS")
    try:
        cache = open_cache(path, instrument.observatory, os.environ)
        rules["cache"] = str(cache.root)
        rules["context"] = name = cache.context(context, os.environ)
        load_rules(cache.mappings, name, instrument)
    except TmtDqError as error:
        return rules, [error]
    return rules, []


def _folder(find: Callable[[], str | Path]) -> str:
    """Return a folder, and whether files can be written into it."""
    try:
        path = Path(find())
        there = next(folder for folder in (path, *path.parents) if folder.exists())
    except (TmtDqError, OSError) as error:
        return str(error)
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return f"{path} ({'writable' if writable else 'cannot be written'})"
