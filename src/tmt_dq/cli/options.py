"""Options from tables (`core.options`), and options that several verbs share."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.apply.options import ApplyOptions, given_options
from tmt_dq.cli.verb import FilePath, Option, option
from tmt_dq.core.options import Option as Row
from tmt_dq.core.options import offered, option_table, values_of
from tmt_dq.errors import ConfigError

if TYPE_CHECKING:
    from tmt_dq.batch import Cluster


class _Value(click.ParamType[Any]):
    """What a row of an option table makes of a text."""

    def __init__(self, row: Row) -> None:
        self.name = row.metavar.lower() or "text"
        self._parse = row.parse_one if row.one else row.parse

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a text."""
        try:
            return self._parse(value)
        except ConfigError as error:
            self.fail(error.what, param, ctx)


POSITION = _Value(Row(help="", kind=int, many=True, size=2, metavar="X,Y"))
"""A 1-based detector position X,Y."""


def table_options(table: type, *, prefix: str = "", face: str = "") -> list[Option]:
    """Return an option for each row of a table that a face offers."""
    options = []
    for name, row in offered(table, face).items():
        if row.is_table:
            options += table_options(row.kind, prefix=row.prefix)
        else:
            options.append(_table_option(name, row, prefix))
    return options


def _table_option(name: str, row: Row, prefix: str = "") -> Option:
    dashed = f"{prefix}{row.one or name}".replace("_", "-")
    both = row.kind is bool and row.shown_default
    remarks = " May be repeated." if row.one else ""
    remarks += f" [default: {row.shown_default}]" if row.shown_default else ""
    return Option(
        [f"--{dashed}/--no-{dashed}" if both else f"--{dashed}", f"{prefix}{name}"],
        group=row.group,
        metavar=row.metavar or None,
        help=f"{row.help}{remarks}",
        **_kind(row),
    )


def _kind(row: Row) -> dict[str, Any]:
    """Return how click reads the values of a row; None stands for one that is not given."""
    if row.kind is bool:
        return {"default": None, "is_flag": True}
    if row.choices and not row.many:
        return {"type": click.Choice(row.choices)}
    if row.kind is Path:
        kind: Any = FilePath("folder" if row.metavar == "DIR" else "file", urls=row.group != "CRDS")
    elif row.kind is int and not row.many:
        limits: tuple[Any, Any] = (row.minimum, row.maximum)
        kind = int if limits == (None, None) else click.IntRange(*limits)
    else:
        kind = _Value(row)
    return {"type": kind, "multiple": bool(row.one)}


def take_values(table: type, options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a table out of `options`; return the fields that were given."""
    return values_of(table, lambda name, _row: options.pop(name))


def take_apply_options(options: dict[str, Any], face: str) -> dict[str, Any]:
    """Take the options of an initialization out of `options`; return keywords of `apply_dq`."""
    return given_options(lambda name, _row: options.pop(name), face)


def take_cluster(options: dict[str, Any]) -> "Cluster | None":
    """Take the options `SCHEDULER` out of `options`; return the cluster that they name, if any."""
    scheduler, scheduler_file = options.pop("scheduler"), options.pop("scheduler_file")
    if scheduler is None and scheduler_file is None:
        return None
    if options["jobs"] is not None:
        raise ConfigError(
            "--jobs and a scheduler are both given; expected one of them",
            hint="How many jobs a cluster does at once is up to its workers.",
        )
    from tmt_dq.batch import Cluster

    return Cluster(scheduler, scheduler_file=scheduler_file)


def _apply_option(name: str) -> Option:
    return _table_option(name, dataclasses.replace(option_table(ApplyOptions)[name], group=""))


CRDS_PATH, CONTEXT = _apply_option("crds_path"), _apply_option("context")
JSON = option("--json", "Report as JSON.", name="as_json")
OVERWRITE = option("--overwrite", "Replace existing outputs.")
DRY_RUN = option("--dry-run", "Show what would be done, and why; write nothing.")
JOBS = option("--jobs N", "Processes. [default: the cores]")
SCHEDULER = (
    option("--scheduler ADDRESS", "Use a dask cluster: tcp://host:8786."),
    option("--scheduler-file FILE", "Use the dask cluster of this file."),
)
REPORT = option("--report FILE.jsonl", "Add a line of JSON for each ramp.")
UNKNOWN = option(
    "--unknown",
    "What to do about bits that have no meaning.",
    "error",
    kind=click.Choice(["error", "drop"]),
)
WAIT = option("--wait SECONDS", "How long to wait for another delivery.", 60.0)
VERIFY = option(
    "--verify/--no-verify",
    "Compare masks with the sha256 that the cache has on record. "
    "[default: yes, unless TMT_DQ_VERIFY is 0]",
)
OLD_CACHE = option("--old-crds-path DIR", "CRDS cache of OLD, if it is another one.")
FLAGS_ONLY = option(
    "--flags-only", "Another mask with the same flags in an exposure's pixels changes nothing."
)
MAX_FLAGGED = option(
    "--max-flagged FRACTION",
    "Largest fraction of active pixels that may be flagged, or have DO_NOT_USE. "
    "[default: the instrument's limits]",
)
NO_BORDER = Option(
    ["--no-border", "border"],
    flag_value=False,
    default=True,
    help="Accept a mask without the border of reference pixels; recorded.",
)
