"""Decisions of a watch: what is to be done with an exposure, by the journal and what is at work."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tmt_dq.batch.journal import Journal
from tmt_dq.batch.plan import Planner
from tmt_dq.batch.records import Job
from tmt_dq.errors import ConfigError, TmtDqError
from tmt_dq.files.identity import Identity
from tmt_dq.files.names import default_output
from tmt_dq.watch.options import WatchOptions


def decide(
    path: str,
    identity: Identity,
    options: WatchOptions,
    journal: Journal,
    planner: Planner,
    taken: Mapping[str, str],
) -> tuple[Job, TmtDqError | None]:
    """Decide about an exposure, whose file is as given; an error goes with a refusal.

    Other than a batch, a watch leaves alone what is done, also where the output was taken away or
    would be another one now, unless `redo` is set. `taken` has the outputs that are being made,
    and of what.
    """
    name = default_output(Path(path)).name
    output = os.path.join(options.output_dir, name)  # noqa: PTH118 - names are text, as in a batch
    entry = journal.entries.get(name)
    owner = taken.get(output, path)
    if owner == path and entry is not None and entry.kind == "done" and not entry.begun:
        moved = entry.input != path and not _are_two(entry.input, path)
        same = entry.input == path and not options.redo
        if (moved or same) and entry.input_state == (identity.size, identity.mtime_ns):
            why = planner.difference(entry)
            reason = "done" if why is None else f"done; a batch would do it again: {why}"
            return Job(path, output, "skip", reason, identity.size), None
        owner = entry.input
    if owner != path:
        what = f"its output {output} would be that of this ramp too"
        hint = "Give the ramp another name, or watch its folder with an --output-dir of its own."
        refused = Job(path, output, "refuse", "the output is another exposure's", identity.size)
        return refused, ConfigError(what, where=owner, hint=hint)
    job = replace(planner.plan(path, output), size=identity.size)
    return job, job.settled().error if job.action == "refuse" else None


def _are_two(first: str, second: str) -> bool:
    """Tell whether both names are there, and stand for different files."""
    try:
        return not Path(first).samefile(second)
    except OSError:
        return False
